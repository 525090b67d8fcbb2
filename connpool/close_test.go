package connpool

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestCloseWaitsForLeases(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world, p *Pool[*fake]) {
		used, spare := acquire(t, p), acquire(t, p)
		spare.Release()
		closed := make(chan error, 1)
		go func() { closed <- p.Close(t.Context()) }()
		synctest.Wait()
		if spare.Conn().closes.Load() != 1 || used.Conn().closes.Load() != 0 {
			t.Errorf("idle was closed %d times, used %d times", spare.Conn().closes.Load(), used.Conn().closes.Load())
		}
		if _, err := p.Acquire(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Acquire: %v", err)
		}
		select {
		case err := <-closed:
			t.Fatalf("Close did not wait: %v", err)
		default:
		}
		used.Release()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if st := p.Stats(); st.Open != 0 || st.Closed.Closed != 2 {
			t.Errorf("%+v", st)
		}
	})
}

func TestCloseForcesWhenItsContextEnds(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *world, p *Pool[*fake]) {
		l := acquire(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), s)
		defer cancel()
		begun := time.Now()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != s {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		synctest.Wait()
		if l.Conn().closes.Load() != 1 {
			t.Error("the used one was not closed")
		}
		l.Release() // late, and nothing happens
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestCloseEndsDialsAndWaits(t *testing.T) {
	bubble(t, func(w *world, o *Options[*fake]) { w.next.delay, o.MaxOpen = 5*s, 1 }, func(t *testing.T, _ *world, p *Pool[*fake]) {
		dials := start(t.Context(), p)
		waits := start(t.Context(), p)
		begun := time.Now()
		if err := p.Close(t.Context()); err != nil || time.Since(begun) != 0 {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		for _, ch := range []<-chan result{dials, waits} {
			if r := <-ch; !errors.Is(r.err, ErrClosed) {
				t.Errorf("Acquire: %v", r.err)
			}
		}
	})
}

func TestCloseWaitsForADeafDial(t *testing.T) {
	bubble(t, func(w *world, o *Options[*fake]) { w.next = behaviour{delay: 5 * s, deaf: true} }, func(t *testing.T, w *world, p *Pool[*fake]) {
		p.Prewarm()
		synctest.Wait()
		begun := time.Now()
		if err := p.Close(t.Context()); err != nil || time.Since(begun) != 5*s {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if w.all()[0].closes.Load() != 1 {
			t.Error("what the dial gave was not closed")
		}
	})
}

func TestClosedPoolIgnoresInvalidate(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *world, p *Pool[*fake]) {
		l := acquire(t, p)
		p.shut()
		p.Invalidate()
		l.Release()
		if got := p.Stats().Closed; got != (ClosedStats{Closed: 1}) {
			t.Errorf("%+v", got)
		}
	})
}
