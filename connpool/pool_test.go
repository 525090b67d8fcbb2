package connpool

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestFirstDialsThenReuses(t *testing.T) {
	bubble(t, func(w *world, _ *Options[*fake]) { w.next.delay = 2 * s }, func(t *testing.T, _ *world, p *Pool[*fake]) {
		l := acquire(t, p)
		wantFacts(t, l, Facts{AcquireTime: 2 * s, DialTime: 2 * s})
		time.Sleep(3 * s)
		l.Release()
		time.Sleep(4 * s)
		again := acquire(t, p)
		wantFacts(t, again, Facts{Reused: true, Age: 7 * s})
		if again.Conn() != l.Conn() {
			t.Error("not the same connection")
		}
		again.Release()
	})
}

// The defect of pools that keep the times of "the last get": here a slow dial and others overlap.
func TestFactsBelongToTheLease(t *testing.T) {
	bubble(t, func(w *world, _ *Options[*fake]) {
		w.script = []behaviour{{delay: 5 * s}, {delay: 1 * s}}
	}, func(t *testing.T, _ *world, p *Pool[*fake]) {
		a := start(t.Context(), p) // its dial takes 5 s
		time.Sleep(2 * s)
		b := start(t.Context(), p) // its dial takes 1 s, and A was first in line
		first := (<-a).must(t)
		wantFacts(t, first, Facts{AcquireTime: 3 * s, WaitTime: 2 * s, DialTime: 1 * s})
		time.Sleep(1 * s)
		first.Release() // B is waiting for the slow dial and gets this one, used before
		second := (<-b).must(t)
		wantFacts(t, second, Facts{Reused: true, AcquireTime: 2 * s, WaitTime: 2 * s, Age: 1 * s})
		time.Sleep(1 * s) // the slow dial ends and nobody needs it
		synctest.Wait()
		hit := acquire(t, p)
		wantFacts(t, hit, Facts{Reused: true})
		wantFacts(t, first, Facts{AcquireTime: 3 * s, WaitTime: 2 * s, DialTime: 1 * s})
		hit.Release()
		second.Release()
	})
}

func TestMostRecentlyUsedFirst(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *world, p *Pool[*fake]) {
		a, b, c := acquire(t, p), acquire(t, p), acquire(t, p)
		b.Release()
		a.Release()
		c.Release()
		for i, want := range []*fake{c.Conn(), a.Conn(), b.Conn()} {
			l := acquire(t, p)
			if l.Conn() != want {
				t.Errorf("place %d: connection %d, want %d", i, l.Conn().id, want.id)
			}
			defer l.Release()
		}
	})
}

func TestDialsInParallel(t *testing.T) {
	bubble(t, func(w *world, _ *Options[*fake]) { w.next.delay = s }, func(t *testing.T, w *world, p *Pool[*fake]) {
		var all []<-chan result
		for range 10 {
			all = append(all, start(t.Context(), p))
		}
		for _, ch := range all {
			r := <-ch
			r.must(t).Release()
			if r.after != s {
				t.Errorf("took %v", r.after)
			}
		}
		if w.dials.Load() != 10 {
			t.Errorf("%d dials", w.dials.Load())
		}
	})
}

func TestReleaseTwiceIsNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *world, p *Pool[*fake]) {
		a := acquire(t, p)
		a.Release()
		b := acquire(t, p)
		a.Release()
		a.Discard() // b has the connection now
		c := acquire(t, p)
		if c.Conn() == b.Conn() {
			t.Fatal("one connection for two")
		}
		if st := p.Stats(); st.InUse != 2 || st.Closed.Discarded != 0 {
			t.Errorf("%+v", st)
		}
		b.Release()
		c.Release()
	})
}

func TestDiscardClosesInTheBackground(t *testing.T) {
	bubble(t, func(w *world, _ *Options[*fake]) { w.closeDelay = 30 * s }, func(t *testing.T, _ *world, p *Pool[*fake]) {
		a := acquire(t, p)
		begun := time.Now()
		a.Discard()
		b := acquire(t, p)
		if time.Since(begun) != 0 {
			t.Errorf("a polite close held up a request for %v", time.Since(begun))
		}
		if b.Conn() == a.Conn() {
			t.Error("a discarded connection was handed out")
		}
		b.Release()
	})
}

func TestInvalidateDuringDial(t *testing.T) {
	bubble(t, func(w *world, _ *Options[*fake]) {
		w.script = []behaviour{{delay: 5 * s, deaf: true}, {delay: 3 * s}}
	}, func(t *testing.T, w *world, p *Pool[*fake]) {
		a := start(t.Context(), p)
		time.Sleep(1 * s)
		w.generation.Add(1)
		p.Invalidate()
		l := (<-a).must(t)
		wantFacts(t, l, Facts{AcquireTime: 4 * s, WaitTime: 1 * s, DialTime: 3 * s})
		if l.Conn().generation != 1 {
			t.Error("got a connection of before")
		}
		time.Sleep(1 * s) // the deaf dial ends
		synctest.Wait()
		if st := p.Stats(); st.Closed.Invalidated != 1 || st.Open != 1 || st.DialFailures != 0 {
			t.Errorf("%+v", st)
		}
		l.Release()
	})
}

func TestInvalidateDuringLease(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *world, p *Pool[*fake]) {
		used, spare := acquire(t, p), acquire(t, p)
		spare.Release()
		p.Invalidate()
		synctest.Wait()
		if spare.Conn().closes.Load() != 1 || used.Conn().closes.Load() != 0 {
			t.Errorf("idle was closed %d times, used %d times", spare.Conn().closes.Load(), used.Conn().closes.Load())
		}
		used.Release()
		synctest.Wait()
		if used.Conn().closes.Load() != 1 {
			t.Error("the used one was not closed when released")
		}
		if got := p.Stats().Closed.Invalidated; got != 2 {
			t.Errorf("%d invalidated", got)
		}
	})
}

func TestExpireWhileLeased(t *testing.T) {
	bubble(t, func(_ *world, o *Options[*fake]) { o.MaxAge = 10 * s }, func(t *testing.T, _ *world, p *Pool[*fake]) {
		l := acquire(t, p)
		time.Sleep(10*s + 1)
		if l.Conn().closes.Load() != 0 {
			t.Error("closed in use")
		}
		l.Release()
		synctest.Wait()
		if st := p.Stats(); l.Conn().closes.Load() != 1 || st.Closed.Lifetime != 1 {
			t.Errorf("closed %d times, %+v", l.Conn().closes.Load(), st)
		}
	})
}

func TestLimitsAreStillGood(t *testing.T) {
	for name, set := range map[string]func(*Options[*fake]){
		"age":  func(o *Options[*fake]) { o.MaxAge = 10 * s },
		"idle": func(o *Options[*fake]) { o.MaxIdle = 10 * s },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(_ *world, o *Options[*fake]) { set(o) }, func(t *testing.T, _ *world, p *Pool[*fake]) {
				acquire(t, p).Release()
				time.Sleep(10 * s)
				l := acquire(t, p)
				wantFacts(t, l, Facts{Reused: true, Age: 10 * s})
				l.Discard()
			})
		})
	}
}

func TestIdleAndLifetimeAreTwoLimits(t *testing.T) {
	bubble(t, func(_ *world, o *Options[*fake]) { o.MaxIdle, o.MaxAge = 10*s, 25*s }, func(t *testing.T, _ *world, p *Pool[*fake]) {
		for range 3 { // use keeps it from being idle too long
			acquire(t, p).Release()
			time.Sleep(8 * s)
		}
		if st := p.Stats(); st.Dials != 1 || st.Idle != 1 {
			t.Fatalf("%+v", st)
		}
		time.Sleep(1*s + 1) // but not from growing old
		synctest.Wait()
		if st := p.Stats(); st.Idle != 0 || st.Closed != (ClosedStats{Lifetime: 1}) {
			t.Errorf("%+v", st)
		}
	})
}

// Nobody calls the pool, and yet the sockets of a burst are closed.
func TestIdleConnectionsAreClosedWithoutARequest(t *testing.T) {
	bubble(t, func(_ *world, o *Options[*fake]) { o.MaxIdle = 10 * s }, func(t *testing.T, w *world, p *Pool[*fake]) {
		a, b := acquire(t, p), acquire(t, p)
		a.Release()
		time.Sleep(4 * s)
		b.Release()
		time.Sleep(6*s + 1)
		synctest.Wait()
		if a.Conn().closes.Load() != 1 || b.Conn().closes.Load() != 0 {
			t.Errorf("after 10 s: closed %d and %d times", a.Conn().closes.Load(), b.Conn().closes.Load())
		}
		time.Sleep(4 * s)
		synctest.Wait()
		if st := p.Stats(); b.Conn().closes.Load() != 1 || st.Open != 0 || st.Closed.Idle != 2 {
			t.Errorf("after 14 s: %+v", st)
		}
		acquire(t, p).Release() // the timer works again
		time.Sleep(10*s + 1)
		synctest.Wait()
		if w.existing.Load() != 0 {
			t.Error("the third was not closed")
		}
	})
}

func TestKeepIdleClosesTheOldest(t *testing.T) {
	bubble(t, func(_ *world, o *Options[*fake]) { o.KeepIdle = 1 }, func(t *testing.T, _ *world, p *Pool[*fake]) {
		a, b := acquire(t, p), acquire(t, p)
		a.Release()
		b.Release()
		synctest.Wait()
		if st := p.Stats(); a.Conn().closes.Load() != 1 || st.Idle != 1 || st.Closed.Full != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestCancelledAcquireLeavesItsDial(t *testing.T) {
	bubble(t, func(w *world, _ *Options[*fake]) { w.next.delay = 3 * s }, func(t *testing.T, w *world, p *Pool[*fake]) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(s, cancel)
		r := <-start(ctx, p)
		if !errors.Is(r.err, context.Canceled) || r.after != s {
			t.Fatalf("%v after %v", r.err, r.after)
		}
		time.Sleep(2 * s)
		synctest.Wait()
		l := acquire(t, p)
		wantFacts(t, l, Facts{Reused: true})
		if w.dials.Load() != 1 {
			t.Errorf("%d dials", w.dials.Load())
		}
		l.Release()
	})
}

// A dial that took all the time somebody had leads nowhere, whether a deadline or a watchdog says so: the
// next one gets a dial of its own.
func TestLateAcquireGivesUpItsDial(t *testing.T) {
	ends := map[string]func(context.Context) (context.Context, context.CancelFunc){
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, s) },
		"watchdog": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(s, func() { cancel(errors.New("no answer")) })
			return ctx, func() { cancel(nil) }
		},
	}
	for name, end := range ends {
		bubble(t, func(w *world, _ *Options[*fake]) { w.next.delay = 3 * s }, func(t *testing.T, w *world, p *Pool[*fake]) {
			ctx, cancel := end(t.Context())
			defer cancel()
			if r := <-start(ctx, p); !errors.Is(r.err, ctx.Err()) || r.after != s {
				t.Fatalf("%s: %v after %v", name, r.err, r.after)
			}
			w.next.delay = 0
			l := acquire(t, p)
			wantFacts(t, l, Facts{})
			if w.dials.Load() != 2 {
				t.Errorf("%s: %d dials", name, w.dials.Load())
			}
			l.Release()
		})
	}
}

func TestEndedContextGetsNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world, p *Pool[*fake]) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if l, err := p.Acquire(ctx); !errors.Is(err, context.Canceled) || w.dials.Load() != 0 {
			t.Errorf("got %v, %v after %d dials", l, err, w.dials.Load())
		}
	})
}

func TestMaxOpenWaitsInLine(t *testing.T) {
	bubble(t, func(_ *world, o *Options[*fake]) { o.MaxOpen = 1 }, func(t *testing.T, w *world, p *Pool[*fake]) {
		held := acquire(t, p)
		a := start(t.Context(), p)
		ctx, cancel := context.WithTimeout(t.Context(), s)
		defer cancel()
		b := start(ctx, p)
		c := start(t.Context(), p)
		if st := p.Stats(); st.Waiting != 3 || st.Open != 1 {
			t.Fatalf("%+v", st)
		}
		time.Sleep(2 * s)
		if r := <-b; !errors.Is(r.err, context.DeadlineExceeded) || r.after != s {
			t.Errorf("%v after %v", r.err, r.after)
		}
		held.Release()
		first := (<-a).must(t)
		wantFacts(t, first, Facts{Reused: true, AcquireTime: 2 * s, WaitTime: 2 * s, Age: 2 * s})
		select {
		case <-c:
			t.Fatal("two users of one place")
		default:
		}
		time.Sleep(s)
		first.Release()
		(<-c).must(t).Release()
		if st := p.Stats(); w.dials.Load() != 1 || st.Waits != 3 || st.WaitTime != 6*s || st.Reuses != 2 {
			t.Errorf("%d dials, %+v", w.dials.Load(), st)
		}
	})
}

func TestAPlaceIsFreeWhenTheCloseEnds(t *testing.T) {
	bubble(t, func(w *world, o *Options[*fake]) { o.MaxOpen, w.closeDelay = 1, 2*s }, func(t *testing.T, w *world, p *Pool[*fake]) {
		acquire(t, p).Discard()
		l := acquire(t, p)
		wantFacts(t, l, Facts{AcquireTime: 2 * s, WaitTime: 2 * s})
		if w.most.Load() != 1 {
			t.Errorf("%d connections at a time", w.most.Load())
		}
		l.Release()
	})
}

func TestStats(t *testing.T) {
	bubble(t, func(w *world, _ *Options[*fake]) { w.closeDelay = s }, func(t *testing.T, w *world, p *Pool[*fake]) {
		a, b, c := acquire(t, p), acquire(t, p), acquire(t, p)
		b.Release()
		c.Discard()
		w.next = behaviour{delay: s, err: errRefused}
		acquire(t, p).Release()
		l2 := acquire(t, p)
		waits := start(t.Context(), p)
		want := Stats{Open: 4, InUse: 2, Dialing: 1, Closing: 1, Waiting: 1, Dials: 4, Reuses: 2,
			Closed: ClosedStats{Discarded: 1}}
		if got := p.Stats(); got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if r := <-waits; r.err == nil {
			t.Error("want an error")
		}
		a.Release()
		l2.Release()
		synctest.Wait()
		want = Stats{Open: 2, Idle: 2, Dials: 4, DialFailures: 1, Reuses: 2, Closed: ClosedStats{Discarded: 1}}
		if got := p.Stats(); got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
}

// A call that gives up in the moment it is served must not keep what it got.
func TestGrantToWhoGaveUpIsGivenBack(t *testing.T) {
	bubble(t, func(_ *world, o *Options[*fake]) { o.MaxOpen = 1 }, func(t *testing.T, _ *world, p *Pool[*fake]) {
		for range 50 {
			held := acquire(t, p)
			ctx, cancel := context.WithCancel(t.Context())
			ch := start(ctx, p)
			cancel() // the call is still in line
			held.Release()
			if r := <-ch; r.err == nil {
				r.lease.Release()
			} else if !errors.Is(r.err, context.Canceled) {
				t.Fatal(r.err)
			}
			synctest.Wait()
			if st := p.Stats(); st.InUse != 0 || st.Idle != 1 {
				t.Fatalf("%+v", st)
			}
		}
	})
}

func TestTimerIsSetForwardForAnOlderConnection(t *testing.T) {
	bubble(t, func(_ *world, o *Options[*fake]) { o.MaxIdle, o.MaxAge = 10*s, 12*s }, func(t *testing.T, _ *world, p *Pool[*fake]) {
		old := acquire(t, p)
		time.Sleep(8 * s)
		acquire(t, p).Release() // expires at 18 s
		time.Sleep(1 * s)
		old.Release() // expires at 12 s
		time.Sleep(3*s + 1)
		synctest.Wait()
		if st := p.Stats(); old.Conn().closes.Load() != 1 || st.Idle != 1 {
			t.Errorf("closed %d times, %+v", old.Conn().closes.Load(), st)
		}
	})
}
