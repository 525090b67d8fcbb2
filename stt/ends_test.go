package stt_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/stt/scripted"
	"github.com/parley-go/parley/vad"
	vadscript "github.com/parley-go/parley/vad/scripted"
)

// gathering hands audio on in messages of 150 ms, the last of a stretch padded with silence.
type gathering struct{ *scripted.STT }

func (g gathering) Open(ctx context.Context, o driver.Options) (driver.Stream, error) {
	s, err := g.STT.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return &gathered{Stream: s}, nil
}

type gathered struct {
	driver.Stream
	rate int
	buf  []int16
	sent atomic.Int64 // samples
}

func (g *gathered) Push(ctx context.Context, f audio.Frame) error {
	g.rate = f.Rate
	g.buf = append(g.buf, f.Data...)
	for n := audio.SamplesIn(150*time.Millisecond, f.Rate); len(g.buf) >= n; g.buf = g.buf[n:] {
		if err := g.Stream.Push(ctx, audio.Frame{Data: g.buf[:n], Rate: f.Rate, Channels: 1}); err != nil {
			return err
		}
		g.sent.Add(int64(n))
	}
	return nil
}

func (g *gathered) rest(ctx context.Context) error {
	if len(g.buf) == 0 {
		return nil
	}
	return g.Push(ctx, audio.Silence(150*time.Millisecond-audio.Samples(len(g.buf)).At(g.rate), g.rate, 1))
}

func (g *gathered) Flush(ctx context.Context) error {
	if err := g.rest(ctx); err != nil {
		return err
	}
	return g.Stream.Flush(ctx)
}

func (g *gathered) CloseSend(ctx context.Context) error {
	if err := g.rest(ctx); err != nil {
		return err
	}
	return g.Stream.CloseSend(ctx)
}

func (g *gathered) Sent() time.Duration { return audio.Samples(g.sent.Load()).At(16000) }

// However a stream ends, what each of its recognisers was sent is booked once, whether they state it often,
// in the end or never, and whether it is sent at once or gathered.
func TestEveryEndBooksWhatWasSent(t *testing.T) {
	type stage struct {
		s      *stt.Stream
		c      *collected
		cancel context.CancelFunc
	}
	finish := func(t *testing.T, x stage) { x.c.end(t, x.s) }
	wait := func(_ *testing.T, x stage) { <-x.c.done; _ = x.s.Close() }
	for name, c := range map[string]struct {
		first, second []scripted.Fault // of two recognisers in a fallback; nil second: one alone
		end           func(t *testing.T, x stage)
	}{
		"end of input":      {nil, nil, finish},
		"close":             {nil, nil, func(_ *testing.T, x stage) { _ = x.s.Close() }},
		"close twice":       {nil, nil, func(_ *testing.T, x stage) { _ = x.s.Close(); _ = x.s.Close() }},
		"end of context":    {nil, nil, func(_ *testing.T, x stage) { x.cancel() }},
		"close after input": {nil, nil, func(t *testing.T, x stage) { _ = x.s.EndInput(); _ = x.s.Close() }},
		"reconnect":         {[]scripted.Fault{{Call: 0, After: 1100 * time.Millisecond}}, nil, finish},
		"reconnect and close": {[]scripted.Fault{{Call: 0, After: 1100 * time.Millisecond, Kind: scripted.Hangup}}, nil,
			func(_ *testing.T, x stage) { _ = x.s.Close() }},
		"panic":             {[]scripted.Fault{{Call: 0, After: 1100 * time.Millisecond, Kind: scripted.Panic}}, nil, wait},
		"stall":             {[]scripted.Fault{{Call: 0, After: 1100 * time.Millisecond, Kind: scripted.Stall}}, nil, func(_ *testing.T, x stage) { _ = x.s.Close() }},
		"failure for good":  {[]scripted.Fault{{Call: 0, After: 1100 * time.Millisecond, Err: &model.Error{Kind: model.KindStatus, Status: 401}}}, nil, wait},
		"fallback":          {[]scripted.Fault{{Call: -1, After: 1100 * time.Millisecond}}, []scripted.Fault{{Call: 99}}, finish},
		"fallback and fail": {[]scripted.Fault{{Call: -1, After: 1100 * time.Millisecond}}, []scripted.Fault{{Call: -1, After: 500 * time.Millisecond}}, wait},
	} {
		for when, every := range map[string]time.Duration{"often": 300 * time.Millisecond, "at the end": time.Hour, "never": 0, "never, gathered": -1} {
			t.Run(name+", stated "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var l modeltest.Log
					ctx, cancel := context.WithCancel(l.Context(t.Context()))
					defer cancel()
					a := scripted.New(brand("a", scripted.Options{UsageEvery: max(0, every), Faults: c.first}))
					b := scripted.New(brand("b", scripted.Options{UsageEvery: max(0, every), Faults: c.second}))
					m := stt.New(a, nil)
					if every < 0 {
						m = stt.New(gathering{a}, nil)
					}
					if c.second != nil {
						m = stt.Fallback(nil, m, stt.New(b, nil))
					}
					s := open(t, ctx, m)
					x := stage{s, collect(s), cancel}
					f := sound(20*time.Millisecond, 0)
					for i := range 150 { // 3 s
						_ = s.Push(f)
						time.Sleep(20 * time.Millisecond)
						if i == 32 {
							_ = s.Flush()
						}
					}
					c.end(t, x)
					<-x.c.done
					synctest.Wait()
					for label, d := range map[string]*scripted.STT{"a": a, "b": b} {
						got := spent(&l, label+".STT", metrics.Delivered) + spent(&l, label+".STT", metrics.Discarded) + spent(&l, label+".STT", "")
						if want := d.Ledger().Audio; got != want || label == "a" && want == 0 {
							t.Errorf("%s was sent %v, and %v was booked", label, want, got)
						}
					}
					n := booked(&l)
					_ = s.Close()
					time.Sleep(time.Minute)
					if got := booked(&l); got != n {
						t.Errorf("%v was booked after the end", got-n)
					}
				})
			})
		}
	}
}

// stubborn takes 5 s for the first segment, also when nobody wants it any more.
type stubborn struct{ lazy }

func (s stubborn) Recognize(ctx context.Context, f audio.Frame, o stt.Options) (*stt.Result, error) {
	return s.lazy.Recognize(context.WithoutCancel(ctx), f, o)
}

// A whole utterance that was transcribed when its stream was already closed was paid for.
func TestTranscriptThatCameTooLateIsBooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := stubborn{lazy{scripted.NewBatch(&scripted.Options{Transcribe: level})}}
		s := open(t, l.Context(t.Context()), stt.Adapt(stt.New(d, nil), vad.New(vadscript.New(nil)), nil))
		c := collect(s)
		speak(t, s, time.Second, 1000) // takes 5 s
		speak(t, s, 600*time.Millisecond, 0)
		speak(t, s, time.Second, 2000) // done, but waits for the one before
		speak(t, s, time.Second, 0)
		_ = s.Close()
		<-c.done
		time.Sleep(10 * time.Second)
		if !errors.Is(c.err, stt.ErrClosed) || len(c.texts(stt.Final)) != 0 {
			t.Errorf("%v, finals %q", c.err, c.texts(stt.Final))
		}
		if n := len(modeltest.Events[*metrics.STT](&l)); n != 2 {
			t.Errorf("%d events", n)
		}
		for _, e := range modeltest.Events[*metrics.STT](&l) {
			if e.Outcome != metrics.Discarded {
				t.Errorf("event %+v", e)
			}
		}
		if got, want := booked(&l), d.Ledger().Audio; got != want || want == 0 {
			t.Errorf("booked %v, the provider served %v", got, want)
		}
	})
}

func TestWordsOfTheProviderAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		s := open(t, l.Context(t.Context()), stt.New(scripted.New(&scripted.Options{UsageEvery: time.Hour}), nil))
		c := collect(s)
		speak(t, s, 6*time.Second, 0) // of which 5 s are booked before they are stated
		c.end(t, s)
		all := modeltest.Events[*metrics.STT](&l)
		if e := all[len(all)-1]; len(all) != 2 || e.Source != metrics.FromProvider || e.AudioDuration != time.Second || e.Raw != `{"duration_ms":6000}` {
			t.Errorf("events %+v", all)
		}
		m := stt.New(scripted.NewBatch(&scripted.Options{States: true}), nil)
		if _, err := m.Recognize(l.Context(t.Context()), sound(time.Second, 0), nil); err != nil {
			t.Fatal(err)
		}
		all = modeltest.Events[*metrics.STT](&l)
		if e := all[len(all)-1]; e.Streamed || e.Raw != `{"duration_ms":1000}` {
			t.Errorf("event %+v", e)
		}
	})
}
