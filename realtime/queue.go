package realtime

import (
	"context"
	"io"
	"sync"
)

// queue hands values from the goroutine of a connection to one reader. It never makes the writer wait: who
// writes bounds what is in it.
type queue[T any] struct {
	wake chan struct{} // one token: something changed

	mu    sync.Mutex
	items []T
	ended bool
	err   error // after the last item; nil is io.EOF
}

func newQueue[T any]() *queue[T] { return &queue[T]{wake: make(chan struct{}, 1)} }

// put appends v, unless the queue has ended.
func (q *queue[T]) put(v T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.ended {
		q.items = append(q.items, v)
		q.signal()
	}
}

// end lets nothing more in. The first call counts.
func (q *queue[T]) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.ended {
		q.ended, q.err = true, err
		q.signal()
	}
}

// drop ends the queue and forgets what is in it.
func (q *queue[T]) drop(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items, q.ended, q.err = nil, true, err
	q.signal()
}

// next waits for the next item. After the last one it returns why the queue ended, io.EOF for a good end.
func (q *queue[T]) next(ctx context.Context) (v T, err error) {
	for {
		if v, ok, err := q.take(); ok || err != nil {
			return v, err
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return v, ctx.Err()
		}
	}
}

func (q *queue[T]) take() (v T, ok bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case len(q.items) > 0:
		v = q.items[0]
		q.items = q.items[1:]
		if len(q.items) > 0 || q.ended {
			q.signal()
		}
		return v, true, nil
	case !q.ended:
		return v, false, nil
	}
	q.signal() // for who asks again
	if q.err != nil {
		return v, false, q.err
	}
	return v, false, io.EOF
}

func (q *queue[T]) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

func (q *queue[T]) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // a token is waiting already
	}
}
