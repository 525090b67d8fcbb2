package connpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Pool lends connections to one request at a time. Its methods may be called from any goroutine.
// Whoever made it closes it.
type Pool[C any] struct {
	opts Options[C]

	mu         sync.Mutex // guards what follows; held for bookkeeping only
	all        map[*conn[C]]struct{}
	idle       []*conn[C] // the most recently used last; empty while anybody waits
	waiting    []*waiter[C]
	dialling   int // dials of this generation
	generation uint64
	seq        uint64
	timer      *time.Timer // for the idle connection that expires first
	wake       time.Time   // when timer fires, zero if it does not
	stats      Stats
	closed     bool
	done       chan struct{} // closed when the pool is closed and empty
}

// waiter is a call of Acquire that waits. It gets one grant, unless it gives up.
type waiter[C any] struct {
	seq     uint64
	start   time.Time
	granted chan grant[C] // one place, so that granting never blocks
}

type grant[C any] struct {
	lease *Lease[C]
	err   error
}

// New returns a pool without connections.
func New[C any](o Options[C]) *Pool[C] {
	return &Pool[C]{opts: o.filled(), all: make(map[*conn[C]]struct{}), done: make(chan struct{})}
}

// Acquire lends the most recently used idle connection. Without one it dials, joins a dial that
// nobody waits for, or, with MaxOpen connections open, waits in line until one is released or closed.
// When ctx ends it returns ctx.Err, wrapped, at once; its dial goes on for whoever comes next, unless ctx
// ended for another cause than context.Canceled, such as its deadline: that is taken for a dial that leads
// nowhere. Other errors are a *DialError or ErrClosed.
func (p *Pool[C]) Acquire(ctx context.Context) (*Lease[C], error) {
	start := time.Now()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("connpool: acquire: %w", err)
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	if e := p.takeIdle(start); e != nil {
		l := p.lend(e, start)
		l.facts.AcquireTime = time.Since(start)
		p.mu.Unlock()
		return l, nil
	}
	w := &waiter[C]{seq: p.next(), start: start, granted: make(chan grant[C], 1)}
	p.waiting = append(p.waiting, w)
	p.dialMore()
	p.mu.Unlock()

	select {
	case g := <-w.granted:
		if g.err != nil {
			return nil, g.err
		}
		// Nobody else has the lease yet.
		g.lease.facts.AcquireTime = time.Since(start)
		g.lease.facts.WaitTime = g.lease.facts.AcquireTime - g.lease.facts.DialTime
		return g.lease, nil
	case <-ctx.Done():
		p.giveUp(w, !errors.Is(context.Cause(ctx), context.Canceled))
		return nil, fmt.Errorf("connpool: acquire: %w", ctx.Err())
	}
}

// giveUp takes w out of the line, or gives back what it was granted meanwhile. late says that w waited
// as long as it could: who tries again is not to wait for the same dial.
func (p *Pool[C]) giveUp(w *waiter[C], late bool) {
	p.mu.Lock()
	i := slices.Index(p.waiting, w)
	if i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.waited(w)
		if late {
			p.abandonDial()
		}
	}
	p.mu.Unlock()
	if i < 0 {
		if g := <-w.granted; g.lease != nil {
			g.lease.Release()
		}
	}
}

// Prewarm begins a dial in the background unless there is an idle connection, a dial under way or
// no place for one. An Acquire meanwhile joins it. It never blocks; a failure is logged.
func (p *Pool[C]) Prewarm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && len(p.idle) == 0 && p.dialling == 0 && p.hasPlace() {
		p.startDial()
	}
}

// Invalidate makes sure that no connection of before is handed out again, for instance after a
// change of key. Idle ones are closed, those in use when they are released, and dials under way are
// cancelled and begun anew for those who wait. It never blocks.
func (p *Pool[C]) Invalidate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.generation++
	p.dialling = 0
	p.retireIdle(invalidated)
	p.cancelDials()
	p.dialMore()
}

// Close refuses new calls and those that wait, cancels dials, closes idle connections and waits for
// the leases to end and all connections to be closed. When ctx ends first, it closes what is
// still in use too and returns ctx.Err, wrapped. It may be called again.
func (p *Pool[C]) Close(ctx context.Context) error {
	p.shut()
	select {
	case <-p.done:
		return nil
	default:
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.retireLeased()
		return fmt.Errorf("connpool: close: %w", ctx.Err())
	}
}

func (p *Pool[C]) shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	for _, w := range p.waiting {
		w.granted <- grant[C]{err: ErrClosed}
	}
	p.waiting = nil
	p.retireIdle(poolClosed)
	p.cancelDials()
	p.checkDone()
}

func (p *Pool[C]) retireLeased() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := range p.all {
		if e.state == leased {
			p.retire(e, poolClosed)
		}
	}
}
