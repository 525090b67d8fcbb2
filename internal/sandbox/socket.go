package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/parley-go/parley/model/fault"
)

// Socket is a websocket of a sandbox. Read belongs to one goroutine; sends may come from any.
type Socket struct {
	c    *Call
	ws   *websocket.Conn
	ctx  context.Context // ends with the connection
	stop context.CancelFunc
	came atomic.Int64 // messages

	mu      sync.Mutex
	began   bool // a stream has
	content int  // messages of content of the newest stream; its faults strike at the second
	over    bool
}

// Stream begins a stream on the socket, with a fault of its own, and counts it until end is called.
// Faults of streams that run at the same time do not mix well.
func (s *Socket) Stream() (f fault.Kind, end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began {
		s.c.Fault = s.c.plans.take(ofRequest)
	}
	s.began, s.content = true, 0
	return s.c.Fault, s.c.Begin()
}

// ErrOver is returned when a fault, or the client, has ended a socket.
var ErrOver = errors.New("sandbox: socket is over")

// ErrIdle is returned when a client sent nothing for too long.
var ErrIdle = errors.New("sandbox: client is idle")

// socket accepts the websocket; nil when the client wants none. A socket is no call of its own, since it
// may carry several: see Stream.
func (c *Call) socket() *Socket {
	c.end()
	c.calls.Add(-1)
	c.upgrading.RLock() // the client may be here before Upgrade returns
	defer c.upgrading.RUnlock()
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	ws, err := up.Upgrade(c.W, c.R, nil)
	if err != nil {
		return nil
	}
	s := &Socket{c: c, ws: ws}
	s.ctx, s.stop = context.WithCancel(c.ctx)
	c.track(s)
	context.AfterFunc(s.ctx, func() { _ = ws.Close() })
	return s
}

// Context ends with the socket.
func (s *Socket) Context() context.Context { return s.ctx }

// Pause waits; false when stopped is closed first, or the socket has ended.
func (s *Socket) Pause(d time.Duration, stopped <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stopped:
	case <-s.ctx.Done():
	}
	return false
}

// Read waits for a message of the client.
func (s *Socket) Read() (binary bool, data []byte, err error) {
	kind, data, err := s.ws.ReadMessage()
	if err != nil {
		s.stop()
		return false, nil, ErrOver
	}
	s.came.Add(1)
	return kind == websocket.BinaryMessage, data, nil
}

// Send sends v as JSON; content says that it is part of the answer, where the faults of streams strike.
func (s *Socket) Send(v any, content bool) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.send(websocket.TextMessage, b, content)
}

// SendBinary sends b, which is part of the answer.
func (s *Socket) SendBinary(b []byte) error { return s.send(websocket.BinaryMessage, b, true) }

// NoteBinary sends b, which is no part of an answer: the faults of streams do not strike at it.
func (s *Socket) NoteBinary(b []byte) error { return s.send(websocket.BinaryMessage, b, false) }

func (s *Socket) send(kind int, b []byte, content bool) error {
	s.mu.Lock()
	if content && !s.over && breaks(s.c.Fault, s.content) {
		s.mu.Unlock() // others go on
		settle(s.ctx, &s.came)
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if s.over || s.ctx.Err() != nil { // a client that is gone is told nothing, although the write may work
		return ErrOver
	}
	if content {
		if s.strike() {
			s.over = true
			return ErrOver
		}
		s.content++
	}
	if s.ws.WriteMessage(kind, b) != nil {
		s.over = true
		return ErrOver
	}
	return nil
}

// strike does the fault of the socket when its time has come; true when nothing more is to be sent.
func (s *Socket) strike() bool {
	first, later := s.content == 0, s.content >= 2
	switch f := s.c.Fault; {
	case f == fault.Silence && first:
	case f == fault.Malformed && first:
		_ = s.ws.WriteMessage(websocket.TextMessage, []byte(`{"broken": `))
	case f == fault.Oversized && first:
		_ = s.ws.WriteMessage(websocket.TextMessage, []byte(`"`+big+`"`))
	case f == fault.Reset && later:
		reset(s.ws.UnderlyingConn())
	case f == fault.HangUp && later:
		s.Close(websocket.CloseNormalClosure, "")
	case (f == fault.Stall || f == fault.HalfOpen) && later:
	default:
		return false
	}
	return true
}

// HalfOpen reports whether the socket must not read any more either.
func (s *Socket) HalfOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over && s.c.Fault == fault.HalfOpen
}

// Close ends the socket with a code.
func (s *Socket) Close(code int, reason string) {
	_ = s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), noDeadline)
	s.stop()
}

// Wait waits until the client or the sandbox has ended the socket.
func (s *Socket) Wait() { <-s.ctx.Done() }

// noDeadline lets a control message wait as long as the connection lives.
var noDeadline time.Time

// Hang waits for the end of the socket when its fault is to fall silent.
func (s *Socket) Hang() {
	s.mu.Lock()
	f := s.c.Fault
	s.mu.Unlock()
	if f == fault.Stall || f == fault.HalfOpen || f == fault.Silence {
		<-s.ctx.Done()
	}
}
