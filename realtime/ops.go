package realtime

import (
	"context"
	"slices"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/realtime/driver"
)

const (
	// maxOps is how many things to send are kept.
	maxOps = 1024
	// piece is the most audio that is taken at once.
	piece     = 100 * time.Millisecond
	imageKey  = "image"
	commitKey = "commit"
	clearKey  = "clear"
)

// op is something to send, in its place among the audio and the others.
type op struct {
	key   string // whose acknowledgement or failure it is
	at    int64  // no earlier than the audio up to here
	flush bool   // the audio before it goes out first, also if it is less than a chunk
	send  func(ctx context.Context, d driver.Conn) error
	sent  bool
	items []driver.Item // of an Add

	// Those of the next two kinds outlive their connection.
	turn bool        // the user's turn begins or ends; kept until it was understood
	g    *Generation // to ask for; kept until the response was created

	due time.Time // not before, zero for at once
}

// queue adds o to what is to be sent. Those of a connection that takes nothing any more end with it.
func (s *Session) queue(o *op) {
	if len(s.ops) >= maxOps {
		if s.c != nil {
			s.c.cancel(s.who.error("timeout", "send", errStuck))
		}
		return
	}
	s.ops = append(s.ops, o)
	s.signal()
}

func (s *Session) drop(which func(*op) bool) { s.ops = slices.DeleteFunc(s.ops, which) }

func (s *Session) find(key string) *op {
	if i := slices.IndexFunc(s.ops, func(o *op) bool { return o.key == key }); i >= 0 {
		return s.ops[i]
	}
	return nil
}

// todo is what a sender is to do next: send audio, then an op, or wait until a time.
type todo struct {
	op    *op
	audio audio.Frame
	until time.Time // zero: until it is woken
}

// take copies the next audio into buf and says what to send.
func (s *Session) take(c *connection, buf *[]int16) (t todo) {
	s.mu.Lock()
	defer s.unlock()
	until, over := c.moment()
	if over {
		return t
	}
	t.until = until
	end := s.in.Head
	for _, o := range s.ops {
		switch {
		case o.sent:
			continue
		case o.g != nil && (c.busy() || s.asking() || c.going != nil && c.going.hold):
			continue // one after another, with what was asked for
		case time.Until(o.due) > 0:
			t.until = earlier(t.until, o.due)
			continue
		}
		if o.at <= s.next {
			o.sent = true
			if o.key == commitKey {
				c.commits = append(c.commits[max(0, len(c.commits)-maxCommits):], c.has.conv.last())
			}
			if !o.turn && o.g == nil && o.items == nil {
				s.drop(func(x *op) bool { return x == o })
			}
			t.op = o
			return t
		}
		end = min(end, o.at)
		break
	}
	if s.next >= end {
		s.losing = false
		return t
	}
	if *buf == nil {
		*buf = make([]int16, s.samples(piece))
	}
	n := min(len(*buf), int(end-s.next))
	n = s.in.Read((*buf)[:n], s.next)
	s.next += int64(n)
	s.forget()
	t.audio = audio.Frame{Data: (*buf)[:n], Rate: s.mono.Out, Channels: 1}
	return t
}

// asking reports whether a generation was asked for that was not created yet.
func (s *Session) asking() bool {
	return slices.ContainsFunc(s.ops, func(o *op) bool { return o.g != nil && o.sent })
}

// earlier is the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
