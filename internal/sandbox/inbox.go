package sandbox

import (
	"sync"
	"time"

	"github.com/parley-go/parley/model/fault"
)

// settled is for how many rounds a client must have sent nothing before a fault strikes its stream. What it
// sent until then is billed; what is on its way when a connection breaks would be on nobody's account. A
// client of the same process, which a busy machine holds up, gets as many turns as there are rounds.
const settled = 60

// patience is for how many rounds a fault waits for a client that never pauses, such as a live microphone.
const patience = 1000

// round is how long a round takes at least.
const round = time.Millisecond

// Inbox is what a client sends on a socket: read at once and handed on in order, so that a stream that
// falls silent goes on to take, and to bill.
type Inbox struct {
	struck func() bool   // a fault is about to strike
	wake   chan struct{} // one token: something came
	over   chan struct{} // closed when nothing more will come

	mu     sync.Mutex
	queue  []inboxed
	rounds int // until now
	newest int // the round of the newest message
}

type inboxed struct {
	binary bool
	data   []byte
	at     int // its round
}

// Inbox reads the socket from now on, on a goroutine that ends with it; take sees each message as it
// comes. Nobody else may call Read.
func (s *Socket) Inbox(take func(binary bool, data []byte)) *Inbox {
	return s.c.inbox(s.Read, take, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return breaks(s.c.Fault) && !s.over && s.ctx.Err() == nil
	})
}

// breaks reports whether f costs the client its connection, or the call, in the middle of a stream.
func breaks(f fault.Kind) bool {
	return f == fault.Malformed || f == fault.Oversized || f == fault.Reset || f == fault.HangUp
}

// inbox is what read gives, until it fails.
func (c *Call) inbox(read func() (binary bool, data []byte, err error), take func(binary bool, data []byte), struck func() bool) *Inbox {
	b := &Inbox{struck: struck, wake: make(chan struct{}, 1), over: make(chan struct{})}
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		defer close(b.over)
		for {
			binary, data, err := read()
			if err != nil {
				return
			}
			take(binary, data)
			b.mu.Lock()
			b.newest = b.rounds
			b.queue = append(b.queue, inboxed{binary, data, b.newest})
			b.mu.Unlock()
			select {
			case b.wake <- struct{}{}:
			default: // a token is waiting
			}
		}
	}()
	return b
}

// Next waits for a message, until limit has passed without one if it is not 0.
func (b *Inbox) Next(limit time.Duration) (binary bool, data []byte, err error) {
	var late <-chan time.Time
	if limit > 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		late = t.C
	}
	for {
		m, wait := b.first()
		if m != nil {
			return m.binary, m.data, nil
		}
		var settling <-chan time.Time
		if wait {
			settling = time.After(round)
		}
		select {
		case <-b.wake:
		case <-settling:
			b.mu.Lock()
			b.rounds++
			b.mu.Unlock()
		case <-late:
			return false, nil, ErrIdle
		case <-b.over:
			if m, _ := b.first(); m != nil {
				return m.binary, m.data, nil
			}
			return false, nil, ErrOver
		}
	}
}

// first is the oldest message; or says to wait, when the client is not done sending.
func (b *Inbox) first() (m *inboxed, wait bool) {
	struck := b.struck()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return nil, false
	}
	if m = &b.queue[0]; struck && b.rounds < min(b.newest+settled, m.at+patience) {
		return nil, true
	}
	b.queue = b.queue[1:]
	return m, false
}
