package tts

import (
	"context"

	"github.com/parley-go/parley/metrics"
)

// unread is the event of a request that ended well before anybody took audio of it. It is recorded
// once somebody does: until then the audio may still be discarded.
type unread struct {
	e        *metrics.TTS
	piece    int
	unhook   func() bool
	settled  bool          // somebody records it, or did
	recorded chan struct{} // closed then
}

// open makes a the account of the request that runs.
func (s *Stream) open(a *account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first.IsZero() {
		a.since = s.since
	}
	s.acct = a
}

func (s *Stream) account() *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acct
}

// finish records the account of the request that runs, if there is one that is not recorded yet.
func (s *Stream) finish(o metrics.Outcome) *metrics.TTS {
	a := s.account()
	if a == nil {
		return nil
	}
	return a.finish(o)
}

// abort records the request that runs as cut off.
func (s *Stream) abort() *metrics.TTS {
	s.mu.Lock()
	o := s.cut
	s.mu.Unlock()
	return s.finish(o)
}

// deliver closes the account of the request for a piece, which ended well.
func (s *Stream) deliver(piece int) *metrics.TTS {
	e := s.account().closeWith(metrics.Delivered)
	if e == nil {
		return nil
	}
	s.mu.Lock()
	wait := s.taken < piece && !isClosed(s.closed) && s.user.Err() == nil
	if wait {
		unhook := context.AfterFunc(s.user, func() { s.settle(metrics.Delivered) })
		s.unread = &unread{e: e, piece: piece, unhook: unhook, recorded: make(chan struct{})}
	} else if isClosed(s.closed) && s.cut == metrics.Discarded {
		e.Outcome, e.Cancelled = metrics.Discarded, true
	}
	s.mu.Unlock()
	if !wait {
		metrics.Record(s.user, e)
	}
	return e
}

// took records what waited for somebody to take its audio.
func (s *Stream) took() {
	s.mu.Lock()
	ready := s.unread != nil && s.taken >= s.unread.piece
	s.mu.Unlock()
	if ready {
		s.settle(metrics.Delivered)
	}
}

// settle records the event that waited, as o. When it returns the event is recorded, by whomever.
func (s *Stream) settle(o metrics.Outcome) {
	s.mu.Lock()
	u := s.unread
	first := u != nil && !u.settled
	if first {
		u.settled = true
	}
	s.mu.Unlock()
	switch {
	case u == nil:
		return
	case !first:
		<-u.recorded
		return
	}
	u.unhook()
	e := *u.e // the span has the other one
	e.Outcome, e.Cancelled = o, o != metrics.Delivered
	metrics.Record(s.user, &e)
	s.mu.Lock()
	if s.unread == u {
		s.unread = nil
	}
	s.mu.Unlock()
	close(u.recorded)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
