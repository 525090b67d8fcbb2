package stt_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/scripted"
	"github.com/parley-go/parley/vad"
	vadscript "github.com/parley-go/parley/vad/scripted"
)

func brand(name string, o scripted.Options) *scripted.Options {
	o.Info = model.Info{Label: name + ".STT", Provider: name, Model: name + "-1"}
	return &o
}

// spent is the audio that was booked on a model with an outcome.
func spent(l *modeltest.Log, label string, o metrics.Outcome) (d time.Duration) {
	for _, e := range modeltest.Events[*metrics.STT](l) {
		if e.Label == label && e.Outcome == o {
			d += e.AudioDuration
		}
	}
	return d
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s %q, want %q", what, got, want)
	}
}

// utter pushes a second of speech and two of silence.
func utter(t *testing.T, s *stt.Stream) {
	t.Helper()
	speak(t, s, time.Second, 1000)
	speak(t, s, 2*time.Second, 0)
}

func TestC112NextRecogniserGoesOnAndTheNextStreamGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &modeltest.Log{}
		a := scripted.New(brand("a", scripted.Options{
			Texts:        []string{"first words", "of the probe", "of the next stream"},
			Capabilities: &stt.Capabilities{InterimResults: true, SampleRate: 8000},
			Faults:       []scripted.Fault{{Call: 0, After: 3500 * time.Millisecond}, {Call: 1}},
		}))
		b := scripted.New(brand("b", scripted.Options{
			Texts:        []string{"second words", "third words", "fourth words"},
			Capabilities: &stt.Capabilities{InterimResults: true, SampleRate: rate, Keyterms: true},
		}))
		pa, pb := &probe{STT: a}, &probe{STT: b}
		m := stt.Fallback(nil, stt.New(pa, nil), stt.New(pb, nil))
		if caps := m.Capabilities(); !caps.InterimResults || !caps.Keyterms || caps.SampleRate != 0 {
			t.Errorf("capabilities %+v", caps)
		}
		o := &stt.Options{Keyterms: []string{"wörld"}, Language: "en"}
		s, err := m.Stream(l.Context(t.Context()), o)
		if err != nil {
			t.Fatal(err)
		}
		c := collect(s)
		utter(t, s)
		utter(t, s) // dropped in the middle of this
		if s.Info().Provider != "b" || m.Info().Provider != "b" {
			t.Errorf("%v transcribes, %v is next", s.Info(), m.Info())
		}
		speak(t, s, 8*time.Second, 0) // meanwhile the first is probed
		if n := a.Ledger().Calls; n != 3 {
			t.Errorf("the first was opened %d times", n)
		}
		utter(t, s)
		if m.Info().Provider != "a" || s.Info().Provider != "b" {
			t.Errorf("%v transcribes, %v is next", s.Info(), m.Info())
		}
		utter(t, s)
		c.end(t, s)
		same(t, "finals", c.texts(stt.Final), "first words", "second words", "third words", "fourth words")
		var starts []time.Duration
		for _, e := range c.events {
			if e.Kind == stt.Final {
				starts = append(starts, e.Alternatives[0].Start)
			}
		}
		if !near(starts, []time.Duration{0, 3 * time.Second, 14 * time.Second, 17 * time.Second}) {
			t.Errorf("finals start at %v", starts)
		}
		if got := l.Recoverable(); !slices.Equal(got, []bool{true, true}) {
			t.Errorf("errors are recoverable: %v", got)
		}
		same(t, "availability", l.Availability(), "stt a fails", "stt a works")

		s, err = m.Stream(l.Context(t.Context()), o)
		if err != nil {
			t.Fatal(err)
		}
		c = collect(s)
		utter(t, s)
		c.end(t, s)
		same(t, "finals", c.texts(stt.Final), "of the next stream")
		if s.Info().Provider != "a" || b.Ledger().Calls != 1 {
			t.Errorf("%v transcribes the next stream", s.Info())
		}
		if pa.rate != 8000 || pb.rate != rate {
			t.Errorf("got audio at %d and %d Hz", pa.rate, pb.rate)
		}
		if ka, kb := a.Ledger().LastOption, b.Ledger().LastOption; len(ka.Keyterms) != 0 || len(kb.Keyterms) != 1 || ka.Language != "en" {
			t.Errorf("options %+v and %+v", ka, kb)
		}

		probed := a.Ledger().PerStream[1] // the second call has no stream
		if got := spent(l, "a.STT", metrics.Discarded); (got-probed).Abs() > time.Millisecond || got == 0 {
			t.Errorf("booked %v for the probe, it got %v", got, probed)
		}
		// A resampler holds a little back, and the dropped connection got what it could not take any more.
		if got := spent(l, "a.STT", ""); (got - (a.Ledger().Audio - probed)).Abs() > 50*time.Millisecond {
			t.Errorf("booked %v for the first, it got %v beside the probe", got, a.Ledger().Audio-probed)
		}
		if got := spent(l, "b.STT", ""); got != b.Ledger().Audio {
			t.Errorf("booked %v for the second, it got %v", got, b.Ledger().Audio)
		}
		if synctest.Wait(); a.Ledger().Open+b.Ledger().Open != 0 {
			t.Error("streams are left open")
		}
	})
}

func TestFallbackSendsAllAudioAtTheRateOfEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := scripted.New(&scripted.Options{Capabilities: &stt.Capabilities{SampleRate: 8000}})
		b := scripted.New(&scripted.Options{Capabilities: &stt.Capabilities{SampleRate: 48000}})
		s := open(t, t.Context(), stt.Fallback(nil, stt.New(a, nil), stt.New(b, nil)))
		c := collect(s)
		speak(t, s, time.Second, 1000)
		c.end(t, s)
		if got := a.Ledger().Audio; got <= time.Second || got > time.Second+10*time.Millisecond {
			t.Errorf("got %v, want a second and what the resampler held back", got)
		}
	})
}

func TestFallbackIsAskedAgainInALongStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &modeltest.Log{}
		a := scripted.New(brand("a", scripted.Options{Texts: []string{"three", "four"}, Faults: []scripted.Fault{{Call: 0}}}))
		b := scripted.New(brand("b", scripted.Options{Texts: []string{"one", "two"}, Faults: []scripted.Fault{{Call: 0, After: 7 * time.Second}}}))
		m := stt.Fallback(&stt.FallbackOptions{Conn: model.ConnOptions{MaxRetry: -1}, ProbeAfter: time.Hour}, stt.New(a, nil), stt.New(b, nil))
		s := open(t, l.Context(t.Context()), m)
		c := collect(s)
		for range 4 {
			utter(t, s)
		}
		c.end(t, s)
		same(t, "finals", c.texts(stt.Final), "one", "two", "three", "four")
		same(t, "availability", l.Availability(), "stt a fails", "stt b fails", "stt a works")
		if got := l.Recoverable(); !slices.Equal(got, []bool{true, true}) {
			t.Errorf("errors are recoverable: %v", got)
		}
	})
}

func TestFallbackOfRecognisersThatAllFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &modeltest.Log{}
		faults := []scripted.Fault{{Call: -1}}
		a := scripted.New(brand("a", scripted.Options{Faults: faults}))
		b := scripted.New(brand("b", scripted.Options{Faults: faults}))
		s := open(t, l.Context(t.Context()), stt.Fallback(nil, stt.Fallback(nil, stt.New(a, nil)), nil, stt.New(b, nil)))
		defer s.Close()
		_, err := s.Next()
		want := "stt: stream: b stream: connection error: all 2 models failed within 200ms: a stream: connection error: failed after 2 attempts: a scripted fault: connection error; b stream: connection error: failed after 2 attempts: b scripted fault: connection error"
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		if got := l.Recoverable(); !slices.Equal(got, []bool{true, true, true, false}) {
			t.Errorf("errors are recoverable: %v", got)
		}
	})
}

func TestFallbackProbesEndWithTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &modeltest.Log{}
		a := scripted.New(brand("a", scripted.Options{Faults: []scripted.Fault{{Call: 0}}}))
		b := scripted.New(brand("b", scripted.Options{Texts: []string{"hello"}}))
		m := stt.Fallback(&stt.FallbackOptions{Conn: model.ConnOptions{MaxRetry: -1}}, stt.New(a, nil), stt.New(b, nil))
		s := open(t, l.Context(t.Context()), m)
		c := collect(s)
		speak(t, s, 9*time.Second, 0)
		if n := a.Ledger().Calls; n != 1 {
			t.Errorf("probed too early: %d calls", n)
		}
		speak(t, s, 2*time.Second, 0)
		if led := a.Ledger(); led.Calls != 2 || led.Open != 1 {
			t.Fatalf("not probed: %+v", led)
		}
		// Nobody speaks: the probe ends after 30 s, and the next one comes 20 s later.
		speak(t, s, 45*time.Second, 0)
		if led := a.Ledger(); led.Calls != 2 || led.Open != 0 || !near(led.PerStream, []time.Duration{30 * time.Second}) {
			t.Errorf("the probe took %+v", led)
		}
		speak(t, s, 10*time.Second, 0)
		if led := a.Ledger(); led.Calls != 3 || led.Open != 1 {
			t.Errorf("not probed again: %+v", led)
		}
		_ = s.Close()
		if got, want := spent(l, "a.STT", metrics.Discarded), a.Ledger().Audio; got != want {
			t.Errorf("booked %v of %v for the probes when Close returned", got, want)
		}
		<-c.done
		synctest.Wait()
		if n := a.Ledger().Open; n != 0 {
			t.Errorf("%d probes are open", n)
		}
		time.Sleep(time.Hour)
		if n := a.Ledger().Calls; n != 3 {
			t.Errorf("probed after Close: %d calls", n)
		}
		same(t, "availability", l.Availability(), "stt a fails")
		// A stream that begins now passes the model over, and probes it at once.
		s = open(t, l.Context(t.Context()), m)
		c = collect(s)
		utter(t, s)
		c.end(t, s)
		same(t, "finals", c.texts(stt.Final), "hello")
		if n := a.Ledger().Calls; n != 4 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestFallbackAdaptsWhatDoesNotStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &modeltest.Log{}
		a := scripted.NewBatch(brand("a", scripted.Options{Faults: []scripted.Fault{{Call: -1}}}))
		b := scripted.New(brand("b", scripted.Options{Texts: []string{"hello there"}}))
		o := &stt.FallbackOptions{VAD: vad.New(vadscript.New(nil)), Conn: model.ConnOptions{MaxRetry: 1}}
		m := stt.Fallback(o, stt.New(a, nil), stt.New(b, nil))
		if !m.Streaming() || stt.Fallback(nil, stt.New(a, nil), stt.New(b, nil)).Streaming() {
			t.Fatal("only with a VAD all of them stream")
		}
		s := open(t, l.Context(t.Context()), m)
		c := collect(s)
		speak(t, s, time.Second, 0)
		utter(t, s)
		c.end(t, s)
		same(t, "finals", c.texts(stt.Final), "hello there")
		if got := l.Recoverable(); !slices.Equal(got, []bool{true, true}) || a.Ledger().Calls != 2 {
			t.Errorf("errors are recoverable: %v after %d calls", got, a.Ledger().Calls)
		}
		same(t, "availability", l.Availability(), "stt a fails")
		if got := spent(l, "b.STT", ""); got != b.Ledger().Audio || spent(l, "a.STT", "") != 0 {
			t.Errorf("booked %v of %v", got, b.Ledger().Audio)
		}
	})
}

func TestFallbackOfWholeUtterances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &modeltest.Log{}
		a := scripted.NewBatch(brand("a", scripted.Options{Transcribe: level, Faults: []scripted.Fault{{Call: 0}, {Call: 1}}}))
		b := scripted.NewBatch(brand("b", scripted.Options{Transcribe: level}))
		batch := stt.Fallback(&stt.FallbackOptions{Conn: model.ConnOptions{MaxRetry: -1}}, stt.New(a, nil), stt.New(b, nil))
		m := stt.Adapt(batch, vad.New(vadscript.New(nil)), nil)
		if m.Info().Provider != "a" {
			t.Errorf("%v is asked first", m.Info())
		}
		s := open(t, l.Context(t.Context()), m)
		c := collect(s)
		speak(t, s, time.Second, 0)
		for range 16 { // one every 3 s: the first fails, probes come after 10 s and after 20 s more
			utter(t, s)
		}
		c.end(t, s)
		if got := c.texts(stt.Final); len(got) != 16 {
			t.Errorf("finals %q", got)
		}
		if got := l.Recoverable(); !slices.Equal(got, []bool{true}) {
			t.Errorf("errors are recoverable: %v", got)
		}
		same(t, "availability", l.Availability(), "stt a fails", "stt a works")
		if m.Info().Provider != "a" {
			t.Errorf("%v is next", m.Info())
		}
		var events []string
		for _, e := range modeltest.Events[*metrics.STT](l) {
			events = append(events, strings.TrimSpace(e.Label+" "+string(e.Outcome)))
		}
		n := slices.Index(events, "a.STT discarded")
		if n < 10 || slices.Index(events[n+1:], "a.STT discarded") >= 0 || events[len(events)-1] != "a.STT" {
			t.Errorf("events %q", events)
		}
		if got := spent(l, "a.STT", metrics.Discarded) + spent(l, "a.STT", ""); got != a.Ledger().Audio {
			t.Errorf("booked %v of %v", got, a.Ledger().Audio)
		}
		if got := spent(l, "b.STT", ""); got != b.Ledger().Audio {
			t.Errorf("booked %v of %v", got, b.Ledger().Audio)
		}
	})
}

func TestFallbackRecognizesWithWhoStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &modeltest.Log{}
		a := scripted.NewBatch(brand("a", scripted.Options{Faults: []scripted.Fault{{Call: -1}}}))
		b := scripted.New(brand("b", scripted.Options{Texts: []string{"hello"}}))
		m := stt.Fallback(nil, stt.New(a, nil), stt.New(b, nil))
		r, err := m.Recognize(l.Context(t.Context()), sound(time.Second, 1000), nil)
		if err != nil || r.Text != "hello" {
			t.Fatalf("%+v, %v", r, err)
		}
		if got := spent(l, "b.STT", ""); got != time.Second {
			t.Errorf("booked %v", got)
		}
		broken := stt.Fallback(nil, stt.New(a, nil), stt.New(scripted.NewBatch(brand("c", scripted.Options{Faults: []scripted.Fault{{Call: -1}}})), nil))
		_, err = broken.Recognize(l.Context(t.Context()), sound(time.Second, 1000), nil)
		if err == nil || !strings.Contains(err.Error(), "all 2 models failed") {
			t.Error(err)
		}
	})
}

func TestFallbackOfNoRecogniserFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := stt.Fallback(nil, nil)
		s := open(t, t.Context(), m)
		defer s.Close()
		var e *model.Error
		if _, err := s.Next(); !errors.As(err, &e) || e.Retryable() {
			t.Error(err)
		}
		if _, err := m.Recognize(t.Context(), sound(time.Second, 0), nil); !errors.As(err, &e) || e.Retryable() {
			t.Error(err)
		}
	})
}

func TestFallbackProbesWithTheSameUtterance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &modeltest.Log{}
		a := scripted.NewBatch(brand("a", scripted.Options{Transcribe: level, Latency: 5 * time.Second, Faults: []scripted.Fault{{Call: 0}}}))
		b := scripted.NewBatch(brand("b", scripted.Options{Transcribe: level}))
		m := stt.Fallback(&stt.FallbackOptions{Conn: model.ConnOptions{MaxRetry: -1}}, stt.New(a, nil), stt.New(b, nil))
		for range 2 {
			ctx, cancel := context.WithCancel(l.Context(t.Context()))
			f := sound(time.Second, 1000)
			if r, err := m.Recognize(ctx, f, nil); err != nil || r.Text != "level 1000" {
				t.Fatalf("%+v, %v", r, err)
			}
			cancel() // the probe does not mind
			clear(f.Data)
			time.Sleep(10 * time.Second)
		}
		if m.Info().Provider != "a" || spent(l, "a.STT", metrics.Discarded) != time.Second {
			t.Errorf("%v is next, booked %v for the probe", m.Info(), spent(l, "a.STT", metrics.Discarded))
		}
	})
}
