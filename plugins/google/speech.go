package google

import (
	"cmp"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/stt/driver"
)

// The messages of google/cloud/speech/v2/cloud_speech.proto, of which only what is used. The numbers are
// those of its fields.

// config is a RecognitionConfig.
func (r *recognizer) config(o driver.Options) wire.Proto {
	var decoding, features, config wire.Proto
	decoding.Int(1, 1) // 16-bit samples
	decoding.Int(2, sttRate)
	decoding.Int(3, 1) // channel
	features.Bool(1, r.o.ProfanityFilter)
	features.Bool(2, !r.o.NoWordTimes)
	features.Bool(4, !r.o.NoPunctuation)
	features.Bool(14, r.o.SpokenPunctuation)
	features.Bool(15, r.o.SpokenEmojis)
	if r.o.Speakers > 0 {
		var speakers wire.Proto
		speakers.Int(2, 1)
		speakers.Int(3, int64(r.o.Speakers))
		features.Message(9, speakers)
	}
	config.Message(8, decoding)
	config.String(9, r.o.Model)
	languages := r.o.Languages
	if o.Language != "" {
		languages = []string{o.Language}
	}
	for _, l := range languages {
		config.String(10, l)
	}
	config.Message(2, features)
	if terms := append(append([]string{}, r.o.Keyterms...), o.Keyterms...); len(terms) > 0 {
		config.Message(6, r.adaptation(terms))
	}
	if r.o.Denoise {
		var denoiser wire.Proto
		denoiser.Bool(1, true)
		config.Message(16, denoiser)
	}
	return config
}

// adaptation is a SpeechAdaptation towards terms.
func (r *recognizer) adaptation(terms []string) wire.Proto {
	var phrases, set, adaptation wire.Proto
	for _, t := range terms {
		var phrase wire.Proto
		phrase.String(1, t)
		phrase.Float(2, float32(r.o.Boost))
		phrases.Message(3, phrase)
	}
	set.Message(2, phrases)
	adaptation.Message(1, set)
	return adaptation
}

// streaming is the StreamingRecognizeRequest that begins a stream.
func (r *recognizer) streaming(o driver.Options) wire.Proto {
	var features, config, m wire.Proto
	features.Bool(1, !r.o.NoActivity)
	features.Bool(2, !r.o.NoInterim)
	config.Message(1, r.config(o))
	config.Message(2, features)
	m.String(3, r.name)
	m.Message(6, config)
	return m
}

// activity is a SpeechEventType.
type activity uint64

const (
	endOfUtterance activity = iota + 1
	speechBegins
	speechEnds
)

// answer is a StreamingRecognizeResponse or a RecognizeResponse.
type answer struct {
	results   []result
	event     activity
	at        time.Duration // of the event
	billed    time.Duration // since the start of the call
	requestID string
}

// result is what is known about a portion of the audio.
type result struct {
	text       string
	confidence float64
	words      []word
	final      bool
	end        time.Duration
	language   string
}

type word struct {
	driver.Word
	speaker string
}

// readAnswer understands an answer about a stream, or one about an utterance.
func readAnswer(b []byte, streaming bool) (*answer, error) {
	a := &answer{}
	err := wire.Fields(b, func(f wire.Field) (err error) {
		switch {
		case f.Number == 6 && streaming, f.Number == 3 && !streaming:
			var r result
			r, err = readResult(f.Data, streaming)
			a.results = append(a.results, r)
		case f.Number == 3:
			a.event = activity(f.Num)
		case f.Number == 7 && streaming:
			a.at, err = readDuration(f.Data)
		case f.Number == 5 && streaming, f.Number == 2 && !streaming:
			err = wire.Fields(f.Data, func(f wire.Field) (err error) {
				switch f.Number {
				case 6:
					a.billed, err = readDuration(f.Data)
				case 9:
					a.requestID = string(f.Data)
				}
				return err
			})
		}
		return err
	})
	return a, err
}

func readResult(b []byte, streaming bool) (r result, err error) {
	first := true
	err = wire.Fields(b, func(f wire.Field) (err error) {
		switch {
		case f.Number == 1 && first:
			first = false // the best reading
			err = r.read(f.Data)
		case f.Number == 2 && streaming:
			r.final = f.Num != 0
		case f.Number == 4:
			r.end, err = readDuration(f.Data)
		case f.Number == 6 && streaming, f.Number == 5 && !streaming:
			r.language = string(f.Data)
		}
		return err
	})
	return r, err
}

// read reads a SpeechRecognitionAlternative.
func (r *result) read(b []byte) error {
	return wire.Fields(b, func(f wire.Field) error {
		switch f.Number {
		case 1:
			r.text = string(f.Data)
		case 2:
			r.confidence = float64(f.Float())
		case 3:
			w, err := readWord(f.Data)
			r.words = append(r.words, w)
			return err
		}
		return nil
	})
}

func readWord(b []byte) (w word, err error) {
	err = wire.Fields(b, func(f wire.Field) (err error) {
		switch f.Number {
		case 1:
			w.Start, err = readDuration(f.Data)
		case 2:
			w.End, err = readDuration(f.Data)
		case 3:
			w.Text = string(f.Data)
		case 4:
			w.Confidence = float64(f.Float())
		case 6:
			w.speaker = string(f.Data)
		}
		return err
	})
	return w, err
}

// longest is the longest time that is believed.
const longest = 24 * time.Hour

// readDuration reads a google.protobuf.Duration.
func readDuration(b []byte) (d time.Duration, err error) {
	err = wire.Fields(b, func(f wire.Field) error {
		switch f.Number {
		case 1:
			d += time.Duration(min(max(int64(f.Num), 0), int64(longest/time.Second))) * time.Second
		case 2:
			d += time.Duration(min(max(int64(f.Num), 0), int64(time.Second)))
		}
		return nil
	})
	return min(d, longest), err
}

// alternative is the reading of a portion that begins after heard, with times moved by offset. With
// speakers told apart words come again that were heard before.
func (r *result) alternative(heard, offset time.Duration) driver.Alternative {
	a := driver.Alternative{Text: strings.TrimSpace(r.text), Language: r.language, Start: heard, End: r.end, Confidence: r.confidence}
	count, most := map[string]int{}, 0
	for _, w := range r.words {
		if w.End > 0 && w.End <= heard {
			continue
		}
		if count[w.speaker]++; w.speaker != "" && count[w.speaker] > most {
			most, a.SpeakerID = count[w.speaker], w.speaker
		}
		w.End = max(w.End, w.Start)
		a.Words = append(a.Words, driver.Word{Text: w.Text, Start: w.Start + offset, End: w.End + offset, Confidence: w.Confidence})
	}
	a.Start, a.End = a.Start+offset, a.End+offset
	if n := len(a.Words); n > 0 && a.Words[n-1].End > offset {
		a.Start, a.End = a.Words[0].Start, a.Words[n-1].End
	} else {
		a.Words = nil // without times
	}
	a.End = max(a.End, a.Start)
	return a
}

// join adds the portion that follows to a.
func join(a *driver.Alternative, next driver.Alternative) {
	if a.Text == "" {
		*a = next
		return
	}
	a.Text += " " + next.Text
	a.End, a.Words = next.End, append(a.Words, next.Words...)
	a.Confidence = min(a.Confidence, next.Confidence)
	a.Language = cmp.Or(a.Language, next.Language)
}
