package room

import (
	"log/slog"
	"sync"
)

// maxOffers is how much droppable work may wait for the dispatcher.
const maxOffers = 1024

// hub runs everything that happens in a room in one order, on one goroutine, the dispatcher. The
// SDK's callbacks come on many goroutines, some of which read the network, so they only add work.
type hub struct {
	log  *slog.Logger
	wake chan struct{} // 1 token: there is work. Full means that the dispatcher will look anyway.
	done chan struct{} // closed when the dispatcher ended

	mu     sync.Mutex
	queue  []func()
	closed bool
}

// newHub starts the dispatcher. It ends after close.
func newHub(log *slog.Logger) *hub {
	h := &hub{log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go h.run()
	return h
}

// post adds work that must not be lost: there is little of it, as it comes from people joining,
// leaving and publishing. It reports false after close.
func (h *hub) post(f func()) bool { return h.add(f, false) }

// offer adds work that a peer can make without end. It reports false, and the work is lost, when
// maxOffers wait already.
func (h *hub) offer(f func()) bool { return h.add(f, true) }

func (h *hub) add(f func(), droppable bool) bool {
	h.mu.Lock()
	if h.closed || droppable && len(h.queue) >= maxOffers {
		h.mu.Unlock()
		return false
	}
	h.queue = append(h.queue, f)
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
	return true
}

// close lets the dispatcher end after the work that was added before. It does not wait.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *hub) run() {
	defer close(h.done)
	for {
		h.mu.Lock()
		work, closed := h.queue, h.closed
		h.queue = nil
		h.mu.Unlock()
		for _, f := range work {
			h.call(f)
		}
		if len(work) > 0 {
			continue
		}
		if closed {
			return
		}
		<-h.wake
	}
}

// call runs f and survives its panic: f may be a listener of a user.
func (h *hub) call(f func()) {
	defer func() {
		if v := recover(); v != nil {
			h.log.Error("panic in a room listener", "panic", v)
		}
	}()
	f()
}
