package realtime

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

const (
	// lastWords is how long a provider may still explain itself after it refused something.
	lastWords = 250 * time.Millisecond
	// stable is how long a connection must live for its end not to count as one more failure.
	stable = time.Minute
	// quietWait is how long a new connection that takes a change waits for a quiet moment.
	quietWait = 5 * time.Second
)

var (
	errEarlyEnd = errors.New("provider ended the connection")
	errStuck    = errors.New("provider takes nothing any more")
)

// connection is one connection of a session. Its fields from has on belong to the session's lock.
type connection struct {
	s       *Session
	m       *Model
	d       driver.Conn
	ctx     context.Context
	cancel  context.CancelCauseFunc
	closing sync.Once
	began   time.Time
	fed     chan error // the feeder's only word: why it stopped, nil if it was not its fault
	good    bool       // something came that only a provider that is well gives; of the receiver

	has         state             // what the provider is believed to have
	unsupported map[string]bool   // items that it has no form for
	sound       sound             // of what was said over it
	blind       bool              // it takes no images
	places      map[string]string // last item when the user had said the one that is the key
	commits     []string          // the same for turns that the caller ended, whose items are not known yet
	responses   map[string]*response
	unpaid      map[string]*response // that are over, and whose usage comes later
	withdrawn   []withdrawal         // the provider may answer, and bill, them; in their order
	seen        recent               // what was booked
	going       *renewal             // planned; nil for none
	gone        bool                 // that it will end was told by the provider
	billed      time.Time
}

// renewal is a reason to go on over another connection.
type renewal struct {
	why      string
	soft     time.Time // from when on, when it is quiet; zero for at once
	deadline time.Time // latest; zero for at once
	fresh    bool      // what the provider remembers of the conversation is no longer right
	hold     bool      // nothing is generated before, and what is goes on to its end
	swap     bool      // to another model
}

func (r *renewal) Error() string { return "new connection: " + r.why }

// converse holds the conversation with one model after the other, until the session is over or all failed.
func (s *Session) converse() error {
	if s.m.group == nil {
		return s.connectAll()
	}
	return s.converseWithAny()
}

// connectAll connects to the present model again and again, until it has failed too often.
func (s *Session) connectAll() error {
	retries := 0
	for {
		began := time.Now()
		good, err := s.connect()
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if good || time.Since(began) >= stable {
			retries, s.tried = 0, nil
		}
		var planned *renewal
		if errors.As(err, &planned) {
			if planned.swap && s.mayPassOn() {
				return err
			}
			continue
		}
		again := retries < s.conn.MaxRetry && model.Retryable(err)
		s.mu.Lock()
		s.report(err, again || s.mayPassOn(), retries)
		s.unlock()
		if !again {
			return attempt.Exhausted(s.who.info, "session", retries+1, err)
		}
		if s.conn.Wait(s.ctx, retries, err) != nil {
			return s.ctx.Err()
		}
		retries++
	}
}

// connect runs one connection to its end.
func (s *Session) connect() (good bool, err error) {
	c, err := s.open()
	if err != nil {
		return false, err
	}
	stop := context.AfterFunc(c.ctx, c.close)
	go func() { c.fed <- c.feed() }()
	err = c.receive()
	if cause := context.Cause(c.ctx); cause != nil && s.ctx.Err() == nil {
		err = cause
	}
	// Why something was refused tells more than an early end; but what is refused from here on is refused
	// because the connection is closed below.
	fed := false
	select {
	case refused := <-c.fed:
		fed = true
		if refused != nil && errors.Is(err, errEarlyEnd) {
			err = refused
		}
	default:
	}
	stop()
	c.close()
	c.cancel(err)
	if !fed {
		<-c.fed
	}
	c.ended(err)
	return c.good, err
}

// close returns when the driver has closed it, whoever told it to.
func (c *connection) close() {
	c.closing.Do(func() { _ = c.m.guard("close", c.d.Close) })
}

// open makes a connection with the session's present state.
func (s *Session) open() (*connection, error) {
	s.mu.Lock()
	m, has := s.who, s.target().clone()
	setup := &driver.Setup{
		Instructions: has.instructions, Tools: has.tools, ToolChoice: has.choice, History: has.conv.context(),
		ClientTurns: s.o.ClientTurns, TextOnly: s.o.TextOnly, Resume: s.resume,
	}
	s.unlock()
	ctx, cancel := context.WithTimeout(s.ctx, s.conn.Timeout)
	defer cancel()
	began := time.Now()
	d, err := m.dial(ctx, setup)
	if err != nil {
		if setup.Resume != nil && !unreachable(err) {
			s.resume = nil // it may be what was refused
		}
		return nil, attempt.Classify(s.ctx, m.info, "connect", s.conn.Timeout, err)
	}
	c := &connection{
		s: s, m: m, d: d, began: madeAt(began, d), fed: make(chan error, 1), has: has,
		unsupported: map[string]bool{}, sound: sound{of: map[string]float64{}, silent: map[string]bool{}}, places: map[string]string{}, responses: map[string]*response{}, unpaid: map[string]*response{},
	}
	c.ctx, c.cancel = context.WithCancelCause(s.ctx)
	s.mu.Lock()
	defer s.unlock()
	s.connected(c, began)
	return c, nil
}

// dial makes a connection. One that does not come about is told in an event of its own, besides those of what the
// driver did dial.
func (m *Model) dial(ctx context.Context, setup *driver.Setup) (d driver.Conn, err error) {
	began := time.Now()
	err = m.guard("connect", func() (err error) {
		d, err = m.d.Connect(ctx, setup)
		return err
	})
	if err == nil && d == nil {
		err = m.error(model.KindProtocol, "connect", errors.New("driver returned no connection"))
	}
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		e := &metrics.Connection{Header: m.header(metrics.Measured), Kind: "realtime", AcquireTime: time.Since(began)}
		e.Outcome = metrics.Failed
		metrics.Record(ctx, e)
	}
	return d, err
}

// madeAt is when a connection began, from when on its time is billed: before its provider took input.
func madeAt(asked time.Time, d driver.Conn) time.Time {
	if a, ok := d.(driver.Connected); ok {
		if took, reused := a.Acquired(); !reused && took < time.Since(asked) {
			return asked.Add(took)
		}
	}
	return time.Now()
}

func unreachable(err error) bool {
	var e *model.Error
	return errors.As(err, &e) && (e.Kind == model.KindConnection || e.Kind == model.KindTimeout)
}

// connected has the session go on over c, which was asked for at began.
func (s *Session) connected(c *connection, began time.Time) {
	if a, ok := c.d.(driver.Connected); ok {
		e := &metrics.Realtime{Header: c.m.header(metrics.Measured), TTFT: metrics.NoOutput, Acquired: true}
		e.AcquireTime, e.ConnectionReused = a.Acquired()
		s.record(e)
		if made := began.Add(e.AcquireTime); !e.ConnectionReused && made.Before(c.began) {
			c.began = made // the provider counts from here, and not from when it has taken what a session begins with
		}
	}
	c.billed = c.began
	if d := c.m.caps.MaxAge; d > 0 {
		margin := min(d/10, 2*time.Minute)
		c.going = &renewal{why: "age", soft: c.began.Add(d - margin), deadline: c.began.Add(d - margin/10)}
	}
	s.c = c
	s.turns.reheard(s.o.ClientTurns)
	s.rewind()
	if s.reconnecting {
		s.tell(&Reconnected{Info: c.m.info, Swapped: s.swapped, Cut: s.cut && (!s.swapped || s.m.again)})
	}
	s.reconnecting, s.swapped, s.cut = true, false, false
	asked := s.ops // after what was changed while the connection was made
	s.ops = nil
	s.reconcile()
	s.ops = append(s.ops, asked...)
	s.askOrphans()
	s.signal()
}

// ended takes leave of a connection.
func (c *connection) ended(err error) {
	s := c.s
	s.mu.Lock()
	defer s.unlock()
	s.c = nil
	s.resume = nil
	var planned *renewal
	if p, ok := c.d.(driver.Resumer); ok && !(errors.As(err, &planned) && (planned.fresh || planned.swap)) {
		_ = c.m.guard("resume", func() error { s.resume = p.Resumption(); return nil })
	}
	c.bill()
	c.leaveResponses(err)
	if s.turns.speaking && !s.o.ClientTurns {
		s.turns.speaking = false
		s.turns.pending = append(s.turns.pending, turn{from: s.turns.from, to: s.next, over: time.Now()})
		s.tell(&SpeechStopped{})
	}
	s.drop(func(o *op) bool { return !o.turn && o.g == nil })
	for _, o := range s.ops {
		o.sent = false
	}
	s.acknowledgeAll(nil) // the next connection begins with it
	s.forgetUnknown()
}

// renew plans another connection, if none is planned that comes as early.
func (c *connection) renew(r renewal) {
	if c.going != nil {
		r.fresh, r.hold, r.swap = r.fresh || c.going.fresh, r.hold || c.going.hold, r.swap || c.going.swap
		r.soft, r.deadline = earliest(r.soft, c.going.soft), earliest(r.deadline, c.going.deadline)
	}
	c.going = &r
	c.s.signal()
}

// earliest is the earlier of two times, of which zero is at once.
func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// end ends the connection for r.
func (c *connection) end(r *renewal) { c.cancel(r) }

// moment is when there is something to do besides what is queued; zero for never. It reports whether the time of
// the connection is over, and ends it then.
func (c *connection) moment() (t time.Time, over bool) {
	now := time.Now()
	if r := c.going; r != nil && !(r.hold && !c.gone && c.busy()) { // no change is worth an answer
		if !r.deadline.After(now) || (!r.soft.After(now) && c.isQuiet()) {
			c.end(r)
			return t, true
		}
		t = r.deadline
		if r.soft.After(now) {
			t = r.soft
		}
	}
	if c.m.caps.BilledByTime {
		if now.Sub(c.billed) >= billEvery {
			c.bill()
		}
		t = earlier(t, c.billed.Add(billEvery))
	}
	return earlier(t, c.s.orphansDue()), false
}

// isQuiet reports whether nothing would be lost or late by another connection.
func (c *connection) isQuiet() bool {
	s := c.s
	if c.busy() || s.turns.speaking || s.turns.open || len(s.acks) > 0 {
		return false
	}
	for _, t := range s.turns.pending {
		if time.Since(t.over) < s.conn.Timeout { // the provider may still answer
			return false
		}
	}
	for _, o := range s.ops {
		if o.g != nil && o.sent {
			return false
		}
	}
	return true
}

// receive takes the driver's events until the connection ends.
func (c *connection) receive() error {
	timeout := c.s.conn.Timeout
	dog := time.AfterFunc(timeout, func() {
		if c.owed() {
			c.cancel(attempt.Timeout(c.m.info, "generate", timeout))
		}
	})
	defer dog.Stop()
	for {
		if err := c.waitForReader(); err != nil {
			return err
		}
		dog.Reset(timeout)
		var e driver.Event
		err := c.m.guard("receive", func() (err error) {
			e, err = c.d.Next(c.ctx)
			return err
		})
		dog.Stop()
		switch {
		case errors.Is(err, io.EOF):
			return c.endOfConnection()
		case err != nil:
			return err
		case e == nil:
			return c.m.error(model.KindProtocol, "receive", errors.New("driver returned no event"))
		}
		c.handle(e)
	}
}

// waitForReader leaves the provider waiting while events are not taken.
func (c *connection) waitForReader() error {
	for c.s.events.len() >= eventQueue {
		select {
		case <-c.s.took:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
	return nil
}

// endOfConnection judges an orderly end: it is one that was planned if the provider said so before.
func (c *connection) endOfConnection() error {
	c.s.mu.Lock()
	defer c.s.unlock()
	if c.gone {
		return c.going
	}
	return c.m.error(model.KindConnection, "receive", errEarlyEnd)
}
