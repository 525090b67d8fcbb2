package stt_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/scripted"
	"github.com/parley-go/parley/vad"
	vadscript "github.com/parley-go/parley/vad/scripted"
)

// level is the text of a segment by how loud it is.
func level(f audio.Frame) string {
	top := int16(0)
	for _, v := range f.Data {
		top = max(top, v)
	}
	return fmt.Sprintf("level %d", top)
}

// growing is a text that grows with every half second of sound.
func growing(f audio.Frame) string {
	n := 0
	for _, v := range f.Data {
		if v > 0 {
			n++
		}
	}
	return fmt.Sprintf("%d halves", n/(rate/2))
}

var speculative = &stt.Capabilities{Speculative: true, SampleRate: rate}

// adapted opens an adapted stream over a scripted batch recogniser.
func adapted(t *testing.T, ctx context.Context, o scripted.Options, ao *stt.AdaptOptions) (*stt.Stream, *scripted.Batch) {
	t.Helper()
	d := scripted.NewBatch(&o)
	m := stt.Adapt(stt.New(d, nil), vad.New(vadscript.New(nil)), ao)
	if !m.Streaming() || m.Info() != d.Info() {
		t.Fatalf("adapter streams %v and calls itself %v", m.Streaming(), m.Info())
	}
	return open(t, ctx, m), d
}

func kinds(c *collected) (out []stt.EventKind) {
	for _, e := range c.events {
		if e.Kind != stt.Interim {
			out = append(out, e.Kind)
		}
	}
	return out
}

func TestAdapterGivesOneRunPerSegmentInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		s, d := adapted(t, l.Context(t.Context()), scripted.Options{Transcribe: level, Latency: 300 * time.Millisecond}, nil)
		c := collect(s)
		speak(t, s, time.Second, 0)
		speak(t, s, time.Second, 1000)
		speak(t, s, time.Second, 0)
		speak(t, s, time.Second, 2000)
		speak(t, s, time.Second, 0)
		c.end(t, s)
		want := []stt.EventKind{stt.StartOfSpeech, stt.EndOfSpeech, stt.Final, stt.StartOfSpeech, stt.EndOfSpeech, stt.Final}
		if got := kinds(c); !reflect.DeepEqual(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
		if got := c.texts(stt.Final); !reflect.DeepEqual(got, []string{"level 1000", "level 2000"}) {
			t.Errorf("finals %q", got)
		}
		if d.Ledger().Calls != 2 {
			t.Errorf("%d runs, want 2", d.Ledger().Calls)
		}
		events := modeltest.Events[*metrics.STT](&l)
		if len(events) != 2 || booked(&l) != d.Ledger().Audio {
			t.Errorf("%d events with %v, ledger %v", len(events), booked(&l), d.Ledger().Audio)
		}
		for _, e := range events {
			// 1 s of speech, 0.5 s before it, 0.55 s of silence that ended it, cut to windows
			if (e.AudioDuration - 2050*time.Millisecond).Abs() > 70*time.Millisecond {
				t.Errorf("a run got %v of audio", e.AudioDuration)
			}
		}
		e, _ := c.first(t, stt.Final)
		a := e.Alternatives[0]
		if (a.Start-500*time.Millisecond).Abs() > 70*time.Millisecond || (a.End-2*time.Second).Abs() > 70*time.Millisecond {
			t.Errorf("first final spans %v to %v", a.Start, a.End)
		}
		if n := len(modeltest.Events[*metrics.VAD](&l)); n < 5 {
			t.Errorf("%d VAD events, want one per second", n)
		}
	})
}

func TestAdapterHearsWhileItTranscribes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := lazy{scripted.NewBatch(&scripted.Options{Transcribe: level})}
		s := open(t, t.Context(), stt.Adapt(stt.New(d, nil), vad.New(vadscript.New(nil)), nil))
		c := collect(s)
		speak(t, s, time.Second, 1000)
		speak(t, s, 600*time.Millisecond, 0)
		speak(t, s, time.Second, 2000)
		speak(t, s, 5*time.Second, 0)
		c.end(t, s)
		if got := c.texts(stt.Final); !reflect.DeepEqual(got, []string{"level 1000", "level 2000"}) {
			t.Errorf("finals %q", got)
		}
		var second, firstFinal time.Time
		for i, e := range c.events {
			if e.Kind == stt.StartOfSpeech {
				second = c.at[i]
			}
			if e.Kind == stt.Final && firstFinal.IsZero() {
				firstFinal = c.at[i]
			}
		}
		if !second.Before(firstFinal) {
			t.Errorf("second start was told at %v, after the first final at %v", second, firstFinal)
		}
	})
}

// lazy takes 5 s for the first segment and nothing for others.
type lazy struct{ *scripted.Batch }

func (l lazy) Recognize(ctx context.Context, f audio.Frame, o stt.Options) (*stt.Result, error) {
	if level(f) == "level 1000" {
		time.Sleep(5 * time.Second)
	}
	return l.Batch.Recognize(ctx, f, o)
}

func TestAdapterSuppressesEmptyFinals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		s, _ := adapted(t, l.Context(t.Context()), scripted.Options{}, nil)
		c := collect(s)
		speak(t, s, time.Second, 1000)
		speak(t, s, time.Second, 0)
		c.end(t, s)
		if got := kinds(c); !reflect.DeepEqual(got, []stt.EventKind{stt.StartOfSpeech, stt.EndOfSpeech}) {
			t.Errorf("events %v", got)
		}
		if n := len(modeltest.Events[*metrics.STT](&l)); n != 1 {
			t.Errorf("%d usage events, want the run that was made", n)
		}
	})
}

func TestSpeculativeRunIsTheFinalAtTheEndOfSpeech(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		o := scripted.Options{Transcribe: level, Capabilities: speculative, Latency: 200 * time.Millisecond}
		s, d := adapted(t, l.Context(t.Context()), o, &stt.AdaptOptions{InterimInterval: -1})
		c := collect(s)
		speak(t, s, time.Second, 1000)
		speak(t, s, time.Second, 0)
		c.end(t, s)
		want := []stt.EventKind{stt.StartOfSpeech, stt.Preflight, stt.EndOfSpeech, stt.Final}
		if got := kinds(c); !reflect.DeepEqual(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
		_, end := c.first(t, stt.EndOfSpeech)
		_, final := c.first(t, stt.Final)
		_, pre := c.first(t, stt.Preflight)
		if !final.Equal(end) || !pre.Before(end) {
			t.Errorf("preflight %v before the end, final %v after it", end.Sub(pre), final.Sub(end))
		}
		if d.Ledger().Calls != 1 || len(modeltest.Events[*metrics.STT](&l)) != 1 {
			t.Errorf("%d runs, %d events, want one of each", d.Ledger().Calls, len(modeltest.Events[*metrics.STT](&l)))
		}
	})
}

func TestSpeculativeRunThatStillRunsIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := scripted.Options{Transcribe: level, Capabilities: speculative, Latency: 800 * time.Millisecond}
		s, d := adapted(t, t.Context(), o, &stt.AdaptOptions{InterimInterval: -1})
		c := collect(s)
		speak(t, s, time.Second, 1000)
		speak(t, s, 2*time.Second, 0)
		c.end(t, s)
		_, end := c.first(t, stt.EndOfSpeech)
		_, final := c.first(t, stt.Final)
		if d := final.Sub(end); d <= 0 || d > 400*time.Millisecond {
			t.Errorf("final came %v after the end, want the rest of the 0.8 s that began before", d)
		}
		if d.Ledger().Calls != 1 {
			t.Errorf("%d runs", d.Ledger().Calls)
		}
	})
}

func TestSpeculativeRunIsCancelledWhenSpeechResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		o := scripted.Options{Transcribe: growing, Capabilities: speculative, Latency: 400 * time.Millisecond}
		s, d := adapted(t, l.Context(t.Context()), o, &stt.AdaptOptions{InterimInterval: -1})
		c := collect(s)
		speak(t, s, time.Second, 1000)
		speak(t, s, 200*time.Millisecond, 0) // a pause that is too short to end
		speak(t, s, time.Second, 1000)
		speak(t, s, time.Second, 0)
		c.end(t, s)
		if got := c.texts(stt.Final); !reflect.DeepEqual(got, []string{"4 halves"}) {
			t.Errorf("finals %q", got)
		}
		led := d.Ledger()
		if led.Calls != 2 || led.Cancelled != 1 || led.Running != 0 {
			t.Errorf("ledger %+v, want one run of two cancelled", led)
		}
		if n := len(modeltest.Events[*metrics.STT](&l)); n != 1 || len(l.Errors()) != 0 {
			t.Errorf("%d usage events, error events %v", n, l.Errors())
		}
	})
}

func TestResumedSpeechAfterAPreflightIsHeardAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		o := scripted.Options{Transcribe: growing, Capabilities: speculative, Latency: 100 * time.Millisecond}
		s, d := adapted(t, l.Context(t.Context()), o, &stt.AdaptOptions{InterimInterval: -1})
		c := collect(s)
		speak(t, s, time.Second, 1000)
		speak(t, s, 400*time.Millisecond, 0)
		speak(t, s, time.Second, 1000)
		speak(t, s, time.Second, 0)
		c.end(t, s)
		if got := c.texts(stt.Preflight); !reflect.DeepEqual(got, []string{"2 halves", "4 halves"}) {
			t.Errorf("preflights %q", got)
		}
		if got := c.texts(stt.Final); !reflect.DeepEqual(got, []string{"4 halves"}) {
			t.Errorf("finals %q", got)
		}
		if d.Ledger().Calls != 2 || len(modeltest.Events[*metrics.STT](&l)) != 1 {
			t.Errorf("%d runs, %d booked", d.Ledger().Calls, len(modeltest.Events[*metrics.STT](&l)))
		}
	})
}

func TestVeryShortSpeechIsNotSpeculatedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := scripted.Options{Transcribe: level, Capabilities: speculative, Latency: 100 * time.Millisecond}
		s, d := adapted(t, t.Context(), o, nil)
		c := collect(s)
		speak(t, s, 140*time.Millisecond, 1000)
		speak(t, s, time.Second, 0)
		c.end(t, s)
		if len(c.texts(stt.Preflight)) != 0 || len(c.texts(stt.Final)) != 1 || d.Ledger().Calls != 1 {
			t.Errorf("events %v in %d runs", kinds(c), d.Ledger().Calls)
		}
	})
}

func TestSpeculativeRunThatFailsIsRepeatedProperly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		o := scripted.Options{Transcribe: level, Capabilities: speculative, Faults: []scripted.Fault{{Call: 0}, {Call: 1}}}
		s, _ := adapted(t, l.Context(t.Context()), o, &stt.AdaptOptions{InterimInterval: -1})
		c := collect(s)
		speak(t, s, time.Second, 1000)
		speak(t, s, 2*time.Second, 0)
		c.end(t, s)
		if got := c.texts(stt.Final); !reflect.DeepEqual(got, []string{"level 1000"}) {
			t.Errorf("finals %q", got)
		}
		if got := l.Recoverable(); !reflect.DeepEqual(got, []bool{true}) {
			t.Errorf("error events %v, want that of the proper run only", got)
		}
	})
}

func TestInterimsCarryOnlyChangedTextsAndAreFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		o := scripted.Options{Transcribe: growing, Capabilities: speculative, Latency: 50 * time.Millisecond}
		s, d := adapted(t, l.Context(t.Context()), o, nil)
		c := collect(s)
		speak(t, s, 3*time.Second, 1000)
		speak(t, s, time.Second, 0)
		c.end(t, s)
		got := c.texts(stt.Interim)
		if len(got) < 4 {
			t.Errorf("interims %q", got)
		}
		for i := 1; i < len(got); i++ {
			if got[i] == got[i-1] {
				t.Errorf("interims %q repeat a text", got)
			}
		}
		if n := len(modeltest.Events[*metrics.STT](&l)); n != 1 || d.Ledger().Calls < 5 {
			t.Errorf("%d of %d runs booked, want 1", n, d.Ledger().Calls)
		}
	})
}

func TestInterimsWaitFourTimesTheLastRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := scripted.Options{Transcribe: growing, Capabilities: speculative, Latency: 400 * time.Millisecond}
		s, d := adapted(t, t.Context(), o, nil)
		c := collect(s)
		speak(t, s, 6*time.Second, 1000)
		// runs at 0.5 s, then 0.4 s + 4 * 0.4 s apart: 2.5 s and 4.5 s
		if n := d.Ledger().Calls; n != 3 {
			t.Errorf("%d interim runs in 6 s, want 3", n)
		}
		speak(t, s, time.Second, 0)
		c.end(t, s)
	})
}

func TestSpeculativeRunCancelsAnInterim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := scripted.Options{Transcribe: growing, Capabilities: speculative, Latency: 300 * time.Millisecond}
		s, d := adapted(t, t.Context(), o, nil)
		c := collect(s)
		speak(t, s, 700*time.Millisecond, 1000) // an interim runs since 0.5 s
		speak(t, s, time.Second, 0)
		c.end(t, s)
		if led := d.Ledger(); led.Cancelled != 1 || led.Calls != 2 {
			t.Errorf("ledger %+v", led)
		}
		if len(c.texts(stt.Interim)) != 0 || len(c.texts(stt.Final)) != 1 {
			t.Errorf("interims %q, finals %q", c.texts(stt.Interim), c.texts(stt.Final))
		}
	})
}

func TestLongSpeechIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := scripted.Options{Transcribe: growing, Capabilities: speculative}
		s, _ := adapted(t, t.Context(), o, &stt.AdaptOptions{InterimInterval: -1})
		c := collect(s)
		speak(t, s, 10*time.Second, 1000)
		speak(t, s, 100*time.Millisecond, 0) // a breath, too short to end
		speak(t, s, 4*time.Second, 1000)
		if got := c.texts(stt.Final); !reflect.DeepEqual(got, []string{"20 halves"}) {
			t.Errorf("finals of the speech so far %q, want a cut at the breath", got)
		}
		speak(t, s, 18*time.Second, 1000)
		if got := len(c.texts(stt.Final)); got != 2 {
			t.Errorf("%d finals, want a hard cut after 20 s", got)
		}
		speak(t, s, time.Second, 0)
		c.end(t, s)
		if n := len(c.texts(stt.EndOfSpeech)); n != 1 {
			t.Errorf("%d ends of speech, want 1", n)
		}
	})
}

func TestFlushAndEndOfInputFinishTheSegment(t *testing.T) {
	for name, caps := range map[string]*stt.Capabilities{"plain": {SampleRate: rate}, "speculative": speculative} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := adapted(t, t.Context(), scripted.Options{Transcribe: level, Capabilities: caps}, &stt.AdaptOptions{InterimInterval: -1})
				c := collect(s)
				speak(t, s, time.Second, 1000)
				if err := s.Flush(); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if got := c.texts(stt.Final); !reflect.DeepEqual(got, []string{"level 1000"}) {
					t.Errorf("finals after the flush %q", got)
				}
				speak(t, s, time.Second, 2000)
				c.end(t, s)
				if got := c.texts(stt.Final); !reflect.DeepEqual(got, []string{"level 1000", "level 2000"}) {
					t.Errorf("finals %q", got)
				}
				e := c.events[len(c.events)-1]
				if a := e.Alternatives[0]; a.End != 2*time.Second || a.Start < 900*time.Millisecond {
					t.Errorf("last final spans %v to %v", a.Start, a.End)
				}
			})
		})
	}
}

func TestFailedSegmentEndsTheAdaptedStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		s, _ := adapted(t, l.Context(t.Context()), scripted.Options{Faults: []scripted.Fault{{Call: -1}}}, nil)
		c := collect(s)
		speak(t, s, time.Second, 1000)
		speak(t, s, time.Second, 0)
		<-c.done
		if c.err == nil || errors.Is(c.err, stt.ErrClosed) {
			t.Errorf("stream ended with %v", c.err)
		}
		if got := l.Recoverable(); !reflect.DeepEqual(got, []bool{true, true, true, false}) {
			t.Errorf("error events %v: each attempt is told once", got)
		}
		_ = s.Close()
	})
}

func TestCloseCancelsRunsAndLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.NewBatch(&scripted.Options{Latency: time.Hour})
		v := vadscript.New(nil)
		s := open(t, l.Context(t.Context()), stt.Adapt(stt.New(d, nil), vad.New(v), nil))
		speak(t, s, time.Second, 1000)
		speak(t, s, time.Second, 0)
		if d.Ledger().Running != 1 {
			t.Fatalf("ledger %+v", d.Ledger())
		}
		_ = s.Close()
		synctest.Wait()
		if led := d.Ledger(); led.Running != 0 || led.Cancelled != 1 || v.Ledger().Open != 0 {
			t.Errorf("ledger %+v, %d detectors open", led, v.Ledger().Open)
		}
		if n := len(modeltest.Events[*metrics.STT](&l)); n != 0 || len(l.Errors()) != 0 {
			t.Errorf("%d usage events, error events %v", n, l.Errors())
		}
	})
}

func TestAdaptedModelRecognizesLikeItsModel(t *testing.T) {
	var l modeltest.Log
	m := stt.Adapt(stt.New(scripted.NewBatch(&scripted.Options{Texts: []string{"whole"}}), nil), vad.New(vadscript.New(nil)), nil)
	r, err := m.Recognize(l.Context(t.Context()), sound(time.Second, 1000), nil)
	if err != nil || r.Text != "whole" || len(modeltest.Events[*metrics.STT](&l)) != 1 {
		t.Errorf("result %+v, error %v, %d events", r, err, len(modeltest.Events[*metrics.STT](&l)))
	}
	streaming := stt.New(scripted.New(nil), nil)
	if stt.Adapt(streaming, nil, nil) != streaming {
		t.Error("a streaming model was wrapped")
	}
}
