package tts_test

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
	"github.com/parley-go/parley/tts/scripted"
)

// slowLine is a driver whose provider takes a character every 10 ms. What was taken is known at once
// (Counter), or only when Push returns.
type slowLine struct {
	counts bool
	got    atomic.Int64
}

func (d *slowLine) Info() model.Info { return model.Info{Provider: "slow", Model: "line"} }
func (d *slowLine) Capabilities() driver.Capabilities {
	return driver.Capabilities{SampleRate: 8000, Channels: 1}
}

func (d *slowLine) Open(context.Context) (driver.Stream, error) {
	l := &line{d: d, gone: make(chan struct{})}
	if d.counts {
		return countingLine{l}, nil
	}
	return l, nil
}

type line struct {
	d    *slowLine
	sent atomic.Int64
	gone chan struct{}
	over atomic.Bool
}

func (l *line) Push(ctx context.Context, text string) error {
	for range text {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
			l.sent.Add(1)
			l.d.got.Add(1)
		}
	}
	return nil
}

func (l *line) CloseSend(context.Context) error { return nil }

func (l *line) Next(ctx context.Context) (*driver.Chunk, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.gone:
		return nil, io.ErrClosedPipe
	}
}

func (l *line) Close() error {
	if !l.over.Swap(true) {
		close(l.gone)
	}
	return nil
}

type countingLine struct{ *line }

func (l countingLine) Sent() int64 { return l.sent.Load() }

func TestInterruptedInTheMiddleOfTheSend(t *testing.T) {
	for name, end := range map[string]func(s *tts.Stream, cancel context.CancelFunc){
		"close":   func(s *tts.Stream, _ context.CancelFunc) { s.Close() },
		"discard": func(s *tts.Stream, _ context.CancelFunc) { s.Discard() },
		"context": func(_ *tts.Stream, cancel context.CancelFunc) { cancel() },
	} {
		for _, counts := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var l modeltest.Log
					ctx, cancel := context.WithCancel(l.Context(t.Context()))
					defer cancel()
					d := &slowLine{counts: counts}
					s := tts.New(d, nil).Stream(ctx)
					defer s.Close()
					for range 2 { // the second is cut after 8 of 28 characters
						if err := s.Push(hello); err != nil {
							t.Fatal(err)
						}
						synctest.Wait()
					}
					time.Sleep(365 * time.Millisecond)
					end(s, cancel)
					synctest.Wait()
					want := int64(28) // what Push has taken
					if counts {
						want = d.got.Load()
					}
					if e := one(t, &l); e.CharactersCount != want || d.got.Load() != 36 || !e.Cancelled {
						t.Errorf("booked %d characters, want %d; the provider got %d; %+v", e.CharactersCount, want, d.got.Load(), e)
					}
				})
			})
		}
	}
}

// A speech that fails after the provider has taken its text costs what was sent, once.
func TestFailureAfterTheTextWasTaken(t *testing.T) {
	total := utf8.RuneCountInString(hello)
	o := scripted.Options{Faults: []scripted.Fault{{Call: -1, When: scripted.AfterText, Characters: total}}}
	for kind, d := range map[string]driver.TTS{"streaming": scripted.New(&o), "one-shot": scripted.NewBatch(&o)} {
		for _, retries := range []int{-1, 2} {
			t.Run(kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var l modeltest.Log
					s := tts.New(d, &tts.ModelOptions{Conn: model.ConnOptions{MaxRetry: retries}}).Stream(l.Context(t.Context()))
					defer s.Close()
					say(t, s, hello)
					if _, err := drain(t, s); err == nil {
						t.Fatal("no error")
					}
					if e := one(t, &l); e.Outcome != metrics.Failed || e.Cancelled || e.CharactersCount != int64(total) || e.Attempt != max(retries, 0) {
						t.Errorf("event %+v", e)
					}
				})
			})
		}
	}
}

// Replays count only for providers that bill them, and then as far as they were sent.
func TestReplaysOfACountingDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := &slowLine{counts: true} // never sends audio: each attempt runs into its timeout
		m := tts.New(d, &tts.ModelOptions{CountReplays: true, Conn: model.ConnOptions{MaxRetry: 1, Timeout: time.Second}})
		s := m.Stream(l.Context(t.Context()))
		defer s.Close()
		say(t, s, hello)
		if _, err := drain(t, s); err == nil {
			t.Fatal("no error")
		}
		if e := one(t, &l); e.CharactersCount != d.got.Load() || e.CharactersCount != 56 || e.Outcome != metrics.Failed {
			t.Errorf("booked %d characters, the provider got %d", e.CharactersCount, d.got.Load())
		}
	})
}

func TestWordsOfTheProviderAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		s := tts.New(scripted.New(&scripted.Options{States: true}), nil).Stream(l.Context(t.Context()))
		defer s.Close()
		say(t, s, hello)
		if _, err := drain(t, s); err != nil {
			t.Fatal(err)
		}
		if e := one(t, &l); e.Source != metrics.FromProvider || e.Raw != `{"characters":28}` {
			t.Errorf("event %+v, in the provider's words %q", e, e.Raw)
		}
	})
}

// deaf is a driver whose first stream takes no text and ends at once; the others are those of the model below.
type deaf struct {
	*scripted.TTS
	streams int
}

func (d *deaf) Open(ctx context.Context) (driver.Stream, error) {
	s, err := d.TTS.Open(ctx)
	if d.streams++; d.streams > 1 || err != nil {
		return s, err
	}
	return &hungUp{Stream: s, pushed: make(chan struct{}), closed: make(chan struct{})}, nil
}

type hungUp struct {
	driver.Stream
	pushed, closed chan struct{}
}

func (h *hungUp) Push(context.Context, string) error {
	close(h.pushed)
	<-h.closed
	return io.ErrClosedPipe // nothing that a retry could mend, were it the provider's word
}

func (h *hungUp) Next(context.Context) (*driver.Chunk, error) {
	<-h.pushed
	return nil, io.EOF
}

func (h *hungUp) Close() error {
	close(h.closed)
	return h.Stream.Close()
}

// What a driver says of text after we closed its stream, as the provider had ended the speech, is not why it failed.
func TestTextThatMeetsOurCloseIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &deaf{TTS: scripted.New(nil)}
		s := tts.New(d, nil).Stream(t.Context())
		defer s.Close()
		say(t, s, hello)
		if h, err := drain(t, s); err != nil || h.audio == 0 || d.streams != 2 {
			t.Errorf("audio %v, error %v, %d streams", h.audio, err, d.streams)
		}
	})
}
