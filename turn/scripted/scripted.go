// Package scripted has turn detectors for tests, by text and by audio: they answer what the script
// says and keep a ledger of what they served. All waits are on the clock of the calling goroutine,
// so they cost nothing inside a testing/synctest bubble.
package scripted

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/turn/driver"
)

// Step is the answer to one prediction.
type Step struct {
	Probability float64
	Delay       time.Duration // until the answer
	Err         error         // fails the prediction instead
	Panic       bool          // panics instead
	Requests    int           // what the answer bills; 0 leaves it to the front
}

// Options are the script; nil and zero values mean the defaults.
type Options struct {
	// Info is who the detector says it is; default "scripted.Turn", "scripted", "script".
	Info model.Info
	// Steps are the answers in order, of all sessions together; the last one repeats. Default: one
	// that says that the turn is over.
	Steps []Step
	// Texts are answers by the text of the last message, before Steps; by text only.
	Texts map[string]float64
	// Languages are the ones that are supported; nil means all.
	Languages []string
	// Threshold of every language: default 0.5.
	Threshold float64
	// OpenErr makes every NewStream fail; by audio only.
	OpenErr error
}

// Ledger is what a detector served.
type Ledger struct {
	Predictions int           // asked for
	Dropped     int           // ended by their context
	Running     int           // now
	MaxRunning  int           // at the same time
	Streams     int           // opened
	Open        int           // not closed
	Flushes     int           // of all streams
	Audio       time.Duration // pushed
	Texts       []string      // last messages that were judged
}

// script is what both kinds share.
type script struct {
	o Options

	mu     sync.Mutex
	ledger Ledger
	next   int // step
}

func (s *script) init(o *Options) {
	if o != nil {
		s.o = *o
	}
	if s.o.Info == (model.Info{}) {
		s.o.Info = model.Info{Label: "scripted.Turn", Provider: "scripted", Model: "script"}
	}
	if len(s.o.Steps) == 0 {
		s.o.Steps = []Step{{Probability: 1}}
	}
	if s.o.Threshold == 0 {
		s.o.Threshold = 0.5
	}
}

// Info implements driver.Detector.
func (s *script) Info() model.Info { return s.o.Info }

// SupportsLanguage implements driver.Detector.
func (s *script) SupportsLanguage(language string) bool {
	return s.o.Languages == nil || slices.Contains(s.o.Languages, language)
}

// Threshold implements driver.Detector.
func (s *script) Threshold(string) float64 { return s.o.Threshold }

// Ledger returns what was served until now.
func (s *script) Ledger() Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.ledger
	l.Texts = slices.Clone(l.Texts)
	return l
}

func (s *script) book(f func(l *Ledger)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.ledger)
}

// step is the answer to the next prediction.
func (s *script) step() Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.o.Steps[min(s.next, len(s.o.Steps)-1)]
	s.next++
	return st
}

// answer plays one step.
func (s *script) answer(ctx context.Context, st Step) (driver.Prediction, error) {
	s.book(func(l *Ledger) {
		l.Predictions++
		l.Running++
		l.MaxRunning = max(l.MaxRunning, l.Running)
	})
	defer s.book(func(l *Ledger) { l.Running-- })
	p := driver.Prediction{Probability: st.Probability, Requests: st.Requests}
	timer := time.NewTimer(st.Delay)
	defer timer.Stop()
	if st.Delay <= 0 && ctx.Err() == nil {
		return p, st.fail()
	}
	select {
	case <-timer.C:
		return p, st.fail()
	case <-ctx.Done():
		s.book(func(l *Ledger) { l.Dropped++ })
		return driver.Prediction{Requests: st.Requests}, ctx.Err()
	}
}

func (st Step) fail() error {
	if st.Panic {
		panic("scripted panic")
	}
	return st.Err
}

// TextDetector judges by text.
type TextDetector struct{ script }

// NewText returns a detector by text; o may be nil.
func NewText(o *Options) *TextDetector {
	d := &TextDetector{}
	d.init(o)
	return d
}

// Predict implements driver.TextDetector.
func (d *TextDetector) Predict(ctx context.Context, c *chat.Context, _ string) (driver.Prediction, error) {
	text := ""
	for m := range c.Messages() {
		text = m.Text()
	}
	d.book(func(l *Ledger) { l.Texts = append(l.Texts, text) })
	if p, ok := d.o.Texts[text]; ok {
		return d.answer(ctx, Step{Probability: p})
	}
	return d.answer(ctx, d.step())
}

// AudioDetector judges by audio.
type AudioDetector struct{ script }

// NewAudio returns a detector by audio; o may be nil.
func NewAudio(o *Options) *AudioDetector {
	d := &AudioDetector{}
	d.init(o)
	return d
}

// NewStream implements driver.AudioDetector.
func (d *AudioDetector) NewStream(context.Context) (driver.Stream, error) {
	if d.o.OpenErr != nil {
		return nil, d.o.OpenErr
	}
	d.book(func(l *Ledger) { l.Streams++; l.Open++ })
	return &stream{d: d}, nil
}

type stream struct{ d *AudioDetector }

func (s *stream) Push(f audio.Frame) {
	s.d.book(func(l *Ledger) { l.Audio += f.Duration() })
}

func (s *stream) Predict(ctx context.Context) (driver.Prediction, error) {
	return s.d.answer(ctx, s.d.step())
}

func (s *stream) Flush() { s.d.book(func(l *Ledger) { l.Flushes++ }) }

func (s *stream) Close() error {
	s.d.book(func(l *Ledger) { l.Open-- })
	return nil
}
