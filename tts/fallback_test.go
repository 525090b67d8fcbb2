package tts_test

import (
	"context"
	"errors"
	"slices"
	"strings"
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

func brand(name string, o scripted.Options) *scripted.Options {
	o.Info = model.Info{Label: name + ".TTS", Provider: name, Model: name + "-1"}
	return &o
}

// booked is a line for every metrics event: "b.TTS b-1 delivered".
func booked(l *modeltest.Log) (out []string) {
	for _, e := range modeltest.Events[*metrics.TTS](l) {
		out = append(out, strings.Join([]string{e.Label, e.Metadata.ModelName, string(e.Outcome)}, " "))
	}
	return out
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s %q, want %q", what, got, want)
	}
}

var refuses = []scripted.Fault{{Call: -1}}

func TestC111TextIsSpokenAgainOnlyWhileNothingWasHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := "Hello wörld, this is a test."
		for name, c := range map[string]struct {
			open  func(*scripted.Options) (driver.TTS, func() scripted.Ledger)
			when  scripted.When
			calls int
		}{
			"stream, before audio": {open: streaming, when: scripted.AfterText, calls: 2},
			"stream, after audio":  {open: streaming, when: scripted.AfterSome, calls: 1},
			"text, before audio":   {open: whole, when: scripted.AfterText, calls: 2},
			"text, after audio":    {open: whole, when: scripted.AfterSome, calls: 1},
		} {
			d, ledger := c.open(&scripted.Options{Faults: []scripted.Fault{{Call: 0, When: c.when, Audio: 300 * time.Millisecond}}})
			s := tts.New(d, nil).Synthesize(t.Context(), text)
			h, err := drain(t, s)
			s.Close()
			led := ledger()
			if led.Calls != c.calls || (err == nil) != (c.calls == 2) {
				t.Errorf("%s: %d calls, %v", name, led.Calls, err)
			}
			if c.calls == 2 && (led.Texts[1] != text || h.audio != time.Duration(utf8.RuneCountInString(text))*60*time.Millisecond) {
				t.Errorf("%s: said %q again, %v of audio", name, led.Texts[1], h.audio)
			}
		}
	})
}

func streaming(o *scripted.Options) (driver.TTS, func() scripted.Ledger) {
	d := scripted.New(o)
	return d, d.Ledger
}

func whole(o *scripted.Options) (driver.TTS, func() scripted.Ledger) {
	d := scripted.NewBatch(o)
	return d, d.Ledger
}

func TestC113TheNextVoiceSpeaksAtTheCommonRate(t *testing.T) {
	type kind = func(*scripted.Options) (driver.TTS, func() scripted.Ledger)
	for name, c := range map[string]struct{ first, second kind }{
		"streams": {streaming, streaming}, "texts": {whole, whole},
		"text after stream": {streaming, whole}, "stream after text": {whole, streaming},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &modeltest.Log{}
				a, aLedger := c.first(brand("a", scripted.Options{SampleRate: 48000, Faults: []scripted.Fault{{Call: -1, When: scripted.AfterText, Characters: 3, Kind: scripted.Stall}}}))
				b, bLedger := c.second(brand("b", scripted.Options{SampleRate: 16000, TTFB: 300 * time.Millisecond}))
				m := tts.Fallback(&tts.FallbackOptions{Conn: model.ConnOptions{MaxRetry: -1}}, tts.New(a, nil), tts.New(b, nil))
				if caps := m.Capabilities(); caps.SampleRate != 48000 || caps.AlignedTranscript {
					t.Errorf("capabilities %+v", caps)
				}
				s := m.Stream(l.Context(t.Context()))
				say(t, s, "Hello wörld, ", "this is a test.")
				var audio time.Duration
				for {
					x, err := s.Next()
					if err != nil {
						if s.Close(); err.Error() != "EOF" {
							t.Error(err)
						}
						break
					}
					if len(x.Frame.Data) > 0 && x.Frame.Rate != 48000 {
						t.Fatalf("audio at %d Hz", x.Frame.Rate)
					}
					audio += x.Frame.Duration()
				}
				if want := time.Duration(utf8.RuneCountInString(hello)) * 60 * time.Millisecond; audio < want || audio > want+20*time.Millisecond {
					t.Errorf("%v of audio, want %v", audio, want)
				}
				if got := strings.Join(bLedger().Texts, ""); strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(hello, " ", "") {
					t.Errorf("the second model got %q", got)
				}
				if s.Info().Provider != "b" || m.Info().Provider != "b" || aLedger().Open != 0 {
					t.Errorf("%v spoke, %v is next, %d streams of the first are open", s.Info(), m.Info(), aLedger().Open)
				}
				same(t, "availability", l.Availability(), "tts a fails")
				if got := l.Recoverable(); !slices.Equal(got, []bool{true}) {
					t.Errorf("errors are recoverable: %v", got)
				}
				events := modeltest.Events[*metrics.TTS](l)
				if events[0].Label != "a.TTS" || events[0].Outcome != metrics.Failed || events[0].CharactersCount != aLedger().Characters {
					t.Errorf("the first model's event is %+v, its ledger %+v", events[0], aLedger())
				}
				var chars int64
				for _, e := range events[1:] {
					chars += e.CharactersCount
					if e.Label != "b.TTS" || e.Outcome != metrics.Delivered {
						t.Errorf("event %+v", e)
					}
				}
				if chars != bLedger().Characters {
					t.Errorf("booked %d characters of %d", chars, bLedger().Characters)
				}
				if got := events[1].TTFB; got < 5300*time.Millisecond || got > 5600*time.Millisecond {
					t.Errorf("first audio after %v, want what the failed model took and 0.3 s", got)
				}
				if len(events) > 2 && events[2].TTFB != 300*time.Millisecond {
					t.Errorf("first audio of the second text after %v", events[2].TTFB)
				}
			})
		})
	}
}

func TestFallbackDoesNotChangeTheVoiceInMidSpeech(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &modeltest.Log{}
		a := scripted.New(brand("a", scripted.Options{Faults: []scripted.Fault{{Call: -1, When: scripted.AfterSome, Audio: 500 * time.Millisecond}}}))
		b := scripted.New(brand("b", scripted.Options{}))
		m := tts.Fallback(nil, tts.New(a, nil), tts.New(b, nil))
		s := m.Stream(l.Context(t.Context()))
		defer s.Close()
		say(t, s, hello)
		h, err := drain(t, s)
		var e *model.Error
		if !errors.As(err, &e) || h.audio != 500*time.Millisecond || b.Ledger().Calls != 0 {
			t.Errorf("heard %v, %v, %d calls of the second model", h.audio, err, b.Ledger().Calls)
		}
		same(t, "events", booked(l), "a.TTS a-1 failed")
		if got := l.Recoverable(); !slices.Equal(got, []bool{false}) {
			t.Errorf("errors are recoverable: %v", got)
		}
		if m.Info().Provider != "b" {
			t.Errorf("%v speaks next", m.Info())
		}
	})
}

func TestFallbackOfVoicesThatAllFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &modeltest.Log{}
		a := scripted.New(brand("a", scripted.Options{Faults: refuses}))
		b := scripted.NewBatch(brand("b", scripted.Options{Faults: refuses}))
		c := tts.New(mutes{}, nil)
		m := tts.Fallback(nil, tts.Fallback(nil, tts.New(a, nil), c), nil, tts.New(b, nil))
		s := m.Stream(l.Context(t.Context()))
		defer s.Close()
		say(t, s, hello)
		_, err := drain(t, s)
		for _, part := range []string{"all 3 models failed within 1.2s", "a scripted fault", "neither Synthesizer nor Streamer", "b speak: connection error: failed after 3 attempts"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%v does not say %q", err, part)
			}
		}
		if got := l.Recoverable(); !slices.Equal(got, []bool{true, true, true, true, true, true, false}) {
			t.Errorf("errors are recoverable: %v", got)
		}
		if n := len(booked(l)); n != 0 {
			t.Errorf("%d events of requests that were refused", n)
		}
	})
}

// mutes is a driver that can do nothing.
type mutes struct{}

func (mutes) Info() model.Info                  { return model.Info{Label: "mute.TTS", Provider: "mute"} }
func (mutes) Capabilities() driver.Capabilities { return driver.Capabilities{} }

func TestC113FallbackProbesWithTheWholeText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &modeltest.Log{}
		a := scripted.New(brand("a", scripted.Options{TTFB: 100 * time.Millisecond, Pace: time.Second, Faults: []scripted.Fault{{Call: 0}, {Call: 1, When: scripted.AfterText, Kind: scripted.Hangup}}}))
		b := scripted.New(brand("b", scripted.Options{Pace: 500 * time.Millisecond}))
		m := tts.Fallback(&tts.FallbackOptions{Conn: model.ConnOptions{MaxRetry: -1}}, tts.New(a, nil), tts.New(b, nil))
		speak := func(texts ...string) *tts.Stream {
			t.Helper()
			s := m.Stream(l.Context(t.Context()))
			for _, text := range texts {
				if err := s.Push(text); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(100 * time.Millisecond) // it speaks already
			if err := s.EndInput(); err != nil {
				t.Fatal(err)
			}
			if _, err := drain(t, s); err != nil {
				t.Fatal(err)
			}
			s.Close()
			return s
		}
		for range 5 { // fails, is left alone, is probed after 10 s, is left alone for 20 s
			speak(hello)
			time.Sleep(4 * time.Second)
		}
		if led := a.Ledger(); led.Calls != 2 || led.Texts[0] != hello {
			t.Errorf("the first model was asked %d times, for %q", led.Calls, led.Texts)
		}
		time.Sleep(20 * time.Second)
		speak("...") // nothing to say
		if n := a.Ledger().Calls; n != 2 {
			t.Errorf("probed without a text, or too often: %d calls", n)
		}
		before := len(booked(l))
		if s := speak("Hello ", "wörld"); s.Info().Provider != "b" {
			t.Errorf("%v spoke during the probe", s.Info())
		}
		same(t, "events of the probe and the speech", slices.Sorted(slices.Values(booked(l)[before:])), "a.TTS a-1 discarded", "b.TTS b-1 delivered")
		if got := a.Ledger(); got.Texts[1] != "Hello wörld" || got.Complete != 0 {
			t.Errorf("the probe said %q, %d completely", got.Texts[1], got.Complete)
		}
		if s := speak(hello); s.Info().Provider != "a" {
			t.Errorf("%v spoke after the probe", s.Info())
		}
		same(t, "availability", l.Availability(), "tts a fails", "tts a works")
		if n := len(l.Errors()); n != 1 {
			t.Errorf("%d errors, want that of the first speech", n)
		}
		var chars int64
		for _, e := range modeltest.Events[*metrics.TTS](l) {
			if e.Label == "a.TTS" {
				chars += e.CharactersCount
			}
		}
		if chars != a.Ledger().Characters {
			t.Errorf("booked %d characters of %d", chars, a.Ledger().Characters)
		}
	})
}

func TestC113NoProbeAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := scripted.New(brand("a", scripted.Options{Faults: []scripted.Fault{{Call: 0}, {Call: 1, When: scripted.AfterText, Kind: scripted.Stall}}}))
		b := scripted.New(brand("b", scripted.Options{Pace: time.Second}))
		m := tts.Fallback(&tts.FallbackOptions{Conn: model.ConnOptions{MaxRetry: -1}}, tts.New(a, nil), tts.New(b, nil))
		l := &modeltest.Log{}
		s := m.Stream(l.Context(t.Context()))
		say(t, s, hello)
		if _, err := drain(t, s); err != nil {
			t.Fatal(err)
		}
		s.Close()
		time.Sleep(10 * time.Second)
		// A speech that is closed before its text is complete probes nobody.
		s = m.Stream(l.Context(t.Context()))
		_ = s.Push(hello)
		time.Sleep(time.Second)
		s.Close()
		if err := s.EndInput(); !errors.Is(err, tts.ErrClosed) || a.Ledger().Calls != 1 {
			t.Errorf("%v, %d calls", err, a.Ledger().Calls)
		}
		// One that is closed later ends its probe.
		ctx, cancel := context.WithCancel(l.Context(t.Context()))
		defer cancel()
		s = m.Stream(ctx)
		say(t, s, hello)
		time.Sleep(time.Second)
		if led := a.Ledger(); led.Calls != 2 || led.Open != 1 {
			t.Fatalf("no probe: %+v", led)
		}
		s.Close()
		if !slices.Contains(booked(l), "a.TTS a-1 discarded") {
			t.Errorf("events %q when Close returned", booked(l))
		}
		synctest.Wait()
		if led := a.Ledger(); led.Open != 0 {
			t.Errorf("the probe goes on after Close: %+v", led)
		}
	})
}

func TestC113PathsProbeIndependently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := scripted.New(brand("a", scripted.Options{}))
		text := scripted.NewBatch(brand("a", scripted.Options{Faults: []scripted.Fault{{Call: 0}, {Call: 1}}}))
		b := scripted.NewBatch(brand("b", scripted.Options{TTFB: time.Second})) // so that probes are over before its speech is
		m := tts.Fallback(&tts.FallbackOptions{Conn: model.ConnOptions{MaxRetry: -1}}, tts.New(both{stream, text}, nil), tts.New(b, nil))
		finish := func(s *tts.Stream) string {
			t.Helper()
			if _, err := drain(t, s); err != nil {
				t.Fatal(err)
			}
			s.Close()
			return s.Info().Provider
		}
		written := func() *tts.Stream {
			s := m.Stream(t.Context())
			say(t, s, hello)
			return s
		}
		if who := finish(m.Synthesize(t.Context(), hello)); who != "b" {
			t.Errorf("%s spoke the whole text", who)
		}
		time.Sleep(time.Minute)
		if who := finish(written()); who != "a" || text.Ledger().Calls != 1 {
			t.Errorf("%s spoke the text as it was written; %d whole texts asked for", who, text.Ledger().Calls)
		}
		if finish(m.Synthesize(t.Context(), hello)); text.Ledger().Calls != 2 || stream.Ledger().Calls != 1 {
			t.Errorf("probed %d times with a whole text, %d streams", text.Ledger().Calls-1, stream.Ledger().Calls)
		}
	})
}

// both streams and takes whole texts.
type both struct {
	*scripted.TTS
	text *scripted.Batch
}

func (b both) Synthesize(ctx context.Context, text string) (driver.AudioStream, error) {
	return b.text.Synthesize(ctx, text)
}

func TestFallbackDiscardedIsDiscarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &modeltest.Log{}
		a := scripted.New(brand("a", scripted.Options{Faults: refuses}))
		b := scripted.New(brand("b", scripted.Options{}))
		s := tts.Fallback(nil, tts.New(a, nil), tts.New(b, nil)).Stream(l.Context(t.Context()))
		say(t, s, hello)
		<-s.Done() // complete, and nobody took any of it
		s.Discard()
		same(t, "events", booked(l), "b.TTS b-1 discarded")
	})
}

func TestFallbackOfNoVoiceFails(t *testing.T) {
	m := tts.Fallback(nil)
	s := m.Synthesize(t.Context(), hello)
	defer s.Close()
	if _, err := drain(t, s); err == nil || !strings.Contains(err.Error(), "without models") {
		t.Error(err)
	}
	m.Prewarm(t.Context())
	if err := m.Close(); err != nil || m.Streaming() {
		t.Error(err)
	}
}

func TestFallbackVoiceSpansNestTheModels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &modeltest.Log{}
		a := scripted.New(brand("a", scripted.Options{Faults: refuses}))
		b := scripted.New(brand("b", scripted.Options{}))
		s := tts.Fallback(&tts.FallbackOptions{Conn: model.ConnOptions{MaxRetry: -1}}, tts.New(a, nil), tts.New(b, nil)).Stream(l.Context(t.Context()))
		say(t, s, hello)
		if _, err := drain(t, s); err != nil {
			t.Fatal(err)
		}
		s.Close()
		var names []string
		for _, sp := range l.Spans() {
			if names = append(names, sp.Name); sp.Ends != 1 {
				t.Errorf("%s ended %d times", sp.Name, sp.Ends)
			}
		}
		same(t, "spans", names, "tts_fallback_adapter", "tts_request", "tts_request_run", "tts_request", "tts_request_run")
	})
}
