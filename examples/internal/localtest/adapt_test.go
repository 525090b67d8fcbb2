package localtest

import (
	"errors"
	"io"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/golden"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/plugins/moonshine"
	"github.com/parley-go/parley/plugins/silero"
	"github.com/parley-go/parley/stt"
)

const (
	window = 32 * time.Millisecond // of the detector
	frame  = 20 * time.Millisecond // what the speaker sends at a time
)

// heard is an event and when it came, on the clock of the audio.
type heard struct {
	*stt.Event
	at time.Duration
}

// listen lets the file be spoken in real time, which is that of a bubble, and returns what was
// heard and booked.
func listen(t *testing.T, name string, o *stt.AdaptOptions) (events []heard, spent []*metrics.STT) {
	t.Helper()
	var log modeltest.Log
	m := stt.Adapt(moonshine.New(nil), silero.New(nil), o)
	s, err := m.Stream(log.Context(t.Context()), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	samples := golden.Samples(t, name)
	began := time.Now()
	pushed := make(chan error, 1) // the speaker's only word
	go func() {
		for part := range slices.Chunk(samples, audio.SamplesIn(frame, golden.Rate)) {
			f := audio.Frame{Data: part, Rate: golden.Rate, Channels: 1}
			time.Sleep(f.Duration())
			if err := s.Push(f); err != nil {
				pushed <- err
				return
			}
		}
		pushed <- s.EndInput()
	}()
	for {
		e, err := s.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, heard{e, time.Since(began)})
	}
	if err := <-pushed; err != nil {
		t.Fatal(err)
	}
	if errs := log.Errors(); len(errs) != 0 {
		t.Errorf("error events: %v", errs)
	}
	return events, modeltest.Events[*metrics.STT](&log)
}

// segment is what the reference of the detector says of one speech.
type segment struct {
	end       time.Duration // when the detector was sure
	from, cut time.Duration // what is transcribed: the speech with its padding, and two silent windows
}

// segments reads them from the golden data.
func segments(t *testing.T, name string, padding time.Duration) (out []segment) {
	t.Helper()
	var reference struct {
		Files map[string]struct {
			Events []struct {
				Type    string
				Time    float64
				Speech  float64 `json:"speech_duration"`
				Silence float64 `json:"silence_duration"`
			}
		}
	}
	golden.Load(t, "silero.json", &reference)
	duration := func(seconds float64) time.Duration {
		return time.Duration(math.Round(seconds*1000)) * time.Millisecond
	}
	var s segment
	for _, e := range reference.Files[name].Events {
		if e.Type == "start" {
			s.from = duration(e.Time-e.Speech) - padding
			continue
		}
		s.end = duration(e.Time)
		s.cut = s.end - duration(e.Silence) + 2*window
		out = append(out, s)
	}
	return out
}

// transcripts are the golden texts of the segments that have one.
func transcripts(t *testing.T, name string) (out []string) {
	t.Helper()
	var reference struct {
		Files    map[string]struct{ Transcript string }
		Segments []struct{ File, Transcript string }
	}
	golden.Load(t, "moonshine.json", &reference)
	for _, s := range reference.Segments {
		if s.File == name && s.Transcript != "" {
			out = append(out, s.Transcript)
		}
	}
	if len(out) == 0 {
		out = append(out, reference.Files[name].Transcript)
	}
	return out
}

func TestSpeechBecomesItsTextTheMomentItHasEnded(t *testing.T) {
	prepare(t)
	for name, o := range map[string]*stt.AdaptOptions{
		"flite_slt_weather.wav": nil,
		"flite_rms_lights.wav":  nil,
		"flite_awb_yes.wav":     nil,
		// The golden texts of these segments are of audio with this padding.
		"turns_quiet_noise.wav": {PrefixPadding: 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				events, spent := listen(t, name, o)
				padding := 500 * time.Millisecond
				if o != nil {
					padding = o.PrefixPadding
				}
				want := segments(t, name, padding)
				checkFinals(t, events, want, transcripts(t, name))
				checkSpent(t, spent, want)
			})
		})
	}
}

// checkFinals wants the texts in order, each adopted from a run that was started before the end of
// the speech was certain, and thus there at once when it was. What has no text is left out.
func checkFinals(t *testing.T, events []heard, want []segment, texts []string) {
	t.Helper()
	var ends, finals int
	var guess, ended heard
	for _, e := range events {
		switch e.Kind {
		case stt.Preflight:
			guess = e
		case stt.EndOfSpeech:
			ended = e
			if ends < len(want) && (e.at < want[ends].end || e.at >= want[ends].end+frame) {
				t.Errorf("speech %d ended at %v, want the first frame from %v on", ends, e.at, want[ends].end)
			}
			ends++
		case stt.Final:
			if finals >= len(texts) || !slices.Equal(words(e.Text()), words(texts[finals])) {
				t.Errorf("final %d is %q, want one of %q", finals, e.Text(), texts)
			}
			if a, s := e.Alternatives[0], want[ends-1]; a.Start != s.from || a.End != s.cut {
				t.Errorf("%q spans %v to %v, want %v to %v", e.Text(), a.Start, a.End, s.from, s.cut)
			}
			if guess.Event == nil || guess.Text() != e.Text() || guess.at >= ended.at {
				t.Errorf("%q was not guessed before the end of speech", e.Text())
			}
			if e.at != ended.at {
				t.Errorf("%q came at %v, %v after the end of speech", e.Text(), e.at, e.at-ended.at)
			}
			finals++
		}
	}
	if ends != len(want) || finals != len(texts) {
		t.Errorf("heard %d speeches and %d texts, want %d and %d", ends, finals, len(want), len(texts))
	}
}

// checkSpent wants every segment booked once, with or without a text, and no run that was not used.
func checkSpent(t *testing.T, spent []*metrics.STT, want []segment) {
	t.Helper()
	if len(spent) != len(want) {
		t.Fatalf("%d runs were booked for %d segments", len(spent), len(want))
	}
	for i, e := range spent {
		if d := want[i].cut - want[i].from; e.AudioDuration != d || e.Label != "moonshine.STT" || e.Streamed {
			t.Errorf("booked %v of %s (streamed %v), want %v of moonshine.STT", e.AudioDuration, e.Label, e.Streamed, d)
		}
	}
}

func TestNoiseIsNeitherSpeechNorUsage(t *testing.T) {
	prepare(t)
	for _, name := range []string{"silence.wav", "noise_pink.wav", "noise_white.wav", "tones.wav"} {
		synctest.Test(t, func(t *testing.T) {
			if events, spent := listen(t, name, nil); len(events)+len(spent) != 0 {
				t.Errorf("%s gave %d events and %d bookings", name, len(events), len(spent))
			}
		})
	}
}

// prepare reads the weights outside of the bubbles.
func prepare(t *testing.T) {
	t.Helper()
	if err := moonshine.Check(nil); err != nil {
		t.Fatal(err)
	}
}
