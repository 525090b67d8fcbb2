package session

import (
	"sync"

	"github.com/parley-go/parley/vad"
)

// message is what a mailbox carries: something to do, or a VAD event. VAD events come all the time,
// so they travel by value.
type message struct {
	do  func()
	vad vad.Event
	gen int   // of the ears that sent the VAD event
	cut int32 // and of what these had the VAD forget
}

// mailbox is a queue with one reader. It has no bound of its own, so that posting never blocks and
// never fails; what bounds it is that its writers are few and paced by real time or by waiting for
// an answer.
type mailbox struct {
	mu     sync.Mutex
	queue  []message
	closed bool
	wake   chan struct{} // size 1: a full channel means that the reader knows already
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

// post queues m; false once the mailbox is closed.
func (b *mailbox) post(m message) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.queue = append(b.queue, m)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return true
}

// close refuses further messages; run returns after those that are queued.
func (b *mailbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run hands messages to handle until the mailbox is closed and empty.
func (b *mailbox) run(handle func(*message)) {
	var batch []message
	for range b.wake {
		for {
			b.mu.Lock()
			batch, b.queue = b.queue, batch[:0]
			closed := b.closed
			b.mu.Unlock()
			if len(batch) == 0 {
				if closed {
					return
				}
				break
			}
			for i := range batch {
				handle(&batch[i])
				batch[i] = message{}
			}
		}
	}
}
