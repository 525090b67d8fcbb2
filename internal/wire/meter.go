package wire

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
)

// meter is a connection that knows how much it has taken.
type meter struct {
	net.Conn
	mu   sync.Mutex // held while it writes
	sent int64
}

// Write implements net.Conn.
func (m *meter) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.Conn.Write(b)
	m.sent += int64(n)
	return n, err
}

// metered has the connections of dial count.
func metered(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &meter{Conn: c}, nil
	}
}

// meterOf is the meter of a connection, nil if it has none.
func meterOf(c net.Conn) *meter {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	m, _ := c.(*meter)
	return m
}

// total is how much was sent so far, what is being written included. It waits for a write that is under way.
func (m *meter) total() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sent
}
