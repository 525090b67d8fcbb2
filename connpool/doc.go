// Package connpool keeps connections that are costly to open, such as authenticated websockets,
// for use by one request at a time.
//
//	pool := connpool.New(connpool.Options[*socket]{Dial: dial, MaxIdle: 5 * time.Minute})
//	lease, err := pool.Acquire(ctx)
//	...
//	lease.Release() // or lease.Discard() after an error or on any doubt
//
// # Dead connections
//
// A server may close a connection while nobody uses it. Only a reader sees that, and the reader of
// a websocket cannot be lent to the pool and taken back: gorilla's Conn can be interrupted in a read
// only by a deadline, after which every further read fails. So the connection itself owns a reader
// from the dial to the close, which also answers the server's pings, and tells the pool through
// Options.Dead, a channel the reader closes when it ends:
//
//	func (s *socket) readLoop() {
//		defer close(s.dead)
//		for {
//			kind, data, err := s.ws.ReadMessage()
//			if err != nil {
//				return
//			}
//			s.deliver(kind, data) // to the request in progress, if any
//		}
//	}
//
// The pool watches that channel at all times, and looks again in the moment before it hands a
// connection out. Nothing needs to be stopped or joined when a connection changes hands.
//
// # Goroutines
//
// Each connection has one goroutine of the pool for its whole life: it dials, waits until the
// connection is dead or no longer wanted, and closes it. So a connection is closed once, never
// under a lock and never by a request. Idle and lifetime limits are kept by one timer.
package connpool
