package session

import (
	"context"
	"iter"
	"sync"
)

// pipe carries values from one goroutine to another. It has no bound: a pipe holds at most one
// answer of a model, and the model must not wait for the voice.
type pipe[T any] struct {
	mu     sync.Mutex
	queue  []T
	closed bool
	wake   chan struct{} // size 1: a full channel means that the reader knows already
}

func newPipe[T any]() *pipe[T] { return &pipe[T]{wake: make(chan struct{}, 1)} }

func (p *pipe[T]) put(v T) {
	p.mu.Lock()
	p.queue = append(p.queue, v)
	p.mu.Unlock()
	p.signal()
}

func (p *pipe[T]) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.signal()
}

func (p *pipe[T]) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// next waits for a value; false at the end of the pipe or of ctx.
func (p *pipe[T]) next(ctx context.Context) (v T, ok bool) {
	for {
		p.mu.Lock()
		if len(p.queue) > 0 {
			v = p.queue[0]
			p.queue = p.queue[1:]
			p.mu.Unlock()
			return v, true
		}
		closed := p.closed
		p.mu.Unlock()
		if closed {
			return v, false
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
			return v, false
		}
	}
}

// all yields what comes until the end of the pipe or of ctx.
func (p *pipe[T]) all(ctx context.Context) iter.Seq[T] {
	return func(yield func(T) bool) {
		for {
			v, ok := p.next(ctx)
			if !ok || !yield(v) {
				return
			}
		}
	}
}
