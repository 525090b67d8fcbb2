package otlp_test

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/model"
	sttdriver "github.com/parley-go/parley/stt/driver"
	ttsdriver "github.com/parley-go/parley/tts/driver"
	vaddriver "github.com/parley-go/parley/vad/driver"
)

// vadScript hears speech in every frame that is not silent: 40 ms start it, 0.5 s of silence end it,
// unless ends says otherwise. claims is what it says of that; less than zero is nothing.
type vadScript struct{ ends, claims time.Duration }

func (vadScript) Info() model.Info {
	return model.Info{Label: "script.VAD", Provider: "script", Model: "vad"}
}
func (s vadScript) NewStream() (vaddriver.Stream, error) { return &vadStream{vadScript: s}, nil }

type vadStream struct {
	vadScript
	ev             vaddriver.Event
	speech, silent time.Duration
}

func (v *vadStream) Process(f audio.Frame, emit func(*vaddriver.Event)) error {
	d := f.Duration()
	e := &v.ev
	e.Timestamp += d
	e.RawSpeech, e.RawSilence = v.speech, v.silent
	if f.Data[0] != 0 {
		v.speech, v.silent = v.speech+d, 0
	} else {
		v.speech, v.silent = 0, v.silent+d
	}
	if e.Speaking {
		e.SpeechDuration += d
	} else {
		e.SilenceDuration += d
	}
	e.Kind = vaddriver.InferenceDone
	emit(e)
	switch {
	case !e.Speaking && v.speech >= 40*time.Millisecond:
		e.Kind, e.Speaking, e.SpeechDuration, e.SilenceDuration = vaddriver.StartOfSpeech, true, v.speech, 0
		emit(e)
	case e.Speaking && v.silent >= cmp.Or(v.ends, 500*time.Millisecond):
		e.Kind, e.Speaking, e.SilenceDuration = vaddriver.EndOfSpeech, false, v.silent
		e.SpeechDuration -= v.silent
		emit(e)
		e.SpeechDuration = 0
	}
	return nil
}
func (v *vadStream) Flush() { *v = vadStream{vadScript: v.vadScript} }
func (v *vadStream) MinSilence() time.Duration {
	return max(cmp.Or(v.claims, 500*time.Millisecond), 0)
}
func (v *vadStream) Close() error { return nil }

// sttScript understands texts at positions of the audio.
type sttScript struct {
	mu     sync.Mutex
	script []expectation
	heard  time.Duration
	voiced time.Duration // of heard, what was not silence
	opened int           // streams
}

// expectation is an event, or an error, that comes when the STT has heard so much.
type expectation struct {
	at    time.Duration
	event sttdriver.Event
	err   error
}

func (s *sttScript) add(x expectation) {
	s.mu.Lock()
	s.script = append(s.script, x)
	slices.SortStableFunc(s.script, func(a, b expectation) int { return cmp.Compare(a.at, b.at) })
	s.mu.Unlock()
}

func (s *sttScript) expect(at time.Duration, text string) {
	e := words(sttdriver.Final, sttdriver.Alternative{Text: text, Confidence: 0.9, Language: "en"})
	e.RequestID = "stt_1"
	s.add(expectation{at: at, event: e})
}

func words(kind sttdriver.EventKind, a sttdriver.Alternative) sttdriver.Event {
	return sttdriver.Event{Kind: kind, Alternatives: []sttdriver.Alternative{a}}
}

func seconds(sec float64) time.Duration { return time.Duration(sec * float64(time.Second)) }

func (*sttScript) Info() model.Info {
	return model.Info{Label: "script.STT", Provider: "script", Model: "stt"}
}
func (*sttScript) Capabilities() sttdriver.Capabilities { return sttdriver.Capabilities{} }
func (s *sttScript) Open(context.Context, sttdriver.Options) (sttdriver.Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	return &sttStream{s: s, out: make(chan expectation, 100), closed: make(chan struct{})}, nil
}

type sttStream struct {
	s      *sttScript
	out    chan expectation // size 100: no script has that many
	closed chan struct{}
	once   sync.Once
}

func (x *sttStream) Push(_ context.Context, f audio.Frame) error {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.s.heard += f.Duration()
	if f.Data[0] != 0 {
		x.s.voiced += f.Duration()
	}
	for len(x.s.script) > 0 && x.s.script[0].at <= x.s.heard {
		x.out <- x.s.script[0]
		x.s.script = x.s.script[1:]
	}
	return nil
}
func (x *sttStream) Flush(context.Context) error { return nil }
func (x *sttStream) CloseSend(context.Context) error {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	for _, e := range x.s.script {
		if e.event.Kind == sttdriver.Final {
			x.out <- e
		}
	}
	x.s.script = nil
	close(x.out)
	return nil
}
func (x *sttStream) Next(ctx context.Context) (*sttdriver.Event, error) {
	select {
	case e, ok := <-x.out:
		if !ok {
			return nil, io.EOF
		}
		if e.err != nil {
			return nil, e.err
		}
		return &e.event, nil
	case <-x.closed:
		return nil, io.ErrClosedPipe
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
func (x *sttStream) Close() error {
	x.once.Do(func() { close(x.closed) })
	return nil
}

// ttsScript speaks every text in the same time, evenly, once it is complete.
type ttsScript struct {
	mu           sync.Mutex
	ttfb, length time.Duration
	chars        int64
	open, peak   int             // streams that have not ended
	untimed      int             // the last words of a text have no times
	text         strings.Builder // all that was pushed
}

func (*ttsScript) Info() model.Info {
	return model.Info{Label: "script.TTS", Provider: "script", Model: "tts"}
}
func (*ttsScript) Capabilities() ttsdriver.Capabilities {
	return ttsdriver.Capabilities{SampleRate: 16000, Channels: 1, AlignedTranscript: true}
}
func (s *ttsScript) Open(context.Context) (ttsdriver.Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	s.peak = max(s.peak, s.open)
	return &ttsStream{s: s, length: s.length, full: make(chan struct{}), closed: make(chan struct{})}, nil
}

type ttsStream struct {
	s            *ttsScript
	text         string
	sent, length time.Duration
	full, closed chan struct{}
	once         sync.Once
}

func (x *ttsStream) Push(_ context.Context, text string) error {
	x.text += text
	x.s.mu.Lock()
	x.s.text.WriteString(text)
	x.s.chars += int64(len([]rune(text)))
	x.s.mu.Unlock()
	return nil
}
func (x *ttsStream) CloseSend(context.Context) error { close(x.full); return nil }
func (x *ttsStream) Next(ctx context.Context) (*ttsdriver.Chunk, error) {
	select {
	case <-x.full:
	case <-x.closed:
		return nil, io.ErrClosedPipe
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c := &ttsdriver.Chunk{RequestID: "tts"}
	if x.sent == 0 {
		t := time.NewTimer(x.s.ttfb)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		words := strings.Fields(x.text)
		for i, w := range words[:max(len(words)-x.s.untimed, 0)] {
			c.Words = append(c.Words, ttsdriver.Word{Text: w, Start: x.length * time.Duration(i) / time.Duration(len(words)),
				End: x.length * time.Duration(i+1) / time.Duration(len(words))})
		}
	}
	if x.sent >= x.length {
		return nil, io.EOF
	}
	c.Frame = audio.Silence(100*time.Millisecond, 16000, 1)
	x.sent += 100 * time.Millisecond
	return c, nil
}
func (x *ttsStream) Close() error {
	x.once.Do(func() {
		close(x.closed)
		x.s.mu.Lock()
		x.s.open--
		x.s.mu.Unlock()
	})
	return nil
}
