package wire

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/parley-go/parley/connpool"
	"github.com/parley-go/parley/model"
)

// maxUnread bounds what waits for one stream; a stream that nobody reads must not make the others wait.
const maxUnread = 4096

// MuxOptions say how streams share a provider's websockets.
type MuxOptions[R any] struct {
	// Open says how a connection is opened.
	Open func(ctx context.Context) (SocketOptions, error)
	// Route decodes a message and names its stream, "" for none, and says whether it is the last one of
	// that stream. An error means that the connection is beyond use. It is called by one goroutine per
	// connection and must not wait.
	Route func(Message) (r R, id string, last bool, err error)
	// Streams is how many the provider takes on one connection at a time. One counts until its last
	// message has come, also when nobody wants the rest of it.
	Streams int
	MaxAge  time.Duration // of a connection that gets another stream; 0: no limit
	MaxIdle time.Duration // 0: no limit
}

// Mux lets streams of a model object share websockets, several at a time on each, told apart by ids.
// Connections that carry no stream wait in a pool. It is safe for concurrent use.
type Mux[R any] struct {
	peer *Peer
	o    MuxOptions[R]
	p    *connpool.Pool[*line[R]]

	mu      sync.Mutex // also of the lines and channels
	lines   []*line[R] // that carry streams
	flights []*flight
}

// flight is a connection on its way, and how many more streams it could carry.
type flight struct {
	done  chan struct{} // closed when it has landed, or failed
	seats int
}

// line is a connection.
type line[R any] struct {
	*Socket
	m        *Mux[R]
	lease    *connpool.Lease[*line[R]]
	opened   time.Time
	channels map[string]*Channel[R] // that the provider has not ended
	live     int                    // that were not closed
	bad      error                  // it gets no more streams
}

// NewMux returns a mux without connections; whoever made it closes it.
func NewMux[R any](peer *Peer, o MuxOptions[R]) *Mux[R] {
	m := &Mux[R]{peer: peer, o: o}
	m.p = connpool.New(connpool.Options[*line[R]]{
		Dial:  m.dial,
		Close: func(l *line[R]) error { return l.Close() }, Dead: func(l *line[R]) <-chan struct{} { return l.Dead() },
		Why:    func(l *line[R]) error { return l.reason("dial") },
		MaxAge: o.MaxAge, MaxIdle: o.MaxIdle,
	})
	return m
}

func (m *Mux[R]) dial(ctx context.Context) (*line[R], error) {
	so, err := m.o.Open(ctx)
	if err != nil {
		return nil, err
	}
	l := &line[R]{m: m, channels: make(map[string]*Channel[R])}
	so.Take = l.take
	l.Socket, err = Dial(ctx, m.peer, so)
	l.opened = time.Now()
	return l, err
}

// take hands a message to its stream.
func (l *line[R]) take(msg Message) {
	r, id, last, err := l.m.o.Route(msg)
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if err != nil {
		err = l.m.peer.Error(model.KindProtocol, "receive", err)
		l.spoil(err)
		for _, c := range l.channels {
			c.fail(err)
		}
		return
	}
	c := l.channels[id]
	if c == nil {
		return
	}
	if last {
		c.last = true
		delete(l.channels, id)
	}
	switch {
	case c.closed, c.err != nil:
	case len(c.queue) == maxUnread:
		c.fail(l.m.peer.Protocol("receive", "nobody reads what the provider sends"))
	default:
		c.queue = append(c.queue, r)
		c.signal()
	}
}

// Open starts a stream with an id that is not in use: on a connection that has room, else on one that
// is idle, dialled, or on its way anyhow. It books how the connection came about.
func (m *Mux[R]) Open(ctx context.Context, id string) (*Channel[R], error) {
	began := time.Now()
	for {
		c, f, mine := m.board(id)
		switch {
		case c != nil:
			took := time.Since(began)
			return m.booked(ctx, c, Facts{Reused: true, Acquire: took, Wait: took}), nil
		case mine:
			c, facts, err := m.fly(ctx, f, id)
			if err != nil {
				return nil, m.refused(ctx, err)
			}
			late := time.Since(began) - facts.Acquire
			facts.Acquire, facts.Wait = facts.Acquire+late, facts.Wait+late
			return m.booked(ctx, c, facts), nil
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, m.refused(ctx, ctx.Err())
		}
	}
}

func (m *Mux[R]) booked(ctx context.Context, c *Channel[R], f Facts) *Channel[R] {
	c.facts = f
	record(ctx, m.peer.Kind, m.peer.Info, f)
	return c
}

func (m *Mux[R]) refused(ctx context.Context, err error) error {
	var d *connpool.DialError
	if errors.As(err, &d) {
		err = d.Unwrap()
	}
	if ctx.Err() == context.Canceled {
		return context.Cause(ctx)
	}
	return m.peer.Error(model.KindConnection, "dial", err)
}

// board finds a place: on a line, on a flight, or on a flight that the caller must start.
func (m *Mux[R]) board(id string) (c *Channel[R], f *flight, mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.lines {
		if l.hasRoom() {
			return l.add(id), nil, false
		}
	}
	for _, f := range m.flights {
		if f.seats > 0 {
			f.seats--
			return nil, f, false
		}
	}
	f = &flight{done: make(chan struct{}), seats: m.o.Streams - 1}
	m.flights = append(m.flights, f)
	return nil, f, true
}

// fly brings a connection for the flight.
func (m *Mux[R]) fly(ctx context.Context, f *flight, id string) (*Channel[R], Facts, error) {
	lease, err := m.p.Acquire(ctx)
	for err == nil && !m.fresh(lease.Conn()) { // it broke while it was idle
		lease.Discard()
		lease, err = m.p.Acquire(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.flights {
		if m.flights[i] == f {
			m.flights = append(m.flights[:i], m.flights[i+1:]...)
			break
		}
	}
	close(f.done)
	if err != nil {
		return nil, Facts{}, err
	}
	l := lease.Conn()
	l.lease = lease
	m.lines = append(m.lines, l)
	pf := lease.Facts()
	facts := Facts{Reused: pf.Reused}
	if !pf.Reused {
		facts = l.Facts()
	}
	facts.Acquire, facts.Wait = pf.AcquireTime, pf.WaitTime
	return l.add(id), facts, nil
}

func (m *Mux[R]) fresh(l *line[R]) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return l.hasRoom()
}

// Prewarm dials in the background unless a connection has room.
func (m *Mux[R]) Prewarm() {
	m.mu.Lock()
	for _, l := range m.lines {
		if l.hasRoom() {
			m.mu.Unlock()
			return
		}
	}
	m.mu.Unlock()
	m.p.Prewarm()
}

// Close ends the connections: those that carry streams when the last of these is closed, or at the end
// of ctx; see connpool.Pool.Close.
func (m *Mux[R]) Close(ctx context.Context) error { return m.p.Close(ctx) }

// From here on the caller holds the lock.

func (l *line[R]) hasRoom() bool {
	select {
	case <-l.Dead():
		return false
	default:
	}
	return l.bad == nil && len(l.channels) < l.m.o.Streams && (l.m.o.MaxAge <= 0 || time.Since(l.opened) <= l.m.o.MaxAge)
}

func (l *line[R]) add(id string) *Channel[R] {
	c := &Channel[R]{l: l, id: id, wake: make(chan struct{}, 1), over: make(chan struct{}), sem: make(chan struct{}, 1)}
	l.channels[id] = c
	l.live++
	return c
}

// spoil makes l carry no more streams if err is one.
func (l *line[R]) spoil(err error) {
	if l.bad == nil {
		l.bad = err
	}
}

// leave is told that a stream was closed.
func (l *line[R]) leave() {
	if l.live--; l.live > 0 {
		return
	}
	for i := range l.m.lines {
		if l.m.lines[i] == l {
			l.m.lines = append(l.m.lines[:i], l.m.lines[i+1:]...)
			break
		}
	}
	if l.hasRoom() {
		l.lease.Release()
	} else {
		l.lease.Discard()
	}
}

// Channel is one stream of a Mux. Next belongs to one goroutine at a time; the other methods may be
// called from any. The caller closes it.
type Channel[R any] struct {
	l     *line[R]
	id    string
	facts Facts
	wake  chan struct{} // one token: there is something for Next
	over  chan struct{} // closed by Close
	sem   chan struct{} // size 1: held while a message is written

	// What follows belongs to the lock of the mux.
	ctx    context.Context // of the last Next
	queue  []R             // at most maxUnread
	err    error           // after the queue
	begun  bool            // the provider knows of it
	ended  bool            // the provider was told that it ends
	last   bool            // the provider has ended it
	closed bool
}

// Acquired implements Connected of the drivers.
func (c *Channel[R]) Acquired() (took time.Duration, reused bool) {
	return c.facts.Acquire, c.facts.Reused
}

// ID is the id that the stream was opened with.
func (c *Channel[R]) ID() string { return c.id }

// WriteJSON sends text messages, one after the other.
func (c *Channel[R]) WriteJSON(ctx context.Context, messages ...any) error {
	return c.write(ctx, messages, false)
}

// End is WriteJSON of what tells the provider that the stream ends: Close then need not.
func (c *Channel[R]) End(ctx context.Context, messages ...any) error {
	return c.write(ctx, messages, true)
}

func (c *Channel[R]) write(ctx context.Context, messages []any, end bool) error {
	select {
	case c.sem <- struct{}{}:
		defer func() { <-c.sem }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.l.m.mu.Lock()
	closed := c.closed
	c.l.m.mu.Unlock()
	if closed {
		return c.gone()
	}
	for _, v := range messages {
		if err := c.l.WriteJSON(ctx, v); err != nil {
			return err
		}
		c.l.m.mu.Lock()
		c.begun = true
		c.l.m.mu.Unlock()
	}
	c.l.m.mu.Lock()
	c.ended = c.ended || end
	c.l.m.mu.Unlock()
	return nil
}

// Next waits for the next message of the stream. What came before a connection's end is returned
// before the error of the end.
func (c *Channel[R]) Next(ctx context.Context) (r R, err error) {
	c.l.m.mu.Lock()
	c.ctx = ctx
	c.l.m.mu.Unlock()
	for {
		if r, ok, err := c.pop(); ok || err != nil {
			return r, err
		}
		select {
		case <-c.wake:
		case <-c.l.Dead():
			if r, ok, err := c.pop(); ok || err != nil {
				return r, err
			}
			return r, c.l.peer.closed("receive", c.l.readErr)
		case <-c.over:
		case <-ctx.Done():
			return r, context.Cause(ctx)
		}
	}
}

func (c *Channel[R]) pop() (r R, ok bool, err error) {
	c.l.m.mu.Lock()
	defer c.l.m.mu.Unlock()
	switch {
	case c.closed:
		return r, false, c.gone()
	case len(c.queue) > 0:
		r, c.queue = c.queue[0], c.queue[1:]
		return r, true, nil
	}
	return r, false, c.err
}

func (c *Channel[R]) gone() error {
	return c.l.peer.Error(model.KindConnection, "receive", net.ErrClosed)
}

// byeLimit bounds the sending of a farewell.
const byeLimit = 100 * time.Millisecond

// Close ends the stream: bye is sent if the provider knows of the stream and neither side has ended
// it. The connection goes on, but carries no further streams when bye cannot be sent, or when a wait
// for this stream was given up for another reason than that nobody wanted the answer: then the
// connection may be to blame. It takes 100 ms at the most and may be called more than once.
func (c *Channel[R]) Close(bye any) {
	m := c.l.m
	m.mu.Lock()
	if c.closed {
		m.mu.Unlock()
		return
	}
	c.closed, c.queue = true, nil // nothing more is written from here on, but one message may be on its way
	close(c.over)
	m.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), byeLimit)
	defer cancel()
	var stuck error
	select {
	case c.sem <- struct{}{}:
		defer func() { <-c.sem }()
	case <-ctx.Done():
		stuck = ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c.l.spoil(stuck)
	if c.ctx != nil && c.ctx.Err() != nil && !errors.Is(context.Cause(c.ctx), context.Canceled) {
		c.l.spoil(context.Cause(c.ctx))
	}
	if c.begun && !c.ended && !c.last && c.l.bad == nil {
		m.mu.Unlock()
		err := c.l.WriteJSON(ctx, bye)
		m.mu.Lock()
		c.l.spoil(err)
	}
	if !c.begun || c.last {
		delete(c.l.channels, c.id)
	}
	c.l.leave()
}

// fail ends the stream with err, once what came before is read.
func (c *Channel[R]) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.signal()
}

func (c *Channel[R]) signal() {
	select {
	case c.wake <- struct{}{}:
	default: // a token is waiting
	}
}
