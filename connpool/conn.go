package connpool

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

type state uint8

const (
	dialing state = iota
	idle
	leased
	retired // on its way out: closing or waiting to be closed
)

// conn is a place in the pool, from the start of its dial to the end of its close. All but c, dead
// and gone, which do not change once they are set, belongs to the pool's lock.
type conn[C any] struct {
	c    C
	dead <-chan struct{}
	gone chan struct{} // closed by retire

	state      state
	generation uint64
	seq        uint64 // order among dials and waiters
	cancel     context.CancelFunc
	begun      time.Time // start of the dial
	opened     time.Time // its end
	idleSince  time.Time
}

// died reports whether the connection is known to be dead.
func (e *conn[C]) died() bool {
	select {
	case <-e.dead:
		return true
	default:
		return false
	}
}

// keep is the life of a connection. It is the only one to dial and to close it.
func (p *Pool[C]) keep(ctx context.Context, e *conn[C]) {
	c, err := p.dial(ctx)
	e.cancel()
	if err != nil {
		if !p.dialFailed(e, err) {
			p.opts.Logger.Warn("connpool: nobody waits for a dial that failed", "error", describe(err))
		}
		return
	}
	if dead := p.opts.Dead(c); !p.dialed(e, c, dead, nil) {
		p.dialed(e, c, dead, cmp.Or(p.opts.Why(c), ErrDead)) // asked without the lock
	}
	select {
	case <-e.dead:
		p.dropDead(e)
		<-e.gone
	case <-e.gone:
	}
	if err := p.close(c); err != nil {
		p.opts.Logger.Warn("connpool: close failed", "error_type", fmt.Sprintf("%T", err))
	}
	p.remove(e)
}

// dial calls the user's function. A panic in it must not end all other sessions of the process.
func (p *Pool[C]) dial(ctx context.Context) (c C, err error) {
	defer func() {
		if recover() != nil {
			p.opts.Logger.Error("connpool: dial panicked", "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return p.opts.Dial(ctx)
}

// close calls the user's function.
func (p *Pool[C]) close(c C) (err error) {
	defer func() {
		if recover() != nil {
			p.opts.Logger.Error("connpool: close panicked", "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return p.opts.Close(c)
}
