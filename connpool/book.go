package connpool

import (
	"context"
	"slices"
	"time"
)

// This file is the bookkeeping. Its functions in lower half need the lock; the upper ones take it
// and are called by the goroutine of a connection or by the end of a lease.

// dialed is told of a dial that succeeded, or that the connection is dead, and why. False means that it
// turns out to be dead: then it wants to be told why.
func (p *Pool[C]) dialed(e *conn[C], c C, dead <-chan struct{}, why error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.c, e.dead, e.opened = c, dead, time.Now()
	switch {
	case p.closed:
		p.retire(e, poolClosed)
	case e.generation != p.generation:
		p.retire(e, invalidated)
	case e.died() && why == nil:
		return false
	case e.died():
		// An error for whoever waits: to dial again would go on for ever with such a server.
		p.dialling--
		p.stats.DialFailures++
		p.retire(e, isDead)
		p.grantError(e, why)
		p.dialMore()
	default:
		p.dialling--
		p.give(e, e.opened)
	}
	return true
}

// dialFailed is told of a dial that failed. It reports whether anybody minds or knows.
func (p *Pool[C]) dialFailed(e *conn[C], err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := true
	if e.generation == p.generation && !p.closed {
		p.dialling--
		p.stats.DialFailures++
		known = p.grantError(e, err)
	}
	p.forget(e)
	return known
}

// dropDead is told that the other side closed a connection. One in use is closed when its lease
// ends.
func (p *Pool[C]) dropDead(e *conn[C]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.state == idle {
		p.idle = slices.DeleteFunc(p.idle, func(o *conn[C]) bool { return o == e })
		p.retire(e, isDead)
	}
}

// remove is told that a connection was closed.
func (p *Pool[C]) remove(e *conn[C]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(e)
}

// takeBack is told that a lease ended.
func (p *Pool[C]) takeBack(e *conn[C], discard bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if e.state != leased {
		return // Close took it away
	}
	if discard {
		p.retire(e, discarded)
	} else if why, bad := p.unfit(e, now); bad {
		p.retire(e, why)
	} else {
		p.give(e, now)
	}
}

// expire closes the idle connections whose time is over.
func (p *Pool[C]) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	now := time.Now()
	p.wake = time.Time{}
	p.idle = slices.DeleteFunc(p.idle, func(e *conn[C]) bool {
		why, bad := p.unfit(e, now)
		if bad {
			p.retire(e, why)
		}
		return bad
	})
	for _, e := range p.idle {
		p.setTimer(e, now)
	}
}

// From here on the caller holds the lock.

func (p *Pool[C]) next() uint64 { p.seq++; return p.seq }

func (p *Pool[C]) hasPlace() bool { return p.opts.MaxOpen <= 0 || len(p.all) < p.opts.MaxOpen }

// dialMore begins as many dials as there are calls that wait without one, if there are places.
func (p *Pool[C]) dialMore() {
	for len(p.waiting) > p.dialling && p.hasPlace() {
		p.startDial()
	}
}

func (p *Pool[C]) startDial() {
	ctx, cancel := context.WithTimeout(context.Background(), p.opts.DialTimeout)
	e := &conn[C]{generation: p.generation, seq: p.next(), cancel: cancel, begun: time.Now(), gone: make(chan struct{})}
	p.all[e] = struct{}{}
	p.dialling++
	p.stats.Dials++
	go p.keep(ctx, e)
}

// abandonDial gives up the oldest dial, if there is one that nobody waits for.
func (p *Pool[C]) abandonDial() {
	if p.dialling <= len(p.waiting) {
		return
	}
	var oldest *conn[C]
	for e := range p.all {
		if e.state == dialing && e.generation == p.generation && (oldest == nil || e.seq < oldest.seq) {
			oldest = e
		}
	}
	if oldest == nil {
		return
	}
	oldest.generation-- // as after Invalidate: should it come about all the same, it is closed
	oldest.cancel()
	p.dialling--
	p.dialMore()
}

func (p *Pool[C]) cancelDials() {
	for e := range p.all {
		if e.state == dialing {
			e.cancel()
		}
	}
}

// unfit says whether and why a connection must not be handed out.
func (p *Pool[C]) unfit(e *conn[C], now time.Time) (reason, bool) {
	switch {
	case p.closed:
		return poolClosed, true
	case e.generation != p.generation:
		return invalidated, true
	case e.died():
		return isDead, true
	case p.opts.MaxAge > 0 && now.Sub(e.opened) > p.opts.MaxAge:
		return tooOld, true
	case p.opts.MaxIdle > 0 && e.state == idle && now.Sub(e.idleSince) > p.opts.MaxIdle:
		return tooIdle, true
	}
	return 0, false
}

// takeIdle takes the most recently used of the idle connections that are fit, or nil.
func (p *Pool[C]) takeIdle(now time.Time) *conn[C] {
	for n := len(p.idle); n > 0; n-- {
		e := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		why, bad := p.unfit(e, now)
		if !bad {
			return e
		}
		p.retire(e, why)
	}
	return nil
}

// give hands a fit connection to the first in line, or makes it idle.
func (p *Pool[C]) give(e *conn[C], now time.Time) {
	if len(p.waiting) == 0 {
		p.putIdle(e, now)
		return
	}
	w := p.waiting[0]
	p.waiting = slices.Delete(p.waiting, 0, 1)
	fresh := e.state == dialing
	l := p.lend(e, now)
	l.facts.Reused = !fresh
	if fresh && e.seq > w.seq {
		l.facts.DialTime = e.opened.Sub(e.begun)
	} else {
		p.waited(w)
	}
	w.granted <- grant[C]{lease: l}
}

// lend makes a lease. The caller fills in the times.
func (p *Pool[C]) lend(e *conn[C], now time.Time) *Lease[C] {
	reused := e.state != dialing
	if reused {
		p.stats.Reuses++
	}
	e.state = leased
	return &Lease[C]{pool: p, conn: e, facts: Facts{Reused: reused, Age: now.Sub(e.opened)}}
}

func (p *Pool[C]) waited(w *waiter[C]) {
	p.stats.Waits++
	p.stats.WaitTime += time.Since(w.start)
}

// grantError gives an error to the first in line for whom the dial e was begun, if anybody now
// lacks a dial. Who only joined the dial gets one of its own instead.
func (p *Pool[C]) grantError(e *conn[C], err error) bool {
	if len(p.waiting) <= p.dialling {
		return false
	}
	i := slices.IndexFunc(p.waiting, func(w *waiter[C]) bool { return w.seq < e.seq })
	if i < 0 {
		return false
	}
	w := p.waiting[i]
	p.waiting = slices.Delete(p.waiting, i, i+1)
	w.granted <- grant[C]{err: &DialError{err}}
	return true
}

func (p *Pool[C]) putIdle(e *conn[C], now time.Time) {
	e.state, e.idleSince = idle, now
	p.idle = append(p.idle, e)
	if p.opts.KeepIdle > 0 && len(p.idle) > p.opts.KeepIdle {
		p.retire(p.idle[0], full)
		p.idle = slices.Delete(p.idle, 0, 1)
	}
	p.setTimer(e, now)
}

// setTimer sees to it that the timer fires no later than just after e expires. It is not set back
// when a connection is taken; it then fires in vain, once.
func (p *Pool[C]) setTimer(e *conn[C], now time.Time) {
	var at time.Time
	if p.opts.MaxIdle > 0 {
		at = e.idleSince.Add(p.opts.MaxIdle)
	}
	if end := e.opened.Add(p.opts.MaxAge); p.opts.MaxAge > 0 && (at.IsZero() || end.Before(at)) {
		at = end
	}
	if at.IsZero() || !p.wake.IsZero() && !at.Before(p.wake) {
		return
	}
	p.wake = at
	if p.timer == nil {
		p.timer = time.AfterFunc(at.Sub(now)+1, p.expire)
	} else {
		p.timer.Reset(at.Sub(now) + 1)
	}
}

// retire lets the goroutine of e close it.
func (p *Pool[C]) retire(e *conn[C], why reason) {
	e.state = retired
	*p.stats.Closed.count(why)++
	close(e.gone)
}

func (p *Pool[C]) retireIdle(why reason) {
	for _, e := range p.idle {
		p.retire(e, why)
	}
	p.idle = nil
}

// forget frees the place of e.
func (p *Pool[C]) forget(e *conn[C]) {
	delete(p.all, e)
	p.dialMore()
	p.checkDone()
}

func (p *Pool[C]) checkDone() {
	if p.closed && len(p.all) == 0 {
		select {
		case <-p.done:
		default:
			close(p.done)
		}
	}
}
