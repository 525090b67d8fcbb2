package turntest_test

import (
	"context"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/turn/driver"
	"github.com/parley-go/parley/turn/scripted"
	"github.com/parley-go/parley/turn/turntest"
)

// TestKitFindsBrokenDetectors breaks each rule once and wants the case of that rule to fail.
func TestKitFindsBrokenDetectors(t *testing.T) {
	good := func() *scripted.TextDetector {
		return scripted.NewText(&scripted.Options{Languages: []string{"en"}})
	}
	for name, d := range map[string]driver.Detector{
		"info":          scripted.NewText(&scripted.Options{Info: model.Info{Label: "X.Turn", Provider: "Loud"}}),
		"kind":          kindless{good()},
		"languages":     scripted.NewText(&scripted.Options{Languages: []string{"de"}}),
		"threshold":     scripted.NewText(&scripted.Options{Threshold: 1.5}),
		"probability":   text{good(), func(context.Context, *chat.Context) float64 { return math.NaN() }},
		"empty context": text{good(), func(_ context.Context, c *chat.Context) float64 { return float64(c.Len() - 1) }},
		"read only": text{good(), func(_ context.Context, c *chat.Context) float64 {
			c.Add(chat.NewMessage(chat.User, "more"))
			return 1
		}},
		"deterministic":       scripted.NewText(&scripted.Options{Steps: []scripted.Step{{Probability: 1}, {Probability: 0}}}),
		"concurrent":          scripted.NewText(&scripted.Options{Steps: []scripted.Step{{Probability: 1}, {Probability: 0}}}),
		"dead context":        text{good(), func(context.Context, *chat.Context) float64 { return 1 }},
		"cancellation":        text{good(), func(context.Context, *chat.Context) float64 { time.Sleep(time.Minute); return 1 }},
		"superseding":         deaf{scripted.NewAudio(nil)},
		"flush":               &counting{AudioDetector: scripted.NewAudio(nil)},
		"push does not block": deaf{scripted.NewAudio(nil)},
		"close":               unclosed{scripted.NewAudio(nil)},
	} {
		h := turntest.Harness{
			New: func(testing.TB) driver.Detector { return d }, Slow: func(testing.TB) driver.Detector { return d },
			Language: "en", Unsupported: "xx", Local: true,
		}
		found := false
		for _, c := range turntest.Cases() {
			if c.Name != name {
				continue
			}
			found = true
			synctest.Test(t, func(t *testing.T) {
				if !fails(t, func(t testing.TB) { c.Run(t, h) }) {
					t.Errorf("%s: the kit did not notice", name)
				}
				time.Sleep(time.Hour) // what a broken detector left running ends
			})
		}
		if !found {
			t.Errorf("there is no case %q", name)
		}
	}
}

// fails reports whether f fails.
func fails(t *testing.T, f func(testing.TB)) bool {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.clean()
		f(r)
	}()
	<-done
	return r.failed
}

// recorder is a test whose failure does not count.
type recorder struct {
	testing.TB
	failed   bool
	cleanups []func()
}

func (r *recorder) Helper()               {}
func (r *recorder) Logf(string, ...any)   {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Skip(...any)           { runtime.Goexit() }
func (r *recorder) Cleanup(f func())      { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Fatalf(string, ...any) { r.failed = true; runtime.Goexit() }

func (r *recorder) clean() {
	for _, f := range r.cleanups {
		f()
	}
}

type kindless struct{ driver.Detector }

type text struct {
	driver.Detector
	f func(context.Context, *chat.Context) float64
}

func (d text) Predict(ctx context.Context, c *chat.Context, _ string) (driver.Prediction, error) {
	return driver.Prediction{Probability: d.f(ctx, c)}, nil
}

// deaf does not notice that its context ended, and takes its time with each frame.
type deaf struct{ *scripted.AudioDetector }

func (deaf) NewStream(context.Context) (driver.Stream, error) { return deafStream{}, nil }

type deafStream struct{ driver.Stream }

func (deafStream) Push(audio.Frame) { time.Sleep(20 * time.Millisecond) }
func (deafStream) Flush()           {}
func (deafStream) Close() error     { return nil }
func (deafStream) Predict(context.Context) (driver.Prediction, error) {
	time.Sleep(time.Minute)
	return driver.Prediction{Requests: 1}, context.DeadlineExceeded
}

// counting judges by how much it heard, and forgets nothing.
type counting struct {
	*scripted.AudioDetector
}

func (c *counting) NewStream(context.Context) (driver.Stream, error) { return &countingStream{}, nil }

type countingStream struct {
	mu sync.Mutex
	n  int
}

func (s *countingStream) Push(audio.Frame) { s.mu.Lock(); defer s.mu.Unlock(); s.n++ }
func (s *countingStream) Flush()           {}
func (s *countingStream) Close() error     { return nil }
func (s *countingStream) Predict(context.Context) (driver.Prediction, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return driver.Prediction{Probability: 1 / float64(s.n+1)}, nil
}

type unclosed struct{ *scripted.AudioDetector }

func (unclosed) NewStream(context.Context) (driver.Stream, error) { return unclosedStream{}, nil }

type unclosedStream struct{ deafStream }

func (unclosedStream) Close() error { return context.Canceled }
