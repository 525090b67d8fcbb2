package connpool

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// play runs the orders of a byte string against a pool, in a bubble, and checks after each what
// must always hold.
type play struct {
	t     *testing.T
	w     *world
	p     *Pool[*fake]
	o     Options[*fake]
	data  []byte
	held  []*Lease[*fake]
	calls []call
}

type call struct {
	result <-chan result
	cancel context.CancelFunc
}

func (g *play) next() int {
	if len(g.data) == 0 {
		return 0
	}
	b := g.data[0]
	g.data = g.data[1:]
	return int(b)
}

func (g *play) run() {
	g.w = new(world)
	g.o = g.w.options()
	g.o.MaxOpen = g.next() % 4
	g.o.KeepIdle = g.next() % 3
	g.o.MaxAge = time.Duration(g.next()%8) * 2 * s
	g.o.MaxIdle = time.Duration(g.next()%8) * s
	g.o.DialTimeout = time.Duration(1+g.next()%8) * s
	g.p = New(g.o)
	for len(g.data) > 0 {
		g.order(g.next())
		g.settle()
	}
	g.finish()
}

func (g *play) order(b int) {
	arg := b >> 4
	switch b & 15 {
	case 0, 1, 2:
		ctx, cancel := context.WithCancel(g.t.Context())
		if arg > 0 {
			ctx, cancel = context.WithTimeout(g.t.Context(), time.Duration(arg)*s)
		}
		g.calls = append(g.calls, call{startIn(ctx, g.p, g.w), cancel})
	case 3, 4, 5:
		if l := g.take(arg); l != nil {
			l.Conn().idleSince = time.Now()
			l.Release()
			l.Release()
		}
	case 6:
		if l := g.take(arg); l != nil {
			l.Discard()
			l.Release()
		}
	case 7:
		g.w.generation.Add(1)
		g.p.Invalidate()
	case 8:
		g.p.Prewarm()
	case 9, 10:
		time.Sleep(time.Duration(arg+1) * s / 2)
	case 11:
		if all := g.w.all(); len(all) > 0 {
			all[arg%len(all)].kill()
		}
	case 12:
		if n := len(g.calls); n > 0 {
			g.calls[arg%n].cancel()
		}
	case 13:
		b := behaviour{delay: time.Duration(arg%4) * s, deaf: arg&4 != 0, stillborn: arg&8 != 0}
		g.w.set(func(w *world) { w.script = append(w.script, b) })
	case 14:
		b := behaviour{delay: time.Duration(arg%4) * s, err: errRefused}
		g.w.set(func(w *world) { w.script = append(w.script, b) })
	case 15:
		g.w.set(func(w *world) {
			w.closeDelay = time.Duration(arg%4) * s
			w.next.delay = time.Duration(arg/4) * s
		})
	}
}

func (g *play) take(i int) *Lease[*fake] {
	if len(g.held) == 0 {
		return nil
	}
	i %= len(g.held)
	l := g.held[i]
	g.held = append(g.held[:i:i], g.held[i+1:]...)
	return l
}

// settle collects the calls that ended and checks the pool.
func (g *play) settle() {
	synctest.Wait()
	pending := g.calls[:0]
	for _, c := range g.calls {
		select {
		case r := <-c.result:
			c.cancel()
			g.check(r)
		default:
			pending = append(pending, c)
		}
	}
	g.calls = pending

	st := g.p.Stats()
	if st.InUse != len(g.held) || st.Waiting != len(g.calls) {
		g.t.Fatalf("%d leases and %d calls, but %+v", len(g.held), len(g.calls), st)
	}
	if st.Waiting > 0 && st.Idle > 0 {
		g.t.Fatalf("somebody waits while a connection is idle: %+v", st)
	}
	if st.Waiting > 0 && st.Dialing == 0 && (g.o.MaxOpen == 0 || st.Open < g.o.MaxOpen) {
		g.t.Fatalf("somebody waits for nothing: %+v", st)
	}
	if st.Open != int(g.w.existing.Load()) || g.o.MaxOpen > 0 && int(g.w.most.Load()) > g.o.MaxOpen || st.Dials != int64(g.w.dials.Load()) {
		g.t.Fatalf("%d exist, %d at most, %d dials, but %+v", g.w.existing.Load(), g.w.most.Load(), g.w.dials.Load(), st)
	}
	if g.o.KeepIdle > 0 && st.Idle > g.o.KeepIdle {
		g.t.Fatalf("too many idle: %+v", st)
	}
}

// check looks at the result of an Acquire, which may have ended at any time of the last sleep.
func (g *play) check(r result) {
	if r.err != nil {
		var de *DialError
		if !errors.As(r.err, &de) && !errors.Is(r.err, context.Canceled) && !errors.Is(r.err, context.DeadlineExceeded) && !errors.Is(r.err, ErrClosed) {
			g.t.Fatalf("unexpected error %v", r.err)
		}
		return
	}
	f, facts := r.lease.Conn(), r.lease.Facts()
	if f.generation != r.generation {
		g.t.Fatalf("connection of generation %d handed out in %d", f.generation, r.generation)
	}
	if r.killed {
		g.t.Fatal("dead connection handed out")
	}
	if facts.AcquireTime != r.after || facts.AcquireTime != facts.WaitTime+facts.DialTime ||
		facts.Age != r.end.Sub(f.opened) || facts.DialTime > 0 && facts.Reused || facts.Age > 0 && !facts.Reused {
		g.t.Fatalf("facts %+v after %v, opened %v ago", facts, r.after, r.end.Sub(f.opened))
	}
	if g.o.MaxAge > 0 && facts.Age > g.o.MaxAge || g.o.MaxIdle > 0 && r.end.Sub(f.idleSince) > g.o.MaxIdle {
		g.t.Fatalf("expired connection handed out: %+v, idle for %v", facts, r.end.Sub(f.idleSince))
	}
	for _, l := range g.held {
		if l.Conn() == f {
			g.t.Fatal("one connection for two users")
		}
	}
	g.held = append(g.held, r.lease)
}

// finish closes the pool, with leases in use if there are any, and checks that nothing is left.
func (g *play) finish() {
	ctx, cancel := context.WithTimeout(g.t.Context(), 20*s)
	defer cancel()
	if err := g.p.Close(ctx); (err != nil) != (len(g.held) > 0) {
		g.t.Fatalf("Close with %d leases: %v", len(g.held), err)
	}
	for _, l := range g.held {
		l.Release()
	}
	g.held = nil
	if err := g.p.Close(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
	g.settle()
	if len(g.calls) > 0 {
		g.t.Fatalf("%d calls still wait", len(g.calls))
	}
	for _, f := range g.w.all() {
		if f.closes.Load() != 1 {
			g.t.Fatalf("connection %d was closed %d times", f.id, f.closes.Load())
		}
	}
	c := g.p.Stats().Closed
	if sum := c.Idle + c.Lifetime + c.Dead + c.Discarded + c.Invalidated + c.Full + c.Closed; sum != int64(len(g.w.all())) {
		g.t.Fatalf("%d connections, but %+v", len(g.w.all()), c)
	}
}

// FuzzPool runs any order of events: acquire, release, discard, invalidate, prewarm, time, death,
// cancellation, slow, failing, deaf and stillborn dials, slow closes.
func FuzzPool(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x03\x00\x00\x03\x99\x00\x07\x03\x09"))
	f.Add([]byte("\x02\x01\x03\x02\x04\x2d\x00\x00\x10\x07\x19\x03\x0b\x00\x03\x13\xf9\x00\x06"))
	f.Add([]byte("\x00\x00\x02\x01\x02\x08\x00\x1e\x00\x29\x39\x03\x49\x00\x0b\x03\x00"))
	f.Add([]byte("\x01\x00\x00\x00\x01\x3f\x00\x00\x00\x0c\x29\x06\x29\x00\x8d\x00\x19\x19"))
	f.Add([]byte("\x03\x02\x05\x06\x02\x6d\x00\x08\x07\x00\x29\x29\x03\x00\x03\x1b\x00\x07\x03"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 200 {
			return
		}
		synctest.Test(t, func(t *testing.T) { (&play{t: t, data: data}).run() })
	})
}
