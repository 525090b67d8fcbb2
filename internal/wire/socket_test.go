package wire

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/model"
)

// inBubble serves websockets over pipes, inside of a testing/synctest bubble. The context is one for
// Dial; stop ends the server.
func inBubble(t *testing.T, serve func(ws *websocket.Conn)) (ctx context.Context, stop func()) {
	conns := make(chan net.Conn)
	done := make(chan struct{})
	var up websocket.Upgrader
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		serve(ws)
	})}
	go func() { _ = srv.Serve(&pipes{conns, done}) }()
	ctx = WithDial(t.Context(), func(ctx context.Context, _, _ string) (net.Conn, error) {
		client, server := net.Pipe()
		select {
		case conns <- server:
			return client, nil
		case <-done:
			return nil, net.ErrClosed
		}
	})
	return ctx, sync.OnceFunc(func() { close(done); _ = srv.Close() })
}

// untilEnd reads, and with that answers pings, until the client hangs up.
func untilEnd(ws *websocket.Conn) {
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
	}
}

var testPeer = &Peer{Info: model.Info{Provider: "test"}, Kind: "tts"}

// A peer that vanished without a word, as behind a router that forgot the connection, is noticed while
// nobody uses the socket.
func TestHalfOpenSocketIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		ctx, stop := inBubble(t, func(ws *websocket.Conn) {
			<-gone // reads nothing, so that it answers no ping
		})
		defer stop()
		s, err := Dial(ctx, testPeer, SocketOptions{URL: "ws://test"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		defer close(gone)
		began := time.Now()
		select {
		case <-s.Dead():
			if d := time.Since(began); d > 2*time.Minute {
				t.Errorf("noticed after %v", d)
			}
		case <-time.After(time.Hour):
			t.Error("the socket was taken to be alive for an hour")
		}
	})
}

func TestSocketThatAnswersPingsLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := inBubble(t, untilEnd)
		defer stop()
		s, err := Dial(ctx, testPeer, SocketOptions{URL: "ws://test"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		select {
		case <-s.Dead():
			t.Errorf("died: %v", s.readErr)
		case <-time.After(time.Hour):
		}
	})
}

// A reader that takes its time, such as a speech that waits for the one before it to be heard, does not
// cost the connection.
func TestReaderThatTakesItsTimeKeepsTheSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 3 * inbox
		ctx, stop := inBubble(t, func(ws *websocket.Conn) {
			go func() {
				for range n {
					if ws.WriteMessage(websocket.TextMessage, []byte("x")) != nil {
						return
					}
				}
			}()
			untilEnd(ws)
		})
		defer stop()
		s, err := Dial(ctx, testPeer, SocketOptions{URL: "ws://test"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		time.Sleep(10 * time.Minute)
		for i := range n {
			if m, err := s.Read(t.Context()); err != nil || string(m.Data) != "x" {
				t.Fatalf("message %d: %q, %v", i, m.Data, err)
			}
		}
	})
}

// What a server says on a connection that waits for its first lease does not fill it up, which would hide
// its end.
func TestConnectionInWaitingNoticesItsEnd(t *testing.T) {
	var up websocket.Upgrader
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for range 2 * inbox {
			_ = ws.WriteMessage(websocket.TextMessage, []byte("heartbeat"))
		}
	}))
	defer srv.Close()
	p := NewPool(testPeer, PoolOptions{Open: func(context.Context) (SocketOptions, error) {
		return SocketOptions{URL: "ws" + strings.TrimPrefix(srv.URL, "http")}, nil
	}})
	defer p.Close(context.Background())
	p.Prewarm()
	for end := time.Now().Add(5 * time.Second); p.p.Stats().Closed.Dead == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection would be handed out")
		}
	}
}

// Who has lost a connection cannot send on it any more: it may be somebody else's.
func TestNothingIsSentAfterTheEndOfALease(t *testing.T) {
	p, _ := echo(t)
	l, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	for name, err := range map[string]error{
		"text": l.WriteText(t.Context(), []byte("late")), "binary": l.WriteBinary(t.Context(), []byte("late")),
		"JSON": l.WriteJSON(t.Context(), "late"),
	} {
		if err == nil {
			t.Errorf("%s was sent", name)
		}
	}
	next, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer next.Discard()
	if _, reused := next.Acquired(); !reused {
		t.Fatal("another connection")
	}
	_ = next.WriteText(t.Context(), []byte("mine"))
	if m, err := next.Read(t.Context()); err != nil || string(m.Data) != "mine" {
		t.Errorf("read %q, %v", m.Data, err)
	}
}
