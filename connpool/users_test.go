package connpool

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// private is a connection that notices when two use it.
type private struct {
	users  atomic.Int32
	closes atomic.Int32
	dead   chan struct{}
	once   sync.Once
}

// Thousands of users at once, without a bubble, for the race detector.
func TestManyUsers(t *testing.T) {
	var mu sync.Mutex
	var all []*private
	p := New(Options[*private]{
		Dial: func(context.Context) (*private, error) {
			c := &private{dead: make(chan struct{})}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, c)
			return c, nil
		},
		Close:   func(c *private) error { c.closes.Add(1); return nil },
		Dead:    func(c *private) <-chan struct{} { return c.dead },
		MaxOpen: 16, KeepIdle: 8, MaxIdle: time.Millisecond, MaxAge: 20 * time.Millisecond,
	})
	var wg sync.WaitGroup
	for u := range 2000 {
		wg.Go(func() {
			for i := range 5 {
				ctx, cancel := context.WithCancel(context.Background())
				if (u+i)%7 == 0 {
					go cancel()
				}
				l, err := p.Acquire(ctx)
				cancel()
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					continue
				}
				if l.Conn().users.Add(1) != 1 {
					t.Error("two users of one connection")
				}
				l.Conn().users.Add(-1)
				switch (u + i) % 11 {
				case 0:
					l.Discard()
				case 1:
					l.Conn().once.Do(func() { close(l.Conn().dead) })
					l.Release()
				case 2:
					p.Invalidate()
					l.Release()
				default:
					l.Release()
				}
			}
		})
	}
	wg.Wait()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if n := c.closes.Load(); n != 1 {
			t.Errorf("closed %d times", n)
		}
	}
	if st := p.Stats(); st.Open != 0 || st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
}

// socket is what a plugin would make of a gorilla connection.
type socket struct {
	ws   *websocket.Conn
	dead chan struct{}
}

func (s *socket) readLoop() {
	defer close(s.dead)
	for {
		if _, _, err := s.ws.ReadMessage(); err != nil {
			return
		}
	}
}

// Real sockets: the server hangs up on an idle connection and the pool closes it before anybody
// asks for one.
func TestServerHangsUpOnAnIdleWebsocket(t *testing.T) {
	served := make(chan *websocket.Conn, 2)
	var up websocket.Upgrader
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		served <- ws
	}))
	defer srv.Close()

	closed := make(chan struct{}, 2)
	p := New(Options[*socket]{
		Dial: func(ctx context.Context) (*socket, error) {
			ws, _, err := websocket.DefaultDialer.DialContext(ctx, "ws"+strings.TrimPrefix(srv.URL, "http"), nil)
			if err != nil {
				return nil, err
			}
			s := &socket{ws, make(chan struct{})}
			go s.readLoop()
			return s, nil
		},
		Close: func(s *socket) error {
			err := s.ws.Close()
			<-s.dead // joins the reader
			closed <- struct{}{}
			return err
		},
		Dead: func(s *socket) <-chan struct{} { return s.dead },
	})
	first, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first.Release()
	(<-served).Close()
	<-closed
	if st := p.Stats(); st.Idle != 0 || st.Closed.Dead != 1 {
		t.Errorf("%+v", st)
	}
	second, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if second.Facts().Reused || second.Conn() == first.Conn() {
		t.Error("the dead socket was handed out")
	}
	if err := second.Conn().ws.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Error(err)
	}
	second.Release()
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	(<-served).Close()
}

func benchmarkPool() *Pool[int] {
	return New(Options[int]{
		Dial:   func(context.Context) (int, error) { return 1, nil },
		Dead:   func(int) <-chan struct{} { return make(chan struct{}) },
		MaxAge: time.Hour, MaxIdle: time.Minute,
	})
}

func BenchmarkAcquireWarm(b *testing.B) {
	p := benchmarkPool()
	defer p.Close(context.Background())
	b.ReportAllocs()
	for b.Loop() {
		l, err := p.Acquire(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		l.Release()
	}
}

func BenchmarkAcquireParallel(b *testing.B) {
	p := benchmarkPool()
	defer p.Close(context.Background())
	b.SetParallelism(500) // goroutines per processor
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l, err := p.Acquire(b.Context())
			if err != nil {
				b.Error(err)
				return
			}
			l.Release()
		}
	})
}

// BenchmarkAcquireContended has a thousand users in line for eight connections.
func BenchmarkAcquireContended(b *testing.B) {
	p := benchmarkPool()
	p.opts.MaxOpen = 8
	defer p.Close(context.Background())
	b.SetParallelism(500)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l, err := p.Acquire(b.Context())
			if err != nil {
				b.Error(err)
				return
			}
			l.Release()
		}
	})
}
