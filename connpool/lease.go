package connpool

import (
	"sync/atomic"
	"time"
)

// Facts tell how a lease came about.
type Facts struct {
	Reused      bool          // the connection was open before, used or dialled in advance
	AcquireTime time.Duration // the whole of Acquire: WaitTime plus DialTime, or next to nothing
	WaitTime    time.Duration // waiting for a place, a released connection or an earlier dial
	DialTime    time.Duration // the dial that gave the connection, if it began during this Acquire
	Age         time.Duration // since the connection was opened
}

// Lease is a connection in use by one request. It ends with the first Release or Discard; the
// connection must not be used after that. Its methods may be called from any goroutine.
type Lease[C any] struct {
	pool  *Pool[C]
	conn  *conn[C]
	facts Facts
	ended atomic.Bool
}

// Conn returns the connection.
func (l *Lease[C]) Conn() C { return l.conn.c }

// Facts tell how this lease came about.
func (l *Lease[C]) Facts() Facts { return l.facts }

// Release gives a healthy connection back: the longest waiting Acquire gets it, else it becomes
// idle. It never blocks. After the first Release or Discard it does nothing.
func (l *Lease[C]) Release() { l.end(false) }

// Discard ends the lease of a connection that must not be used again, which is then closed in the
// background. It never blocks. After the first Release or Discard it does nothing.
func (l *Lease[C]) Discard() { l.end(true) }

func (l *Lease[C]) end(discard bool) {
	if !l.ended.Swap(true) {
		l.pool.takeBack(l.conn, discard)
	}
}
