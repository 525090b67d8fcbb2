package sandbox

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/model/fault"
)

// Framing is how messages are told apart in a body that goes on in both directions.
type Framing struct {
	Type string // content type, of both
	// Read reads a message of the client.
	Read func(io.Reader) ([]byte, error)
	// Frame is a message as it is sent.
	Frame func(m []byte) []byte
	// Broken is what no client can read.
	Broken []byte
	// End, if set, says that all is well, before the answer ends. Without it a call is a conversation: Silence
	// strikes what it answers, and not its opening.
	End  func(*Duplex)
	grpc bool
}

// Duplex is a request of HTTP/2 in a sandbox that goes on while it is answered. Next belongs to the handler's
// goroutine; messages may be sent by any.
type Duplex struct {
	c    *Call
	f    Framing
	in   *Inbox
	came atomic.Int64 // messages of the client

	mu      sync.Mutex
	half    bool // the client has ended its side
	began   bool // a stream has
	content int  // messages of content of the newest stream
	over    bool
	reset   bool // ends with a reset
	hangs   bool // goes on without a word
}

// HandleDuplex serves a pattern of http.ServeMux. begin accepts or refuses a call; of one that it accepts, take sees
// each message of the client as it comes, and serve answers. Clients may send before they get an answer, so that
// SlowDial takes what comes and says nothing.
func (s *Server) HandleDuplex(pattern string, f Framing, begin func(*Call) (take func(m []byte), serve func(*Duplex))) {
	s.handle(pattern, ofRequest, func(c *Call) bool {
		c.grpc = f.grpc
		return c.Fault != fault.SlowDial && c.Fault != fault.Silence && c.Fault != fault.CloseEarly && c.strike()
	}, func(c *Call) {
		switch {
		case c.R.ProtoMajor != 2:
			c.Refuse(400, "HTTP/2 is needed")
			return
		case !strings.HasPrefix(c.R.Header.Get("Content-Type"), f.Type):
			c.Refuse(http.StatusUnsupportedMediaType, "content type is "+c.R.Header.Get("Content-Type"))
			return
		}
		take, serve := begin(c)
		if serve == nil {
			return // refused
		}
		mute := c.Fault == fault.SlowDial || c.Fault == fault.Silence && f.End != nil
		d := &Duplex{c: c, f: f, over: mute, hangs: mute}
		d.in = c.inbox(d.read, func(_ bool, m []byte) { take(m) })
		c.W.Header().Set("Content-Type", f.Type)
		if c.Fault == fault.CloseEarly {
			settle(c.R.Context(), &d.came) // what it took until then is billed
			d.Reset()
		}
		if !mute {
			_ = http.NewResponseController(c.W).Flush()
			serve(d)
		}
		d.finish()
	})
}

// finish does what a fault leaves to be done when the handler has ended.
func (d *Duplex) finish() {
	d.mu.Lock()
	hangs, reset := d.hangs, d.reset
	d.mu.Unlock()
	if hangs {
		d.Hang()
	}
	if reset {
		panic(http.ErrAbortHandler)
	}
}

// Stream begins a stream of answers, with a fault of its own, and counts it until end is called; see Socket.Stream.
func (d *Duplex) Stream() (f fault.Kind, end func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.began {
		d.c.Fault = d.c.plans.take(ofRequest)
	}
	d.began, d.content = true, 0
	return d.c.Fault, d.c.Begin()
}

// read reads one message.
func (d *Duplex) read() (_ bool, m []byte, err error) {
	if m, err = d.f.Read(d.c.R.Body); err == nil {
		d.came.Add(1)
	} else if err == io.EOF {
		d.mu.Lock()
		d.half = true
		d.mu.Unlock()
	}
	return false, m, err
}

// Next waits for a message, until limit has passed without one if it is not 0 (ErrIdle). io.EOF says that
// the client has ended its side, ErrOver that it is gone, or that a fault has ended the call.
func (d *Duplex) Next(limit time.Duration) ([]byte, error) {
	_, m, err := d.in.Next(limit)
	if err == ErrOver {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.half {
			return nil, io.EOF
		}
	}
	return m, err
}

// Send sends a message; content says that it is part of the answer, where the faults of streams strike.
// False means that nothing more will be sent.
func (d *Duplex) Send(m []byte, content bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return false
	}
	if content {
		if breaks(d.c.Fault, d.content) {
			d.mu.Unlock() // others go on
			settle(d.c.R.Context(), &d.came)
			d.mu.Lock()
		}
		if d.over || d.strike() {
			d.over = true
			return false
		}
		d.content++
	}
	d.over = !d.write(d.f.Frame(m))
	return !d.over
}

func (d *Duplex) write(b []byte) bool {
	if _, err := d.c.W.Write(b); err != nil {
		return false
	}
	return http.NewResponseController(d.c.W).Flush() == nil
}

// strike does the fault of the stream when its time has come; true when nothing more is to be sent. With the lock.
func (d *Duplex) strike() bool {
	first, later := d.content == 0, d.content >= 2
	switch f := d.c.Fault; {
	case f == fault.Malformed && first:
		d.write(d.f.Broken)
		d.hangs = true
	case f == fault.Oversized && first:
		d.write(d.f.Frame([]byte(big)))
		d.hangs = true
	case f == fault.Silence && first, (f == fault.Stall || f == fault.HalfOpen) && later:
		d.hangs = true
	case f == fault.Reset && later:
		d.reset = true
		_ = d.c.R.Body.Close() // so that Next ends
	case f == fault.HangUp && later:
		if d.f.End != nil {
			d.f.End(d)
		}
		_ = d.c.R.Body.Close()
	default:
		return false
	}
	return true
}

// Hang waits until the client or the sandbox has ended the call. What comes is taken.
func (d *Duplex) Hang() {
	select {
	case <-d.c.R.Context().Done():
	case <-d.c.ctx.Done():
	}
}

// Reset breaks the call. It is for the handler's goroutine, and does not return.
func (d *Duplex) Reset() { panic(http.ErrAbortHandler) }
