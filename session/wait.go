package session

import (
	"context"
	"slices"

	"github.com/parley-go/parley/agent"
)

// waiter is somebody who waits for something to be true.
type waiter struct {
	ready func() bool
	done  chan struct{}
}

// waitUntil waits until ready is true. ready is asked on the loop, now and after everything that the
// loop does, until it says so; it may act upon it right there. The error is nil exactly if ready was
// true once. It is not called on the loop.
func (r *run) waitUntil(ctx context.Context, ready func() bool) error {
	w := &waiter{ready, make(chan struct{})}
	if !r.post(func() { r.waiters = append(r.waiters, w) }) {
		return agent.ErrNotRunning
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	}
	r.ask(func() { r.waiters = slices.DeleteFunc(r.waiters, func(x *waiter) bool { return x == w }) })
	if isClosed(w.done) {
		return nil
	}
	return ctx.Err()
}

// serveWaiters is called after everything that the loop does.
func (r *run) serveWaiters() {
	for {
		i := slices.IndexFunc(r.waiters, func(w *waiter) bool { return w.ready() })
		if i < 0 {
			return
		}
		w := r.waiters[i]
		r.waiters = slices.Delete(r.waiters, i, i+1)
		close(w.done)
	}
}
