package sandbox

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
)

const (
	// EarText is what the recognisers of the sandboxes understand.
	EarText = "turn on the lights"
	// earLoud is the mean of absolute samples from which a window of audio is sound.
	earLoud = 300
	// earWindow is the audio that is judged at once.
	earWindow = 10 * time.Millisecond
	// earWord is the sound that is heard as a word.
	earWord = 150 * time.Millisecond
	// earSilence ends an utterance.
	earSilence = 200 * time.Millisecond
	// earLead is the audio before an utterance that Understand gets.
	earLead = 200 * time.Millisecond
)

// EarSpeech is an utterance that ears understand as EarText: 0.8 s of sound and as much silence.
func EarSpeech(rate int) audio.Frame {
	f := audio.Silence(1600*time.Millisecond, rate, 1)
	for i := range audio.SamplesIn(800*time.Millisecond, rate) {
		f.Data[i] = int16(2000 - i%2*4000)
	}
	return f
}

// Ear is how the recognisers of the sandboxes hear: a stretch of sound is an utterance with the words
// of Text, one for each 150 ms; 200 ms of silence, or Finish, end it. An Ear is used by one goroutine.
type Ear struct {
	Rate int    // of the audio, Hz
	Text string // "" means EarText
	// Silence ends an utterance: default 200 ms.
	Silence time.Duration
	// Understand, if set, finds the words of an utterance at its end, for conversations with people.
	Understand func(audio.Frame) string

	sound    []int16 // of the utterance, and a moment before it; only with Understand
	rest     []byte  // less than a window
	pos      int     // samples that were judged
	speaking bool
	from, to int // samples of the sound
	told     int // words
}

// HeardKind is what an Ear noticed.
type HeardKind int

// The things that an Ear notices.
const (
	Began HeardKind = iota // of an utterance
	More                   // words
	Ended                  // the utterance, and Words are all its words
)

// Heard is something that an Ear noticed. Times count from the first sample.
type Heard struct {
	Kind       HeardKind
	Words      []HeardWord // of the utterance, until now
	Start, End time.Duration
}

// HeardWord is a word with its time.
type HeardWord struct {
	Text       string
	Start, End time.Duration
}

// Transcript is the words as text.
func (h Heard) Transcript() string {
	var t []string
	for _, w := range h.Words {
		t = append(t, w.Text)
	}
	return strings.Join(t, " ")
}

// At is how much audio was judged.
func (e *Ear) At() time.Duration { return audio.Samples(e.pos).At(e.Rate) }

// Taken is how much audio came.
func (e *Ear) Taken() time.Duration { return audio.Samples(e.pos + len(e.rest)/2).At(e.Rate) }

// Hear takes 16-bit little-endian audio.
func (e *Ear) Hear(pcm []byte) (heard []Heard) {
	pcm = append(e.rest, pcm...)
	window := audio.SamplesIn(earWindow, e.Rate)
	for ; len(pcm) >= 2*window; pcm = pcm[2*window:] {
		sum := 0
		for i := range window {
			v := int(int16(binary.LittleEndian.Uint16(pcm[2*i:])))
			sum += max(v, -v)
		}
		e.pos += window
		e.record(pcm[:2*window])
		heard = append(heard, e.judge(sum/window >= earLoud, window)...)
	}
	e.rest = slices.Clone(pcm)
	return heard
}

// record keeps the audio for Understand.
func (e *Ear) record(pcm []byte) {
	if e.Understand == nil {
		return
	}
	for ; len(pcm) > 0; pcm = pcm[2:] {
		e.sound = append(e.sound, int16(binary.LittleEndian.Uint16(pcm)))
	}
	if lead := audio.SamplesIn(earLead, e.Rate); !e.speaking && len(e.sound) > lead {
		e.sound = slices.Clone(e.sound[len(e.sound)-lead:])
	}
}

func (e *Ear) judge(loud bool, window int) (heard []Heard) {
	if !loud {
		if e.speaking && e.pos-e.to >= audio.SamplesIn(cmp.Or(e.Silence, earSilence), e.Rate) {
			return e.Finish()
		}
		return nil
	}
	if !e.speaking {
		e.speaking, e.from, e.told = true, e.pos-window, 0
		heard = append(heard, e.heard(Began))
	}
	e.to = e.pos
	if e.Understand != nil {
		return heard
	}
	if n := (e.to - e.from) / audio.SamplesIn(earWord, e.Rate); n > e.told && n <= len(e.words()) {
		e.told = n
		heard = append(heard, e.heard(More))
	}
	return heard
}

// Finish ends the utterance, if there is one.
func (e *Ear) Finish() []Heard {
	if !e.speaking {
		return nil
	}
	if e.Understand != nil {
		e.Text = e.Understand(audio.Frame{Data: e.sound, Rate: e.Rate, Channels: 1})
		e.sound = nil
	}
	e.speaking, e.told = false, len(e.words())
	return []Heard{e.heard(Ended)}
}

func (e *Ear) words() []string {
	if e.Text == "" && e.Understand == nil {
		return strings.Fields(EarText)
	}
	return strings.Fields(e.Text)
}

// heard spreads the words that were told over the sound.
func (e *Ear) heard(k HeardKind) Heard {
	h := Heard{Kind: k, Start: audio.Samples(e.from).At(e.Rate), End: audio.Samples(e.to).At(e.Rate)}
	at := func(i int) time.Duration { return h.Start + (h.End-h.Start)*time.Duration(i)/time.Duration(e.told) }
	for i, w := range e.words()[:e.told] {
		h.Words = append(h.Words, HeardWord{w, at(i), at(i + 1)})
	}
	return h
}
