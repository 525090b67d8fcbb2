package wire

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/parley-go/parley/connpool"
	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/model"
)

// PoolOptions say how long a provider's websockets are kept.
type PoolOptions struct {
	// Open says how a connection is opened; it is asked for each, since keys and options may change.
	Open func(ctx context.Context) (SocketOptions, error)
	// Setup, if set, is run on a fresh connection before anybody gets it.
	Setup   func(ctx context.Context, s *Socket) error
	MaxAge  time.Duration // 0: no limit
	MaxIdle time.Duration // 0: no limit
}

// Pool keeps the websockets of a model object for all sessions that share it.
type Pool struct {
	peer *Peer
	p    *connpool.Pool[*Socket]
}

// NewPool returns a pool without connections; whoever made it closes it.
func NewPool(peer *Peer, o PoolOptions) *Pool {
	return &Pool{peer: peer, p: connpool.New(connpool.Options[*Socket]{
		Dial: func(ctx context.Context) (*Socket, error) {
			so, err := o.Open(ctx)
			if err != nil {
				return nil, err
			}
			so.pooled = true
			s, err := Dial(ctx, peer, so)
			if err != nil || o.Setup == nil {
				return s, err
			}
			if err := o.Setup(ctx, s); err != nil {
				s.Close()
				return nil, err
			}
			return s, nil
		},
		Close: (*Socket).Close, Dead: (*Socket).Dead, Why: func(s *Socket) error { return s.reason("dial") },
		MaxAge: o.MaxAge, MaxIdle: o.MaxIdle,
	})}
}

// Lease is a websocket in use by one request. Release gives it back, Discard ends it; only the first
// of them counts.
type Lease struct {
	*Socket
	l     *connpool.Lease[*Socket]
	facts Facts
	once  sync.Once
	over  chan struct{} // closed at the end of the lease

	mu  sync.Mutex
	ctx context.Context // of the last read
	err error           // of the last read
}

// Read waits for the next message; it fails when the lease ends.
func (l *Lease) Read(ctx context.Context) (Message, error) {
	l.reading(ctx)
	m, err := l.read(ctx, l.over)
	l.failed(err)
	return m, err
}

// ReadJSON is Read for a text message, and decodes it into v.
func (l *Lease) ReadJSON(ctx context.Context, v any) error {
	l.reading(ctx)
	err := l.readJSON(ctx, l.over, v)
	l.failed(err)
	return err
}

func (l *Lease) reading(ctx context.Context) {
	l.mu.Lock()
	l.ctx = ctx
	l.mu.Unlock()
}

func (l *Lease) failed(err error) {
	if err != nil {
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
	}
}

// Broken reports whether the connection is not to be trusted any more: a read failed, or was given up
// for another reason than that nobody wanted the answer.
func (l *Lease) Broken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil && !errors.Is(l.err, context.Canceled) {
		return true
	}
	return l.ctx != nil && l.ctx.Err() != nil && !errors.Is(context.Cause(l.ctx), context.Canceled)
}

// WriteJSON sends v as a text message; it fails after the end of the lease.
func (l *Lease) WriteJSON(ctx context.Context, v any) error {
	if l.ended() {
		return l.gone()
	}
	return l.Socket.WriteJSON(ctx, v)
}

// WriteText sends a text message; it fails after the end of the lease.
func (l *Lease) WriteText(ctx context.Context, b []byte) error {
	if l.ended() {
		return l.gone()
	}
	return l.Socket.WriteText(ctx, b)
}

// WriteBinary sends a binary message; it fails after the end of the lease.
func (l *Lease) WriteBinary(ctx context.Context, b []byte) error {
	if l.ended() {
		return l.gone()
	}
	return l.Socket.WriteBinary(ctx, b)
}

func (l *Lease) ended() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

func (l *Lease) gone() error { return l.peer.Error(model.KindConnection, "send", net.ErrClosed) }

func (l *Lease) end() { l.once.Do(func() { close(l.over) }) }

// Acquire lends a connection, idle or dialled, and books how it came about.
func (p *Pool) Acquire(ctx context.Context) (*Lease, error) {
	l, err := p.p.Acquire(ctx)
	if err != nil {
		var d *connpool.DialError
		if errors.As(err, &d) {
			err = d.Unwrap()
		}
		if ctx.Err() == context.Canceled {
			return nil, attempt.Unsent(context.Cause(ctx))
		}
		return nil, p.peer.Error(model.KindConnection, "dial", err)
	}
	pf := l.Facts()
	f := Facts{Reused: pf.Reused}
	if !pf.Reused {
		f = l.Conn().Facts()
	}
	f.Acquire, f.Wait = pf.AcquireTime, pf.WaitTime
	record(ctx, p.peer.Kind, p.peer.Info, f)
	l.Conn().held.Store(reader)
	return &Lease{Socket: l.Conn(), l: l, facts: f, over: make(chan struct{})}, nil
}

// Acquired implements Connected of the drivers.
func (l *Lease) Acquired() (took time.Duration, reused bool) { return l.facts.Acquire, l.facts.Reused }

// Release gives the connection back. What is left to read on it is dropped, but what the provider
// sends later may reach the next one: where answers do not name their request, an answer that was not
// read to its end takes Discard instead.
func (l *Lease) Release() {
	l.end()
	l.held.Store(idle)
	l.said.forget()
	for {
		select {
		case <-l.in:
			continue
		default:
		}
		break
	}
	l.l.Release()
}

// Discard closes the connection in the background.
func (l *Lease) Discard() {
	l.end()
	l.l.Discard()
}

// Replace is Discard, and dials another connection in the background, so that the next request does
// not wait for it.
func (p *Pool) Replace(l *Lease) {
	l.Discard()
	p.Prewarm()
}

// Prewarm dials in the background unless a connection is there. The dial is booked when somebody
// takes it.
func (p *Pool) Prewarm() { p.p.Prewarm() }

// Invalidate makes sure that no connection of before is handed out again.
func (p *Pool) Invalidate() { p.p.Invalidate() }

// Close ends all connections; see connpool.Pool.Close.
func (p *Pool) Close(ctx context.Context) error { return p.p.Close(ctx) }

// Single opens a websocket for one stream, without a pool, and books how it came about.
func Single(ctx context.Context, p *Peer, o SocketOptions) (*Socket, error) {
	s, err := Dial(ctx, p, o)
	if err != nil {
		return nil, err
	}
	record(ctx, p.Kind, p.Info, s.facts)
	return s, nil
}

// Acquired implements Connected of the drivers.
func (s *Socket) Acquired() (took time.Duration, reused bool) { return s.facts.Acquire, false }
