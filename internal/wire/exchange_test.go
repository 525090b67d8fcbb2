package wire

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/model"
)

// echo is a pool of connections to a server that sends back what it gets.
func echo(t *testing.T) (p *Pool, dials *atomic.Int64) {
	dials = new(atomic.Int64)
	var up websocket.Upgrader
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		dials.Add(1)
		for {
			kind, b, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, b) != nil {
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	p = NewPool(&Peer{Info: model.Info{Provider: "echo"}, Kind: "tts"}, PoolOptions{
		Open: func(context.Context) (SocketOptions, error) {
			return SocketOptions{URL: "ws" + strings.TrimPrefix(srv.URL, "http")}, nil
		},
	})
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p, dials
}

func TestExchangeGivesItsConnectionBackOnlyAfterAWholeAnswer(t *testing.T) {
	p, dials := echo(t)
	for i, want := range []struct {
		complete bool
		reused   bool
	}{{true, false}, {true, true}, {false, true}, {true, false}} {
		e, err := p.Exchange(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, reused := e.Acquired(); i < 3 && reused != want.reused {
			t.Errorf("exchange %d: reused is %v", i, reused)
		}
		_ = e.WriteText(t.Context(), []byte("hello"))
		if m, err := e.Read(t.Context()); err != nil || string(m.Data) != "hello" {
			t.Fatalf("exchange %d: %q, %v", i, m.Data, err)
		}
		if want.complete {
			e.Complete()
		}
		for range 2 {
			_ = e.Close()
		}
		if _, err := e.Read(t.Context()); err == nil {
			t.Errorf("exchange %d can be read after Close", i)
		}
	}
	if n := dials.Load(); n != 2 {
		t.Errorf("%d connections were made, want 2: the third exchange cost the first", n)
	}
}
