package sandbox

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/wire"
)

// memory is a listener for clients in the same process, whose connections wait on the clock of a
// testing/synctest bubble.
type memory struct {
	addr  string
	conns chan net.Conn // size 0: a dial waits for Accept
	done  chan struct{}
	once  sync.Once
	close func()
}

// roundTrip is how long a sandbox in memory looks at a request, so that one that is given up in the moment in which
// it is sent gets no answer: nobody could tell otherwise whether it had one.
const roundTrip = 1_000_037 * time.Nanosecond

// memories counts the sandboxes in memory, so that each has an address of its own.
var memories atomic.Uint32

// InMemory is a sandbox without a network, for testing/synctest bubbles: plugins reach it at its URL, and
// dial connects to it. Whoever called it closes the sandbox inside of the bubble.
func InMemory(t testing.TB) (s *Server, dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	t.Helper()
	n := memories.Add(1)
	m := &memory{conns: make(chan net.Conn), done: make(chan struct{})}
	m.addr = fmt.Sprintf("127.%d.%d.%d:1", 1+n>>16&127, n>>8&255, n&255) // loopback, for which nobody asks a proxy
	m.close = wire.Local(m.addr, m.dial)
	s, err := New(Options{Listener: m})
	if err != nil {
		t.Fatal(err)
	}
	s.latency = roundTrip
	return s, m.dial
}

// offer is a connection that the sandbox may refuse.
type offer struct {
	net.Conn
	taken chan bool // size 1: the only word
}

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := Pipe()
	o := &offer{server, make(chan bool, 1)}
	select {
	case m.conns <- o:
		if !<-o.taken {
			return nil, syscall.ECONNREFUSED
		}
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
	m.once.Do(func() {
		m.close()
		close(m.done)
	})
	return nil
}

// Addr implements net.Listener.
func (m *memory) Addr() net.Addr { return memoryAddr(m.addr) }

type memoryAddr string

func (memoryAddr) Network() string  { return "tcp" }
func (a memoryAddr) String() string { return string(a) }
