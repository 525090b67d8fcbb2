package turn_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/turn"
	"github.com/parley-go/parley/turn/driver"
	"github.com/parley-go/parley/turn/scripted"
)

var frame = audio.Silence(20*time.Millisecond, 16000, 1)

func open(t *testing.T, ctx context.Context, m *turn.Model) *turn.Stream {
	t.Helper()
	s, err := m.NewStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// asks starts a prediction and returns where its error will be.
func asks(ctx context.Context, s *turn.Stream) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := s.Predict(ctx, "en")
		done <- err
	}()
	synctest.Wait()
	return done
}

func slow(d time.Duration) *scripted.Options {
	return &scripted.Options{Steps: []scripted.Step{{Probability: 0.7, Delay: d}}}
}

func TestStreamPredicts(t *testing.T) {
	d := scripted.NewAudio(&scripted.Options{Steps: []scripted.Step{{Probability: 0.4}}})
	s := open(t, t.Context(), turn.New(d, &turn.Options{Thresholds: map[string]float64{"en": 0.36}}))
	s.Push(frame)
	s.Push(audio.Frame{})
	s.Push(audio.Frame{Data: make([]int16, 3), Rate: 16000, Channels: 2})
	p, err := s.Predict(t.Context(), "en-US")
	if err != nil || p.Probability != 0.4 || p.Threshold != 0.36 || !p.Over() {
		t.Errorf("got %+v, %v", p, err)
	}
	if l := d.Ledger(); l.Audio != 20*time.Millisecond {
		t.Errorf("ledger is %+v", l)
	}
}

func TestC022AtMostOnePredictionRunsAndTheNewestWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted.NewAudio(slow(300 * time.Millisecond))
		var log modeltest.Log
		s := open(t, t.Context(), turn.New(d, nil))
		ctx := log.Context(t.Context())
		first, second := asks(ctx, s), asks(ctx, s)
		if err := <-first; err != turn.ErrDropped {
			t.Errorf("the older prediction gave %v", err)
		}
		if err := <-second; err != nil {
			t.Errorf("the newer prediction gave %v", err)
		}
		if l := d.Ledger(); l.MaxRunning != 1 || l.Dropped != 1 || l.Predictions != 2 {
			t.Errorf("ledger is %+v", l)
		}
		got := eots(&log)
		if len(got) != 2 || got[0].Outcome != metrics.Discarded || got[1].Outcome != metrics.Delivered || len(log.Errors()) != 0 {
			t.Errorf("accounted %+v, reported %v", got, log.Errors())
		}
	})
}

func TestC023SpeechThatGoesOnCancelsThePrediction(t *testing.T) {
	for name, drop := range map[string]func(*turn.Stream){
		"cancel": (*turn.Stream).Cancel, "flush": (*turn.Stream).Flush,
		"close": func(s *turn.Stream) { _ = s.Close() },
	} {
		synctest.Test(t, func(t *testing.T) {
			d := scripted.NewAudio(slow(300 * time.Millisecond))
			s := open(t, t.Context(), turn.New(d, nil))
			began := time.Now()
			running := asks(t.Context(), s)
			drop(s)
			if err := <-running; err != turn.ErrDropped || time.Since(began) != 0 {
				t.Errorf("%s: the prediction gave %v after %v", name, err, time.Since(began))
			}
			_, err := s.Predict(t.Context(), "en")
			if want := map[string]error{"close": turn.ErrClosed}[name]; err != want {
				t.Errorf("%s: the next pause gave %v, want %v", name, err, want)
			}
		})
	}
}

func TestC025APredictionThatTimesOutMovesTheStreamToTheLocalModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := scripted.NewAudio(&scripted.Options{
			Info: model.Info{Label: "far", Provider: "far"}, Threshold: 0.4, Steps: []scripted.Step{{Delay: time.Hour}},
		})
		near := scripted.NewAudio(&scripted.Options{Threshold: 0.36, Steps: []scripted.Step{{Probability: 0.3}}})
		m := turn.Fallback(turn.New(far, &turn.Options{Threshold: 0.2}), turn.New(near, nil))
		var log modeltest.Log
		s := open(t, t.Context(), m)
		ctx := log.Context(t.Context())
		s.Push(frame)
		began := time.Now()
		if _, err := s.Predict(ctx, "en"); !errors.Is(err, turn.ErrTimeout) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		s.Push(frame)
		for range 2 {
			p, err := s.Predict(ctx, "en")
			if err != nil || p.Info != s.Info() || p.Info.Label != "scripted.Turn" || !p.Over() || math.Abs(p.Threshold-0.18) > 1e-9 {
				t.Errorf("local says %+v, %v", p, err)
			}
		}
		if l := far.Ledger(); l.Open != 0 || l.Predictions != 1 || l.Audio != frame.Duration() {
			t.Errorf("far: %+v", l)
		}
		if l := near.Ledger(); l.Streams != 1 || l.Predictions != 2 || l.Audio != frame.Duration() {
			t.Errorf("near: %+v", l)
		}
		if e := log.Errors(); len(e) != 1 || !e[0].Recoverable {
			t.Errorf("reported %v, want one warning", e)
		}
	})
}

func TestC025WithoutFallbackTheFailedStreamIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted.NewAudio(&scripted.Options{Steps: []scripted.Step{{Delay: time.Hour}, {Probability: 0.8}}})
		s := open(t, t.Context(), turn.New(d, nil))
		if _, err := s.Predict(t.Context(), "en"); !errors.Is(err, turn.ErrTimeout) {
			t.Errorf("got %v", err)
		}
		if p, err := s.Predict(t.Context(), "en"); err != nil || p.Probability != 0.8 {
			t.Errorf("then %+v, %v", p, err)
		}
	})
}

func TestAStreamThatCannotBeOpened(t *testing.T) {
	boom := errors.New("boom")
	far := turn.New(scripted.NewAudio(&scripted.Options{OpenErr: boom}), nil)
	var log modeltest.Log
	ctx := log.Context(t.Context())
	if _, err := far.NewStream(ctx); !errors.Is(err, boom) || len(log.Errors()) != 1 {
		t.Errorf("got %v, reported %v", err, log.Errors())
	}
	near := scripted.NewAudio(nil)
	s := open(t, ctx, turn.Fallback(far, turn.New(near, nil)))
	if _, err := s.Predict(ctx, "en"); err != nil || near.Ledger().Predictions != 1 {
		t.Errorf("the fallback says %v", err)
	}
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := turn.New(near, nil).NewStream(dead); !errors.Is(err, context.Canceled) || near.Ledger().Streams != 1 {
		t.Errorf("with a dead context: %v", err)
	}
}

func TestAFallbackThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	far := scripted.NewAudio(&scripted.Options{Steps: []scripted.Step{{Err: errors.New("lost")}, {Probability: 0.6}}})
	near := scripted.NewAudio(&scripted.Options{OpenErr: errors.New("no model")})
	s := open(t, t.Context(), turn.Fallback(turn.New(far, nil), turn.New(near, nil)))
	if _, err := s.Predict(t.Context(), "en"); err == nil {
		t.Error("a lost prediction was answered")
	}
	if p, err := s.Predict(t.Context(), "en"); err != nil || p.Probability != 0.6 {
		t.Errorf("the stream that is left says %+v, %v", p, err)
	}
}

// fragile is a detector whose streams panic where it is told.
type fragile struct {
	*scripted.AudioDetector
	push, flush, close bool
	none               bool // returns no stream
}

func (d fragile) NewStream(ctx context.Context) (driver.Stream, error) {
	if d.none {
		return nil, nil
	}
	s, err := d.AudioDetector.NewStream(ctx)
	return fragileStream{s, d}, err
}

type fragileStream struct {
	driver.Stream
	d fragile
}

func (s fragileStream) Push(f audio.Frame) {
	if s.d.push {
		panic("push")
	}
	s.Stream.Push(f)
}

func (s fragileStream) Flush() {
	if s.d.flush {
		panic("flush")
	}
	s.Stream.Flush()
}

func (s fragileStream) Close() error {
	if s.d.close {
		panic("close")
	}
	return s.Stream.Close()
}

func TestPanicsOfADriverEndItsStream(t *testing.T) {
	for name, d := range map[string]fragile{
		"push": {scripted.NewAudio(nil), true, false, false, false}, "flush": {scripted.NewAudio(nil), false, true, false, false},
	} {
		var log modeltest.Log
		s := open(t, log.Context(t.Context()), turn.Fallback(turn.New(d, nil), turn.New(scripted.NewAudio(nil), nil)))
		for range 2 {
			s.Push(frame)
			s.Flush()
		}
		if e := log.Errors(); len(e) != 1 || !isProtocol(e[0].Err) {
			t.Errorf("%s: reported %v", name, e)
		}
		if _, err := s.Predict(t.Context(), "en"); !isProtocol(err) || d.Ledger().Predictions != 0 {
			t.Errorf("%s: Predict says %v", name, err)
		}
		if _, err := s.Predict(t.Context(), "en"); err != nil {
			t.Errorf("%s: the fallback says %v", name, err)
		}
	}
	s, err := turn.New(fragile{scripted.NewAudio(nil), false, false, true, false}, nil).NewStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); !isProtocol(err) {
		t.Errorf("Close says %v", err)
	}
	if _, err := turn.New(fragile{none: true, AudioDetector: scripted.NewAudio(nil)}, nil).NewStream(t.Context()); err == nil {
		t.Error("a stream that is not there was opened")
	}
}

func TestCloseIsFinal(t *testing.T) {
	d := scripted.NewAudio(&scripted.Options{Languages: []string{"en"}})
	s := open(t, t.Context(), turn.New(d, nil))
	if _, err := s.Predict(t.Context(), "de"); !errors.Is(err, turn.ErrLanguage) {
		t.Errorf("an unknown language gave %v", err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	s.Push(frame)
	s.Flush()
	s.Cancel()
	if _, err := s.Predict(t.Context(), "en"); err != turn.ErrClosed {
		t.Errorf("Predict says %v", err)
	}
	if l := d.Ledger(); l.Open != 0 || l.Audio != 0 || l.Flushes != 0 || l.Predictions != 0 {
		t.Errorf("the driver was used after its end: %+v", l)
	}
}

func TestStreamUnderManyHands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := scripted.NewAudio(&scripted.Options{Steps: []scripted.Step{
			{Probability: 0.5, Delay: time.Millisecond}, {Delay: 3 * time.Millisecond}, {Err: errors.New("lost"), Delay: time.Millisecond},
		}})
		near := scripted.NewAudio(slow(time.Millisecond))
		s := open(t, t.Context(), turn.Fallback(turn.New(far, nil), turn.New(near, nil)))
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				for n := range 50 {
					s.Push(frame)
					if _, err := s.Predict(t.Context(), "en"); err == turn.ErrClosed {
						t.Errorf("closed too early")
					}
					if (n+i)%10 == 0 {
						s.Flush()
					}
					time.Sleep(time.Duration(n*i) * time.Microsecond)
				}
			})
		}
		all.Wait()
		if l := near.Ledger(); l.MaxRunning != 1 || l.Predictions == 0 || far.Ledger().MaxRunning != 1 || far.Ledger().Open != 0 {
			t.Errorf("near %+v, far %+v", l, far.Ledger())
		}
	})
}
