package connpool

import "time"

// Stats are the numbers of a pool: how it is, and counts since New.
type Stats struct {
	Open    int // places taken: Idle + InUse + Dialing + Closing
	Idle    int
	InUse   int
	Dialing int
	Closing int
	Waiting int // calls of Acquire that wait

	Dials        int64         // begun
	DialFailures int64         // without those that Invalidate or Close cancelled
	Reuses       int64         // leases of a connection that was open before
	Waits        int64         // calls of Acquire that waited for something else than a dial of their own, or gave up
	WaitTime     time.Duration // the sum of those waits

	Closed ClosedStats
}

// ClosedStats count connections by why they were closed.
type ClosedStats struct {
	Idle        int64 // unused longer than MaxIdle
	Lifetime    int64 // older than MaxAge
	Dead        int64 // closed by the other side
	Discarded   int64 // by the user of the lease
	Invalidated int64 // opened, or being dialled, before Invalidate
	Full        int64 // more than KeepIdle were unused
	Closed      int64 // the pool was closed
}

// count returns the counter of a reason.
func (s *ClosedStats) count(r reason) *int64 {
	return [...]*int64{
		tooIdle: &s.Idle, tooOld: &s.Lifetime, isDead: &s.Dead, discarded: &s.Discarded,
		invalidated: &s.Invalidated, full: &s.Full, poolClosed: &s.Closed,
	}[r]
}

// reason says why a connection is closed.
type reason uint8

const (
	tooIdle reason = iota
	tooOld
	isDead
	discarded
	invalidated
	full
	poolClosed
)

// Stats returns the numbers of the pool.
func (p *Pool[C]) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Open, s.Waiting = len(p.all), len(p.waiting)
	for e := range p.all {
		switch e.state {
		case dialing:
			s.Dialing++
		case idle:
			s.Idle++
		case leased:
			s.InUse++
		case retired:
			s.Closing++
		}
	}
	return s
}
