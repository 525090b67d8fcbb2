package workertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
)

// journal is what happened, in order, one line each.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

// of is what happened that begins with prefix.
func (j *journal) of(prefix string) []string {
	return slices.DeleteFunc(j.all(), func(s string) bool { return !strings.HasPrefix(s, prefix) })
}

// want waits until the lines with the prefix are these.
func (j *journal) want(t *testing.T, prefix string, lines ...string) {
	t.Helper()
	j.wantBut(t, prefix, "", lines...)
}

// wantBut is want without regard to a line.
func (j *journal) wantBut(t *testing.T, prefix, but string, lines ...string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		got := slices.DeleteFunc(j.of(prefix), func(s string) bool { return s == but })
		if slices.Equal(got, lines) {
			return
		}
		if len(got) > len(lines) || time.Now().After(end) {
			t.Fatalf("happened:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(lines, "\n  "))
		}
	}
}

// newTap is the server with an ear on the worker protocol: what passes about jobs goes to the journal.
// It returns its URL, and cuts the connections of workers that there are.
func newTap(t *testing.T, j *journal) (addr string, cut func()) {
	t.Helper()
	to, err := url.Parse(strings.Replace(server.URL(), "ws", "http", 1))
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(to)
	var mu sync.Mutex
	var conns []*websocket.Conn
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/agent" {
			pass.ServeHTTP(w, r)
			return
		}
		up, resp, err := websocket.DefaultDialer.Dial(server.URL()+"/agent", http.Header{"Authorization": r.Header["Authorization"]})
		if err != nil {
			if resp != nil {
				w.WriteHeader(resp.StatusCode)
			}
			return
		}
		upgrader := websocket.Upgrader{}
		down, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			up.Close()
			return
		}
		mu.Lock()
		conns = append(conns, up, down)
		mu.Unlock()
		go forward(up, down, func(data []byte) { j.fromServer(data) })
		forward(down, up, func(data []byte) { j.fromWorker(data) })
	}))
	cut = func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			c.Close()
		}
	}
	t.Cleanup(func() {
		cut()
		s.CloseClientConnections()
		s.Close()
	})
	return strings.Replace(s.URL, "http", "ws", 1), cut
}

// forward carries messages until one side is gone, and then ends the other.
func forward(from, to *websocket.Conn, seen func([]byte)) {
	defer to.Close()
	for {
		kind, data, err := from.ReadMessage()
		if err != nil {
			return
		}
		seen(data)
		if to.WriteMessage(kind, data) != nil {
			return
		}
	}
}

func (j *journal) fromWorker(data []byte) {
	m := &livekit.WorkerMessage{}
	if proto.Unmarshal(data, m) != nil {
		j.add("wire: unreadable")
		return
	}
	if u := m.GetUpdateJob(); u != nil {
		j.add("%s", strings.TrimSpace("wire: "+u.Status.String()+" "+u.Error))
	}
}

func (j *journal) fromServer(data []byte) {
	m := &livekit.ServerMessage{}
	if proto.Unmarshal(data, m) == nil && m.GetTermination() != nil {
		j.add("termination")
	}
}
