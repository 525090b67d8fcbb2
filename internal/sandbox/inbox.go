package sandbox

import (
	"sync"
	"time"
)

// Inbox is what a client sends on a socket: read at once and handed on in order, so that a stream that
// falls silent goes on to take, and to bill.
type Inbox struct {
	wake chan struct{} // one token: something came
	over chan struct{} // closed when nothing more will come

	mu    sync.Mutex
	queue []inboxed
}

type inboxed struct {
	binary bool
	data   []byte
}

// Inbox reads the socket from now on, on a goroutine that ends with it; take sees each message as it
// comes. Nobody else may call Read.
func (s *Socket) Inbox(take func(binary bool, data []byte)) *Inbox {
	return s.c.inbox(s.Read, take)
}

// inbox is what read gives, until it fails.
func (c *Call) inbox(read func() (binary bool, data []byte, err error), take func(binary bool, data []byte)) *Inbox {
	b := &Inbox{wake: make(chan struct{}, 1), over: make(chan struct{})}
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
			b.queue = append(b.queue, inboxed{binary, data})
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
		if m := b.first(); m != nil {
			return m.binary, m.data, nil
		}
		select {
		case <-b.wake:
		case <-late:
			return false, nil, ErrIdle
		case <-b.over:
			if m := b.first(); m != nil {
				return m.binary, m.data, nil
			}
			return false, nil, ErrOver
		}
	}
}

// first is the oldest message.
func (b *Inbox) first() *inboxed {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return nil
	}
	m := b.queue[0]
	b.queue = b.queue[1:]
	return &m
}
