package wire

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of connections in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (*pipes) Close() error   { return nil }
func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

// cable is a connection that can be cut: then nothing comes through any more, and nobody is told.
type cable struct {
	net.Conn
	cut *atomic.Bool
}

func (c cable) Write(b []byte) (int, error) {
	if c.cut.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// A connection of HTTP/2 that died while nobody used it is not asked again.
func TestDeadHTTP2ConnectionIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conns, done := make(chan net.Conn), make(chan struct{})
		srv := &http.Server{Protocols: http2Only(), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "hello")
		})}
		go func() { _ = srv.Serve(&pipes{conns, done}) }()
		defer func() { close(done); _ = srv.Close() }()
		var cut *atomic.Bool
		dials := 0
		tr := newTransport()
		tr.Protocols = http2Only()
		tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			conns <- server
			dials++
			cut = new(atomic.Bool)
			return cable{client, cut}, nil
		}
		defer tr.CloseIdleConnections()
		c := &Client{HTTP: &http.Client{Transport: tr}}
		ask := func() {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			r, err := http.NewRequest(http.MethodGet, "http://test", nil)
			if err != nil {
				t.Fatal(err)
			}
			if b, _, err := c.DoAll(ctx, "chat", r); err != nil || string(b) != "hello" {
				t.Fatalf("%q, %v", b, err)
			}
		}
		ask()
		ask()
		if dials != 1 {
			t.Fatalf("%d dials, want 1", dials)
		}
		cut.Store(true)
		time.Sleep(time.Minute)
		ask()
	})
}
