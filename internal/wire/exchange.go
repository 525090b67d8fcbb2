package wire

import (
	"context"
	"sync"
)

// Exchange is one request and its answer on a connection of a pool, for protocols that cannot cancel: an
// answer that was not read to its end costs the connection, and another one is dialled at once, so that
// the next request waits for neither. Close it.
type Exchange struct {
	*Lease
	pool *Pool

	mu             sync.Mutex
	complete, over bool
}

// Exchange lends a connection like Acquire.
func (p *Pool) Exchange(ctx context.Context) (*Exchange, error) {
	l, err := p.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	return &Exchange{Lease: l, pool: p}, nil
}

// Complete says that the answer was read to its end, so that Close gives the connection back.
func (e *Exchange) Complete() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.complete = true
}

// Close ends the exchange and what reads of it; only the first call counts. It never waits.
func (e *Exchange) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.over:
	case e.Broken():
		e.Discard()
	case e.complete:
		e.Release()
	default:
		e.pool.Replace(e.Lease)
	}
	e.over = true
	return nil
}
