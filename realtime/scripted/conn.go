package scripted

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/realtime/driver"
)

var (
	errClosed = errors.New("scripted: connection is closed")
	errBusy   = errors.New("a response is under way")
)

// due is an event that may be given from a time on.
type due struct {
	at   time.Time
	e    driver.Event
	resp *response // that it belongs to; nil for none
	then func()    // when it was given
}

// conn is a connection. Everything but r, n and given belongs to the lock of r.
type conn struct {
	r     *Realtime
	n     int          // Connects before it
	dial  int          // Dials before it
	given driver.Setup // as it began
	wake  chan struct{}
	gone  chan struct{}
	began time.Time

	setup  driver.Setup // as it is
	items  []chat.Item
	out    []due
	fault  *Fault // that struck
	inTime bool   // it ends in order
	closed bool
	resp   *response // under way
	count  int       // responses
	lastID int

	pos      time.Duration // audio heard
	sounding bool
	from     time.Duration // of the sound
	end      time.Duration
	billed   time.Duration // audio that a response was billed for
	spoken   bool          // sound since the last commit or clear
}

func newConn(r *Realtime, n int, s *driver.Setup) *conn {
	c := &conn{r: r, n: n, dial: r.ledger.Dials, wake: make(chan struct{}, 1), gone: make(chan struct{}), began: time.Now()}
	c.given = *s
	c.given.History = s.History.Copy(nil)
	c.given.Tools = slices.Clone(s.Tools)
	c.setup = c.given
	c.items = s.History.Items()
	return c
}

func (c *conn) id(prefix string) string {
	c.lastID++
	return prefix + "_" + strconv.Itoa(c.n) + "_" + strconv.Itoa(c.lastID)
}

// give tells e after d and the latency.
func (c *conn) give(d time.Duration, e driver.Event) { c.put(due{at: c.after(d), e: e}) }

func (c *conn) after(d time.Duration) time.Time { return time.Now().Add(c.r.o.Latency + d) }

func (c *conn) put(d due) {
	if c.closed || c.fault != nil {
		return
	}
	i := len(c.out)
	for i > 0 && c.out[i-1].at.After(d.at) {
		i--
	}
	c.out = slices.Insert(c.out, i, d)
	c.signal()
}

func (c *conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default: // a token is waiting already
	}
}

// strike has f happen now.
func (c *conn) strike(f *Fault, inTime bool) {
	if c.fault != nil {
		return
	}
	c.fault, c.inTime, c.out = f, inTime, nil
	if c.resp != nil {
		c.resp.bill(driver.Failed)
		c.resp = nil
	}
	c.signal()
}

// struck has the fault of the moment happen, if there is one that ends or stalls the connection.
func (c *conn) struck(when When, n int) bool {
	f := c.r.fault(c.n, when, n)
	if f == nil || f.Kind == Reject || f.Kind == Broken || f.Kind == Repeated {
		return false
	}
	c.strike(f, f.Kind == Hangup)
	return true
}

// Next implements driver.Conn.
func (c *conn) Next(ctx context.Context) (driver.Event, error) {
	for {
		e, at, err := c.take()
		if e != nil || err != nil {
			return e, err
		}
		var late <-chan time.Time
		var t *time.Timer
		if !at.IsZero() {
			t = time.NewTimer(time.Until(at))
			late = t.C
		}
		select {
		case <-late:
		case <-c.wake:
		case <-c.gone:
		case <-ctx.Done():
			err = ctx.Err()
		}
		if t != nil {
			t.Stop()
		}
		if err != nil {
			return nil, err
		}
	}
}

func (c *conn) take() (driver.Event, time.Time, error) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	switch {
	case c.closed:
		return nil, time.Time{}, errClosed
	case c.fault != nil && c.inTime:
		return nil, time.Time{}, io.EOF
	case c.fault != nil && c.fault.Kind != Stall:
		return nil, time.Time{}, c.fault.error(c.r.o.Info)
	case len(c.out) == 0:
		return nil, time.Time{}, nil
	}
	d := c.out[0]
	if time.Until(d.at) > 0 {
		return nil, d.at, nil
	}
	c.out = c.out[1:]
	if d.then != nil {
		d.then()
	}
	return d.e, time.Time{}, nil
}

// Close implements driver.Conn.
func (c *conn) Close() error {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	close(c.gone)
	if c.resp != nil {
		c.resp.bill(driver.Cancelled)
		c.resp = nil
	}
	c.r.ledger.Open--
	c.r.ledger.Time += time.Since(c.began)
	return nil
}

// send runs f unless the connection takes nothing any more.
func (c *conn) send(f func() error) error {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if c.closed {
		return errClosed
	}
	if c.struck(AtSend, 0) || c.fault != nil {
		return nil // it was written, and nobody reads it
	}
	return f()
}

// Push implements driver.Conn.
func (c *conn) Push(_ context.Context, f audio.Frame) error {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if c.closed {
		return errClosed
	}
	if c.fault != nil {
		return nil
	}
	c.pos += f.Duration()
	c.r.ledger.Heard[c.dial] = c.pos
	if c.loud(f) {
		c.spoken = true
		c.end = c.pos
		if !c.sounding {
			c.sounding, c.from = true, c.pos-f.Duration()
			if !c.setup.ClientTurns {
				c.speechStarted()
			}
		}
		return nil
	}
	if c.sounding && !c.setup.ClientTurns && c.pos-c.end >= c.r.o.Silence {
		c.sounding = false
		item := c.id("user")
		c.give(0, &driver.SpeechStopped{ItemID: item})
		c.turnOver(item)
		c.respond(&driver.Request{}, nil)
	}
	return nil
}

func (c *conn) loud(f audio.Frame) bool {
	sum := 0
	for _, v := range f.Data {
		sum += max(int(v), -int(v))
	}
	return len(f.Data) > 0 && sum/len(f.Data) >= c.r.o.Threshold
}

func (c *conn) speechStarted() {
	if c.struck(AtSpeech, 0) {
		return
	}
	c.give(0, &driver.SpeechStarted{})
	if c.resp != nil && !c.r.o.NoInterrupt {
		c.give(0, &driver.Interrupted{ResponseID: c.resp.id})
		c.resp.cancel()
	}
}

// turnOver puts what the user said into the conversation.
func (c *conn) turnOver(item string) {
	text := ""
	if c.r.text < len(c.r.o.Texts) {
		text = c.r.o.Texts[c.r.text]
		c.r.text++
	}
	m := &chat.Message{Header: chat.Header{ID: item}, Role: chat.User}
	c.tellItem(m)
	heard := *m
	heard.Content = []chat.Part{chat.Text(text)}
	c.replace(&heard)
	if !c.r.o.Capabilities.UserTranscription {
		return
	}
	d := c.r.o.TranscriptDelay
	c.give(d, &driver.Transcript{ItemID: item, Text: text, Final: true, Confidence: 1})
	if c.repeats() {
		c.give(d, &driver.Transcript{ItemID: item, Text: text, Final: true, Confidence: 1})
	}
	if c.r.o.TranscriptModel != "" {
		took := c.end - c.from
		c.r.ledger.Transcribed += took
		u := driver.TranscriptUsage{ItemID: item, Model: c.r.o.TranscriptModel, AudioDuration: took}
		c.give(d, &u)
		if c.repeats() {
			c.give(d, &u)
		}
	}
}

func (c *conn) repeats() bool {
	return slices.ContainsFunc(c.r.o.Faults, func(f Fault) bool { return f.Kind == Repeated && (f.Conn == -1 || f.Conn == c.n) })
}

// tellItem puts an item at the end of the conversation and tells of it.
func (c *conn) tellItem(it chat.Item) {
	after := ""
	if n := len(c.items); n > 0 {
		after = c.items[n-1].Head().ID
	}
	c.items = append(c.items, it)
	if !c.r.o.NoItems {
		told := it
		if m, ok := it.(*chat.Message); ok {
			x := *m
			told = &x
		}
		c.give(0, &driver.ItemAdded{After: after, Item: told})
	}
}

func (c *conn) index(id string) int {
	return slices.IndexFunc(c.items, func(it chat.Item) bool { return it.Head().ID == id })
}

func (c *conn) replace(it chat.Item) {
	if i := c.index(it.Head().ID); i >= 0 {
		c.items[i] = it
	}
}
