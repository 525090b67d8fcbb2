package sandbox

import (
	"context"
	"net"
	"sync"
	"testing"
)

// memory is a listener for clients in the same process, whose connections wait on the clock of a
// testing/synctest bubble.
type memory struct {
	conns chan net.Conn // size 0: a dial waits for Accept
	done  chan struct{}
	once  sync.Once
}

// InMemory is a sandbox without a network, for testing/synctest bubbles: wire.WithDial takes dial.
// Whoever called it closes the sandbox inside of the bubble.
func InMemory(t testing.TB) (s *Server, dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	t.Helper()
	m := &memory{conns: make(chan net.Conn), done: make(chan struct{})}
	s, err := New(Options{Listener: m})
	if err != nil {
		t.Fatal(err)
	}
	return s, m.dial
}

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-m.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (m *memory) Close() error {
	m.once.Do(func() { close(m.done) })
	return nil
}

// Addr implements net.Listener.
func (m *memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
