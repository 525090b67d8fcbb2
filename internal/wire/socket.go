package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/model"
)

const (
	// maxFrame bounds one message of a provider.
	maxFrame = 16 << 20
	// inbox is how many messages wait for Read; beyond it the provider is left waiting.
	inbox = 64
	// writeLimit bounds a write when its context has no earlier deadline: a peer that does not read for
	// that long is gone.
	writeLimit = 10 * time.Second
	// pingEvery is how often a connection is asked for a sign of life. A peer that gives none to two pings
	// in a row is gone.
	pingEvery = 30 * time.Second
	// goodbye bounds the closing handshake's only message.
	goodbye = time.Second
)

// Message is one message of a websocket.
type Message struct {
	Binary bool
	Data   []byte
}

// SocketOptions say how a websocket is opened.
type SocketOptions struct {
	URL    string
	Header http.Header
	// Alive is sent as text, every AliveEvery, to providers for whom a ping is no sign of life; "" for
	// nothing.
	Alive      string
	AliveEvery time.Duration
	// Proto are the subprotocols on offer.
	Proto []string
	// Reason, if set, makes an error of a text message in which the provider says why it will hang up, and
	// nil of any other. It is asked about the last messages before a send failed, and is not for what
	// concerns one of several requests. It may be called from any goroutine.
	Reason func(text []byte) error
	// Goodbye is sent as text before the connection is closed; "" for nothing.
	Goodbye string
	// Dial connects; nil for the network, or what WithDial says.
	Dial   DialFunc
	pooled bool // it has nobody who reads yet
	// Take, if set, gets every message at once, and Read none. It must not wait, nor close the socket.
	Take func(Message)
}

// Socket is a websocket whose messages are read all the time, so that its death is noticed while
// nobody uses it. Read belongs to one goroutine at a time; the other methods may be called from any.
type Socket struct {
	peer    *Peer
	ws      *websocket.Conn
	o       SocketOptions
	facts   Facts
	in      chan Message  // size inbox; the reader waits while it is full
	stop    chan struct{} // closed by Close
	dead    chan struct{} // closed when nothing more will be read
	readErr error         // valid once dead is closed
	said    words         // the last ones

	held atomic.Int32 // a holder
	once sync.Once
	wg   sync.WaitGroup
	sem  chan struct{} // size 1: held while a message is written
}

// The holders of a socket.
const (
	reader int32 = iota // what does not fit into the inbox waits
	nobody              // since it was dialled: what does not fit is dropped, so that its end is noticed
	idle                // nobody any more: what arrives is dropped
)

type dialKey struct{}

// WithDial returns a context in which websockets are opened over what dial connects to, such as a
// sandbox in memory inside of a testing/synctest bubble.
func WithDial(ctx context.Context, dial DialFunc) context.Context {
	return context.WithValue(ctx, dialKey{}, dial)
}

// Dial opens a websocket. ctx bounds the opening. The caller closes it.
func Dial(ctx context.Context, p *Peer, o SocketOptions) (*Socket, error) {
	ctx, t := traced(ctx)
	began := time.Now()
	d := websocket.Dialer{Proxy: http.ProxyFromEnvironment, Subprotocols: o.Proto, HandshakeTimeout: 45 * time.Second}
	var stop func() bool
	connect := network(&net.Dialer{KeepAlive: 30 * time.Second})
	if f, ok := ctx.Value(dialKey{}).(DialFunc); ok {
		connect = f
	}
	if o.Dial != nil {
		connect = o.Dial
	}
	d.NetDialContext = func(inner context.Context, network, addr string) (net.Conn, error) {
		c, err := connect(inner, network, addr)
		if err == nil { // the handshake itself does not listen to ctx
			stop = context.AfterFunc(ctx, func() { _ = c.Close() })
		}
		return c, err
	}
	ws, resp, err := d.DialContext(ctx, o.URL, o.Header)
	if stop != nil && !stop() && err == nil {
		_ = ws.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		overdue(ctx)
		if ctx.Err() == context.Canceled {
			return nil, context.Cause(ctx)
		}
		if resp != nil && errors.Is(err, websocket.ErrBadHandshake) {
			defer resp.Body.Close()
			body := make([]byte, 1024) // gorilla keeps no more
			n, _ := resp.Body.Read(body)
			if resp.StatusCode < 400 {
				return nil, p.Protocol("dial", "the server answers a websocket request with status %d", resp.StatusCode)
			}
			return nil, p.refused("dial", resp.Header, resp.StatusCode, body[:n])
		}
		return nil, p.Error(model.KindConnection, "dial", err)
	}
	s := &Socket{
		peer: p, ws: ws, o: o,
		in: make(chan Message, inbox), stop: make(chan struct{}), dead: make(chan struct{}), sem: make(chan struct{}, 1),
	}
	if o.pooled {
		s.held.Store(nobody)
	}
	s.facts, _ = t.facts()
	s.facts.Acquire = time.Since(began)
	s.facts.Wait = 0
	s.facts.Upgrade = max(s.facts.Acquire-s.facts.DNS-s.facts.Dial-s.facts.TLS, 0)
	ws.SetReadLimit(maxFrame)
	ws.SetPongHandler(func(string) error { return s.extend() })
	s.wg.Go(s.listen)
	s.wg.Go(func() {
		s.every(pingEvery, func() { _ = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeLimit)) })
	})
	if o.Alive != "" {
		s.wg.Go(func() {
			s.every(o.AliveEvery, func() { _ = s.WriteText(context.Background(), []byte(o.Alive)) })
		})
	}
	return s, nil
}

// Facts tell how the socket was opened.
func (s *Socket) Facts() Facts { return s.facts }

// Dead is closed when the peer has ended the connection, or it broke.
func (s *Socket) Dead() <-chan struct{} { return s.dead }

// EndedWell reports whether the peer has ended the connection in good order. For some that is the only
// sign of the end of an answer.
func (s *Socket) EndedWell() bool {
	select {
	case <-s.dead:
		return websocket.IsCloseError(s.readErr, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived)
	default:
		return false
	}
}

// listen is the goroutine that reads; it ends with the connection.
func (s *Socket) listen() {
	defer close(s.dead)
	for {
		_ = s.extend() // also after a wait for the reader, who may take longer than a peer may be silent
		kind, data, err := s.ws.ReadMessage()
		if err != nil {
			s.readErr = err
			return
		}
		m := Message{kind == websocket.BinaryMessage, data}
		held := s.held.Load()
		if held == idle {
			continue
		}
		s.said.note(m)
		if s.o.Take != nil {
			s.o.Take(m)
			continue
		}
		select {
		case s.in <- m:
			continue
		default:
		}
		if held == nobody {
			continue
		}
		select {
		case s.in <- m:
		case <-s.stop:
			s.readErr = net.ErrClosed
			return
		}
	}
}

// extend gives a peer that showed life the time of two more pings.
func (s *Socket) extend() error {
	return s.ws.SetReadDeadline(time.Now().Add(2*pingEvery + writeLimit))
}

// every keeps the connection alive by send, until its end.
func (s *Socket) every(d time.Duration, send func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			send()
		case <-s.dead:
			return
		case <-s.stop:
			return
		}
	}
}

// Read waits for the next message. What arrived before the end is read before the error of the end.
func (s *Socket) Read(ctx context.Context) (Message, error) { return s.read(ctx, nil) }

// read is Read until over is closed.
func (s *Socket) read(ctx context.Context, over <-chan struct{}) (Message, error) {
	select {
	case <-over:
		return Message{}, s.peer.Error(model.KindConnection, "receive", net.ErrClosed)
	default:
	}
	select {
	case m := <-s.in:
		return m, nil
	default:
	}
	select {
	case m := <-s.in:
		return m, nil
	case <-s.dead:
		select {
		case m := <-s.in:
			return m, nil
		default:
		}
		return Message{}, s.peer.closed("receive", s.readErr)
	case <-s.stop:
		return Message{}, s.peer.Error(model.KindConnection, "receive", net.ErrClosed)
	case <-over:
		return Message{}, s.peer.Error(model.KindConnection, "receive", net.ErrClosed)
	case <-ctx.Done():
		return Message{}, context.Cause(ctx)
	}
}

// ReadJSON waits for the next text message and decodes it into v. Binary messages are a protocol error.
func (s *Socket) ReadJSON(ctx context.Context, v any) error { return s.readJSON(ctx, nil, v) }

func (s *Socket) readJSON(ctx context.Context, over <-chan struct{}, v any) error {
	m, err := s.read(ctx, over)
	if err != nil {
		return err
	}
	if m.Binary {
		return s.peer.Protocol("receive", "binary message where text was expected")
	}
	return s.Decode(m, v)
}

// Decode decodes a message as JSON.
func (s *Socket) Decode(m Message, v any) error {
	if err := json.Unmarshal(m.Data, v); err != nil {
		return s.peer.Protocol("receive", "message cannot be read: %v", err)
	}
	return nil
}

// WriteJSON sends v as a text message.
func (s *Socket) WriteJSON(ctx context.Context, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return s.peer.Error(model.KindRequest, "send", fmt.Errorf("encoding message: %w", err))
	}
	return s.write(ctx, websocket.TextMessage, b)
}

// WriteText sends a text message.
func (s *Socket) WriteText(ctx context.Context, b []byte) error {
	return s.write(ctx, websocket.TextMessage, b)
}

// WriteBinary sends a binary message.
func (s *Socket) WriteBinary(ctx context.Context, b []byte) error {
	return s.write(ctx, websocket.BinaryMessage, b)
}

// write sends one message. A write that fails or times out leaves the connection unusable, and its error
// says why the provider wants no more, if it does.
func (s *Socket) write(ctx context.Context, kind int, b []byte) error {
	select {
	case s.sem <- struct{}{}:
		defer func() { <-s.sem }()
	case <-ctx.Done():
		return attempt.Unsent(context.Cause(ctx))
	}
	if err := ctx.Err(); err != nil {
		return attempt.Unsent(context.Cause(ctx))
	}
	until := time.Now().Add(writeLimit)
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	_ = s.ws.SetWriteDeadline(until)
	if err := s.ws.WriteMessage(kind, b); err != nil {
		return s.unsent(ctx, err)
	}
	return nil
}

// Close says goodbye, ends the connection and waits for its goroutines. It does not wait for the peer,
// takes a second at the most, and may be called more than once.
func (s *Socket) Close() error {
	s.once.Do(func() {
		close(s.stop)
		deadline := time.Now().Add(goodbye)
		select {
		case <-s.dead:
		default:
			ctx, cancel := context.WithDeadline(context.Background(), deadline)
			if s.o.Goodbye != "" {
				_ = s.write(ctx, websocket.TextMessage, []byte(s.o.Goodbye))
			}
			cancel()
			_ = s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), deadline)
		}
		_ = s.ws.Close()
	})
	s.wg.Wait()
	return nil
}
