package roomtest

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/parley-go/parley/internal/lkserver"
	"github.com/parley-go/parley/room"
)

// A server that lets us in, but whose media do not come about in time, is asked again.
func TestJoinTriesAgain(t *testing.T) {
	addr, joins := newDeafServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := room.Join(ctx, room.Options{
		URL: addr, Token: token(t, "agent", lkserver.Agent()), Logger: slog.New(slog.DiscardHandler),
		SDK: []lksdk.ConnectOption{lksdk.WithConnectTimeout(2 * time.Second)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := joins.Load(); n < 2 {
		t.Errorf("joined %d times, want another time", n)
	}
	if err := r.Leave(ctx); err != nil {
		t.Error(err)
	}
}

// newDeafServer is the server, which says no more than welcome to who comes first.
func newDeafServer(t *testing.T) (addr string, joins *atomic.Int32) {
	t.Helper()
	joins = new(atomic.Int32)
	to, err := url.Parse(strings.Replace(server.URL(), "ws", "http", 1))
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(to)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !websocket.IsWebSocketUpgrade(r) {
			pass.ServeHTTP(w, r)
			return
		}
		up, resp, err := websocket.DefaultDialer.Dial(server.URL()+r.URL.RequestURI(), http.Header{"Authorization": r.Header["Authorization"]})
		if err != nil {
			if resp != nil {
				w.WriteHeader(resp.StatusCode)
			}
			return
		}
		defer up.Close()
		upgrader := websocket.Upgrader{}
		down, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		heard := 0 // messages that pass
		if joins.Add(1) == 1 {
			heard = 1
		}
		go forward(up, down, heard)
		forward(down, up, 0)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return strings.Replace(s.URL, "http", "ws", 1), joins
}

// forward carries messages, the first n if that is not 0, until one side is gone, and then ends the other.
func forward(from, to *websocket.Conn, n int) {
	defer to.Close()
	for i := 0; ; i++ {
		kind, data, err := from.ReadMessage()
		if err != nil {
			return
		}
		if n > 0 && i >= n {
			continue
		}
		if to.WriteMessage(kind, data) != nil {
			return
		}
	}
}
