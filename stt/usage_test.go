package stt_test

import (
	"context"
	"maps"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/stt/scripted"
)

// booked sums what was booked.
func booked(l *modeltest.Log) (d time.Duration) {
	for _, e := range modeltest.Events[*metrics.STT](l) {
		d += e.AudioDuration
	}
	return d
}

func TestStatementsOfTheProviderReplaceWhatWasMeasured(t *testing.T) {
	for name, every := range map[string]time.Duration{"often": time.Second, "at the end": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l modeltest.Log
				d := scripted.New(&scripted.Options{UsageEvery: every})
				s := open(t, l.Context(t.Context()), stt.New(d, nil))
				c := collect(s)
				speak(t, s, 12500*time.Millisecond, 0)
				c.end(t, s)
				if got := booked(&l); got != 12500*time.Millisecond || d.Ledger().Stated != got {
					t.Errorf("booked %v, provider stated %v", got, d.Ledger().Stated)
				}
				if len(c.events) != 0 {
					t.Errorf("usage reached the reader: %v", c.events)
				}
			})
		})
	}
}

// TestAudioIsBookedToWhomItWasSentFor: the tags of the stream's context change while it runs.
func TestAudioIsBookedToWhomItWasSentFor(t *testing.T) {
	for name, every := range map[string]time.Duration{"measured": 0, "stated often": 700 * time.Millisecond, "stated at the end": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l modeltest.Log
				var live metrics.LiveTags
				live.Set(metrics.Tags{AgentID: "kelly"})
				ctx := metrics.WithLiveTags(metrics.WithTags(l.Context(t.Context()), metrics.Tags{SessionID: "s"}), &live)
				d := scripted.New(&scripted.Options{UsageEvery: every})
				s := open(t, ctx, stt.New(d, nil))
				c := collect(s)
				want := map[metrics.Tags]time.Duration{}
				for _, part := range []struct {
					tags metrics.Tags
					d    time.Duration
				}{
					{metrics.Tags{AgentID: "kelly"}, 3300 * time.Millisecond},
					{metrics.Tags{AgentID: "kelly", Task: "email", TurnID: "t1"}, 500 * time.Millisecond},
					{metrics.Tags{AgentID: "bob"}, 9200 * time.Millisecond},
					{metrics.Tags{AgentID: "kelly"}, time.Second},
				} {
					live.Set(part.tags)
					speak(t, s, part.d, 0)
					part.tags.SessionID = "s"
					want[part.tags] += part.d
				}
				c.end(t, s)
				got := map[metrics.Tags]time.Duration{}
				for _, e := range modeltest.Events[*metrics.STT](&l) {
					if e.AudioDuration > 0 {
						got[e.Tags] += e.AudioDuration
					}
				}
				if !maps.Equal(got, want) {
					t.Errorf("booked %v, want %v", got, want)
				}
			})
		})
	}
}

func TestTailUsageIsBookedBeforeCloseReturns(t *testing.T) {
	for name, every := range map[string]time.Duration{"nothing stated": 0, "stated until 2s": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l modeltest.Log
				s := open(t, l.Context(t.Context()), stt.New(scripted.New(&scripted.Options{UsageEvery: every}), nil))
				speak(t, s, 2600*time.Millisecond, 0)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if got := booked(&l); got != 2600*time.Millisecond {
					t.Errorf("booked %v when Close returned, want 2.6s", got)
				}
				_ = s.Close()
				if got := booked(&l); got != 2600*time.Millisecond {
					t.Errorf("second Close booked: %v", got)
				}
			})
		})
	}
}

// A driver may book when it is closed, as that of Adapt does.
func TestCloseWaitsForTheDriver(t *testing.T) {
	for name, cancelled := range map[string]bool{"closed": false, "cancelled": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &slowToClose{STT: scripted.New(nil)}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s := open(t, ctx, stt.New(d, nil))
				speak(t, s, time.Second, 0)
				if cancelled {
					cancel()
				}
				_ = s.Close()
				if !d.closed.Load() {
					t.Error("the driver's stream is not closed yet")
				}
			})
		})
	}
}

type slowToClose struct {
	*scripted.STT
	closed atomic.Bool
}

func (d *slowToClose) Open(ctx context.Context, o driver.Options) (driver.Stream, error) {
	s, err := d.STT.Open(ctx, o)
	return slowStream{s, d}, err
}

type slowStream struct {
	driver.Stream
	d *slowToClose
}

func (s slowStream) Close() error {
	time.Sleep(100 * time.Millisecond)
	s.d.closed.Store(true)
	return s.Stream.Close()
}

func TestAcquisitionIsOneEventPerConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.New(&scripted.Options{
			Acquire: &scripted.Acquire{Took: 30 * time.Millisecond, Reused: true},
			Faults:  []scripted.Fault{{Call: 0, After: time.Second}},
		})
		s := open(t, l.Context(t.Context()), stt.New(d, nil))
		c := collect(s)
		speak(t, s, 3*time.Second, 0)
		c.end(t, s)
		n := 0
		for _, e := range modeltest.Events[*metrics.STT](&l) {
			if e.Acquired {
				n++
				if e.AcquireTime != 30*time.Millisecond || !e.ConnectionReused || e.AudioDuration != 0 || e.RequestID != "" || !e.Streamed {
					t.Errorf("event is %+v", e)
				}
			} else if e.AcquireTime != 0 || e.ConnectionReused {
				t.Errorf("usage repeats the acquisition: %+v", e)
			}
		}
		if n != 2 {
			t.Errorf("%d acquisitions told, want 2", n)
		}
	})
}

func TestPushAllocatesNothing(t *testing.T) {
	d := scripted.New(&scripted.Options{Faults: []scripted.Fault{{Kind: scripted.Stall}}})
	s := open(t, t.Context(), stt.New(d, nil))
	defer s.Close()
	f := sound(20*time.Millisecond, 0)
	for range 1600 { // until the backlog has its full size
		if err := s.Push(f); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _ = s.Push(f) }); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

func BenchmarkPush(b *testing.B) {
	d := scripted.New(&scripted.Options{Faults: []scripted.Fault{{Kind: scripted.Stall}}})
	s, err := stt.New(d, nil).Stream(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	f := sound(20*time.Millisecond, 0)
	b.ReportAllocs()
	for b.Loop() {
		_ = s.Push(f)
	}
}

func TestProviderThatBillsOnlySpeechIsBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		said := func(at, d time.Duration) scripted.Line {
			return scripted.Line{At: at, Event: stt.Event{Kind: stt.Usage, Usage: stt.UsageReport{AudioDuration: d}}}
		}
		d := scripted.New(&scripted.Options{Streams: [][]scripted.Line{{
			said(2*time.Second, time.Second), said(4*time.Second, 500*time.Millisecond), said(20*time.Second, 2*time.Second),
		}}})
		s := open(t, l.Context(t.Context()), stt.New(d, nil))
		c := collect(s)
		speak(t, s, 20*time.Second, 0)
		c.end(t, s)
		if got := booked(&l); got != 3500*time.Millisecond {
			t.Errorf("booked %v, provider stated 3.5s", got)
		}
	})
}
