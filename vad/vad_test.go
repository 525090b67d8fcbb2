package vad_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/vad"
	"github.com/parley-go/parley/vad/driver"
	"github.com/parley-go/parley/vad/scripted"
)

func sound(d time.Duration, level int16) audio.Frame {
	f := audio.Silence(d, 16000, 1)
	for i := range f.Data {
		f.Data[i] = level
	}
	return f
}

func stream(t *testing.T, ctx context.Context, d driver.VAD) *vad.Stream {
	t.Helper()
	s, err := vad.New(d).NewStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// feed pushes audio in frames of 20 ms and returns the kinds of events apart from InferenceDone.
func feed(t *testing.T, s *vad.Stream, d time.Duration, level int16) (kinds []vad.EventKind) {
	t.Helper()
	f := sound(20*time.Millisecond, level)
	for ; d > 0; d -= 20 * time.Millisecond {
		err := s.Process(f, func(e *vad.Event) {
			if e.Kind != vad.InferenceDone {
				kinds = append(kinds, e.Kind)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return kinds
}

func TestSpeechIsFound(t *testing.T) {
	s := stream(t, t.Context(), scripted.New(nil))
	defer s.Close()
	var got []vad.EventKind
	for _, level := range []int16{0, 1000, 0, 1000, 0} {
		got = append(got, feed(t, s, time.Second, level)...)
	}
	want := []vad.EventKind{vad.StartOfSpeech, vad.EndOfSpeech, vad.StartOfSpeech, vad.EndOfSpeech}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if s.MinSilence() != 550*time.Millisecond {
		t.Errorf("min silence %v", s.MinSilence())
	}
}

// TestFlushInSpeechEndsNothing is case C117: no end event, and the next speech is told in full.
func TestC117FlushInSpeechEndsNothing(t *testing.T) {
	s := stream(t, t.Context(), scripted.New(nil))
	defer s.Close()
	feed(t, s, time.Second, 1000)
	s.Flush()
	got := append(feed(t, s, time.Second, 0), feed(t, s, time.Second, 1000)...)
	if !reflect.DeepEqual(got, []vad.EventKind{vad.StartOfSpeech}) {
		t.Errorf("events after the flush: %v", got)
	}
}

func TestMetricsOncePerSecondOfAudio(t *testing.T) {
	var l modeltest.Log
	d := scripted.New(&scripted.Options{InferenceTime: time.Millisecond})
	ctx := metrics.WithTags(l.Context(t.Context()), metrics.Tags{SessionID: "s1"})
	s := stream(t, ctx, d)
	feed(t, s, time.Second, 1000)
	feed(t, s, 2500*time.Millisecond, 0)
	events := modeltest.Events[*metrics.VAD](&l)
	if len(events) != 3 {
		t.Fatalf("%d events for 3.5 s, want 3", len(events))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	events = modeltest.Events[*metrics.VAD](&l)
	if len(events) != 4 {
		t.Fatalf("%d events after Close, want the rest as a fourth", len(events))
	}
	var n int64
	for _, e := range events {
		n += e.InferenceCount
		if e.InferenceDurationTotal != time.Duration(e.InferenceCount)*time.Millisecond || e.Tags.SessionID != "s1" || e.Label != "scripted.VAD" || e.Metadata.ModelProvider != "scripted" {
			t.Errorf("event is %+v", e)
		}
	}
	if n != d.Ledger().Windows {
		t.Errorf("told %d inferences, detector made %d", n, d.Ledger().Windows)
	}
	if got := events[0].IdleTime; got > 50*time.Millisecond {
		t.Errorf("idle for %v while somebody spoke", got)
	}
	if got := events[2].IdleTime; (got - 1450*time.Millisecond).Abs() > 100*time.Millisecond {
		t.Errorf("idle for %v, 2 s after a speech that lasted 0.55 s longer", got)
	}
}

func TestOtherFormatLeavesTheStreamAsItWas(t *testing.T) {
	var l modeltest.Log
	s := stream(t, l.Context(t.Context()), scripted.New(nil))
	defer s.Close()
	feed(t, s, 500*time.Millisecond, 1000)
	for range 10 {
		if err := s.Process(audio.Silence(20*time.Millisecond, 48000, 1), func(*vad.Event) { t.Error("event from a refused frame") }); err == nil {
			t.Fatal("another rate was taken")
		}
	}
	if got := l.Recoverable(); !reflect.DeepEqual(got, []bool{true}) {
		t.Errorf("error events %v, want one for the whole run", got)
	}
	if got := feed(t, s, time.Second, 0); !reflect.DeepEqual(got, []vad.EventKind{vad.EndOfSpeech}) {
		t.Errorf("events after it: %v", got)
	}
}

func TestFailuresOfTheDetector(t *testing.T) {
	own := errors.New("model file is gone")
	for name, o := range map[string]*scripted.Options{
		"error": {FailAt: time.Second, Err: own},
		"panic": {FailAt: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var l modeltest.Log
			d := scripted.New(o)
			s := stream(t, l.Context(t.Context()), d)
			f := sound(20*time.Millisecond, 0)
			failed, ok := 0, 0
			for range 100 {
				if err := s.Process(f, func(*vad.Event) {}); err != nil {
					failed++
				} else {
					ok++
				}
			}
			events := l.Errors()
			if len(events) != 1 || events[0].Kind != "vad" || events[0].Recoverable != (o.Err != nil) {
				t.Errorf("error events %+v", events)
			}
			if o.Err != nil && (failed != 1 || !errors.Is(events[0].Err, own)) {
				t.Errorf("%d frames failed with %v", failed, events[0].Err)
			}
			var e *model.Error
			if o.Err == nil && (failed != 49 || !errors.As(events[0].Err, &e)) {
				t.Errorf("%d frames failed with %v: after a panic nothing may go on", failed, events[0].Err)
			}
			if err := s.Close(); err != nil || d.Ledger().Open != 0 {
				t.Errorf("close: %v, %d streams open", err, d.Ledger().Open)
			}
		})
	}
}

func TestEndsOfAStream(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := stream(t, ctx, scripted.New(nil))
	cancel()
	if err := s.Process(sound(20*time.Millisecond, 0), func(*vad.Event) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("process after the end of the context: %v", err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	s.Flush()
	if err := s.Process(sound(20*time.Millisecond, 0), func(*vad.Event) {}); !errors.Is(err, vad.ErrClosed) {
		t.Errorf("process after close: %v", err)
	}
	if _, err := vad.New(scripted.New(nil)).NewStream(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("stream with an ended context: %v", err)
	}
}

// broken opens no streams.
type broken struct{ err error }

func (broken) Info() model.Info                    { return model.Info{} }
func (b broken) NewStream() (driver.Stream, error) { return nil, b.err }

func TestDriverThatOpensNothing(t *testing.T) {
	for _, err := range []error{nil, errors.New("no memory")} {
		var l modeltest.Log
		if _, got := vad.New(broken{err}).NewStream(l.Context(t.Context())); got == nil || len(l.Errors()) != 1 || l.Errors()[0].Recoverable {
			t.Errorf("error %v, error events %v", got, l.Errors())
		}
	}
}

func TestProcessAllocatesNothing(t *testing.T) {
	s := stream(t, t.Context(), scripted.New(nil))
	defer s.Close()
	f := sound(20*time.Millisecond, 0)
	n := 0
	emit := func(*vad.Event) { n++ }
	for range 100 {
		if err := s.Process(f, emit); err != nil {
			t.Fatal(err)
		}
	}
	if got := testing.AllocsPerRun(200, func() { _ = s.Process(f, emit) }); got != 0 {
		t.Errorf("%v allocations per frame", got)
	}
	if n == 0 {
		t.Error("no events")
	}
}

func BenchmarkProcess(b *testing.B) {
	s, err := vad.New(scripted.New(nil)).NewStream(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	f := sound(20*time.Millisecond, 0)
	emit := func(*vad.Event) {}
	b.ReportAllocs()
	for b.Loop() {
		_ = s.Process(f, emit)
	}
}
