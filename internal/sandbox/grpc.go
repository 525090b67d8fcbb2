package sandbox

import (
	"encoding/binary"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/model/fault"
)

// GRPC is one call of a gRPC method in a sandbox. Next and Send belong to the handler's goroutine.
type GRPC struct {
	c       *Call
	in      *Inbox
	content int // messages of content that were sent
	over    bool
	came    atomic.Int64 // messages of the client

	mu   sync.Mutex
	half bool // the client has ended its side
}

// maxGRPC bounds the messages of clients.
const maxGRPC = 4 << 20

// HandleGRPC serves a method, e.g. "/package.Service/Method". begin accepts or refuses a call; of one that
// it accepts, take sees each message of the client as it comes, and serve answers. Clients may send before
// they get an answer, so that SlowDial takes what comes and says nothing.
func (s *Server) HandleGRPC(method string, begin func(*Call) (take func(m []byte), serve func(*GRPC))) {
	s.handle("POST "+method, ofRequest, func(c *Call) bool {
		c.grpc = true
		return c.Fault != fault.SlowDial && c.Fault != fault.Silence && c.strike()
	}, func(c *Call) {
		switch {
		case c.R.ProtoMajor != 2 || c.R.Header.Get("Te") != "trailers":
			c.Refuse(400, "gRPC needs HTTP/2 and trailers")
			return
		case !strings.HasPrefix(c.R.Header.Get("Content-Type"), "application/grpc"):
			c.Refuse(http.StatusUnsupportedMediaType, "content type is "+c.R.Header.Get("Content-Type"))
			return
		}
		take, serve := begin(c)
		if serve == nil {
			return // refused
		}
		g := &GRPC{c: c, over: c.Fault == fault.SlowDial || c.Fault == fault.Silence}
		g.in = c.inbox(g.read, func(_ bool, m []byte) { take(m) })
		c.W.Header().Set("Content-Type", "application/grpc")
		if g.over {
			g.Hang()
			return
		}
		_ = http.NewResponseController(c.W).Flush()
		serve(g)
	})
}

// read reads one message.
func (g *GRPC) read() (_ bool, m []byte, err error) {
	var head [5]byte
	if _, err = io.ReadFull(g.c.R.Body, head[:]); err == nil {
		n := binary.BigEndian.Uint32(head[1:])
		if head[0] != 0 || n > maxGRPC {
			return false, nil, ErrOver
		}
		m = make([]byte, n)
		_, err = io.ReadFull(g.c.R.Body, m)
		g.came.Add(1)
	} else if err == io.EOF {
		g.mu.Lock()
		g.half = true
		g.mu.Unlock()
	}
	return false, m, err
}

// Next waits for a message, until limit has passed without one if it is not 0 (ErrIdle). io.EOF says that
// the client has ended its side, ErrOver that it is gone.
func (g *GRPC) Next(limit time.Duration) ([]byte, error) {
	_, m, err := g.in.Next(limit)
	if err == ErrOver {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.half {
			return nil, io.EOF
		}
	}
	return m, err
}

// Send sends a message; content says that it is part of the answer, where the faults of streams strike.
// False means that the call is over, and the handler is to return.
func (g *GRPC) Send(m []byte, content bool) bool {
	if g.over {
		return false
	}
	if content {
		if breaks(g.c.Fault, g.content) {
			settle(g.c.R.Context(), &g.came)
		}
		if g.strike() {
			g.over = true
			return false
		}
		g.content++
	}
	g.over = !g.write(m)
	return !g.over
}

func (g *GRPC) write(m []byte) bool {
	head := make([]byte, 5)
	binary.BigEndian.PutUint32(head[1:], uint32(len(m)))
	if _, err := g.c.W.Write(append(head, m...)); err != nil {
		return false
	}
	return http.NewResponseController(g.c.W).Flush() == nil
}

func (g *GRPC) strike() bool {
	first, later := g.content == 0, g.content >= 2
	switch f := g.c.Fault; {
	case f == fault.Malformed && first:
		g.write([]byte{0xff, 0xff, 0xff})
		g.Hang()
	case f == fault.Oversized && first:
		g.write([]byte(big))
		g.Hang()
	case f == fault.Reset && later:
		g.Reset()
	case f == fault.HangUp && later:
		g.trailers(0, "")
	case (f == fault.Stall || f == fault.HalfOpen) && later:
		g.Hang()
	default:
		return false
	}
	return true
}

// Hang waits until the client or the sandbox has ended the call. What comes is taken.
func (g *GRPC) Hang() {
	select {
	case <-g.c.R.Context().Done():
	case <-g.c.ctx.Done():
	}
}

// Reset breaks the call, and does not return.
func (g *GRPC) Reset() { panic(http.ErrAbortHandler) }

// End ends the call with a code of gRPC, 0 if all is well.
func (g *GRPC) End(code int, message string) {
	if !g.over {
		g.over = true
		g.trailers(code, message)
	}
}

func (g *GRPC) trailers(code int, message string) {
	g.c.W.Header().Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(code))
	g.c.W.Header().Set(http.TrailerPrefix+"Grpc-Message", url.PathEscape(message))
}

// refuseGRPC answers without a message.
func (c *Call) refuseGRPC(status int, message string) {
	code, ok := map[int]int{400: 3, 401: 16, 403: 7, 404: 5, 429: 8, 503: 14}[status]
	if !ok {
		code = 2
	}
	c.W.Header().Set("Content-Type", "application/grpc")
	c.W.Header().Set("Grpc-Status", strconv.Itoa(code))
	c.W.Header().Set("Grpc-Message", url.PathEscape(message))
	c.W.WriteHeader(http.StatusOK)
}
