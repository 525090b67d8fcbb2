package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/model"
)

// stated is a refusal of the providers of the tests below.
type stated struct {
	Refused string `json:"refused"`
	Status  int    `json:"status"`
}

func (s *stated) err() error {
	if s.Refused == "" {
		return nil
	}
	return testPeer.Status("talk", s.Status, s.Refused)
}

// hold is a network that takes nothing more once it is broken, while what comes still arrives.
type hold struct {
	net.Conn
	broken *atomic.Bool
}

func (h hold) Write(b []byte) (int, error) {
	if h.broken.Load() {
		return 0, syscall.EPIPE
	}
	return h.Conn.Write(b)
}

// breaking is ctx with a network that can be broken.
func breaking(ctx context.Context) (context.Context, *atomic.Bool) {
	broken, dial := &atomic.Bool{}, ctx.Value(dialKey{}).(DialFunc)
	return WithDial(ctx, func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		return hold{c, broken}, err
	}), broken
}

func farewell(ws *websocket.Conn, code int, messages ...string) {
	for _, m := range messages {
		_ = ws.WriteMessage(websocket.TextMessage, []byte(m))
	}
	if code != 0 {
		_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "so there"), time.Now().Add(time.Second))
	}
}

const refusal = `{"refused":"go away","status":422}`

// A send that fails tells what the provider said before it hung up, also when that is still on its way.
func TestASendThatFailsTellsWhatTheProviderSaid(t *testing.T) {
	for name, c := range map[string]struct {
		code     int
		messages []string
		want     string
		status   int
	}{
		"a message":                    {1003, []string{`{"n":1}`, refusal}, "go away", 422},
		"a message, and a politer end": {1000, []string{refusal, `{"bye":true}`}, "go away", 422},
		"a message without a goodbye":  {0, []string{refusal}, "go away", 422},
		"nothing but a code":           {4001, []string{`{"n":1}`, `no JSON`}, "so there", 4001},
		"nothing of use":               {1000, []string{`{"n":1}`}, "close 1000", 0},
	} {
		for _, when := range []string{"before", "after"} {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := inBubble(t, func(ws *websocket.Conn) {
					time.Sleep(time.Second)
					farewell(ws, c.code, c.messages...)
				})
				defer stop()
				ctx, broken := breaking(ctx)
				s, err := Dial(ctx, testPeer, SocketOptions{URL: "ws://test", Reason: Reason((*stated).err)})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if when == "after" {
					<-s.Dead()
				} else {
					time.Sleep(time.Second - lastWords/2)
				}
				broken.Store(true)
				err = s.WriteText(t.Context(), []byte("hello"))
				var e *model.Error
				if !errors.As(err, &e) || e.Status != c.status || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s %s the send: error is %v, want %q", name, when, err, c.want)
				}
				for range c.messages { // they are there for who reads, too
					if _, err := s.Read(t.Context()); err != nil {
						t.Errorf("%s %s the send: read: %v", name, when, err)
					}
				}
				if _, err := s.Read(t.Context()); err == nil {
					t.Errorf("%s %s the send: the connection lives", name, when)
				}
				time.Sleep(time.Second) // in which the server ends
			})
		}
	}
}

// A provider that says nothing is not waited for longer than it may take to say something, and who closes
// the socket does not wait at all.
func TestASendThatFailsDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := inBubble(t, untilEnd)
		defer stop()
		ctx, broken := breaking(ctx)
		for _, hurry := range []bool{false, true} {
			broken.Store(false)
			s, err := Dial(ctx, testPeer, SocketOptions{URL: "ws://test", Reason: Reason((*stated).err)})
			if err != nil {
				t.Fatal(err)
			}
			broken.Store(true)
			began, want := time.Now(), lastWords
			if hurry {
				want = lastWords / 2
				time.AfterFunc(want, func() { _ = s.Close() })
			}
			err = s.WriteText(t.Context(), []byte("hello"))
			if d := time.Since(began); d != want || err == nil || !hurry && !strings.Contains(err.Error(), "broken pipe") {
				t.Errorf("closed meanwhile: %v: error is %v after %v, want %v", hurry, err, d, want)
			}
			<-s.Dead() // so that nobody gets the connection again
			_ = s.Close()
		}
	})
}

// A peer that reads nothing has had the time to say why.
func TestASendThatTimesOutWaitsForNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		ctx, stop := inBubble(t, func(*websocket.Conn) { <-gone })
		defer stop()
		defer close(gone)
		s, err := Dial(ctx, testPeer, SocketOptions{URL: "ws://test"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err = s.WriteText(short, []byte("hello"))
		var e *model.Error
		if d := time.Since(began); d != time.Second || !errors.As(err, &e) || e.Kind != model.KindTimeout {
			t.Errorf("error is %v after %v", err, d)
		}
	})
}

// lateContext has a deadline that has passed, and ends a moment later, as on a busy machine.
type lateContext struct{ context.Context }

func (lateContext) Deadline() (time.Time, bool) { return time.Now().Add(-time.Millisecond), true }

// Who sends too late sees the end of the context before that of the connection, which nobody is to blame for.
func TestTheEndOfAContextComesBeforeThatOfTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := inBubble(t, untilEnd)
		defer stop()
		s, err := Dial(ctx, testPeer, SocketOptions{URL: "ws://test"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		late, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.AfterFunc(lastWords/2, func() {
			select {
			case <-s.Dead():
				t.Error("the connection ended first")
			default:
			}
			cancel()
		})
		if err := s.WriteText(lateContext{late}, []byte("hello")); err == nil || late.Err() == nil {
			t.Errorf("error is %v, of the context %v", err, late.Err())
		}
		other, cancel := context.WithCancel(ctx)
		defer cancel()
		time.AfterFunc(lastWords/2, cancel)
		if _, err := Dial(lateContext{other}, testPeer, SocketOptions{URL: "ws://test"}); err == nil || other.Err() == nil {
			t.Errorf("dial: error is %v, of the context %v", err, other.Err())
		}
	})
}

// What was said to somebody else, about something else, is no reason.
func TestWhatWasSaidToTheOneBeforeIsNoReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		ctx, stop := inBubble(t, func(ws *websocket.Conn) {
			farewell(ws, 0, refusal)
			<-next
		})
		defer stop()
		ctx, broken := breaking(ctx)
		p := NewPool(testPeer, PoolOptions{Open: func(context.Context) (SocketOptions, error) {
			return SocketOptions{URL: "ws://test", Reason: Reason((*stated).err), Dial: ctx.Value(dialKey{}).(DialFunc)}, nil
		}})
		defer p.Close(context.Background())
		l, err := p.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.Release()
		if l, err = p.Acquire(ctx); err != nil {
			t.Fatal(err)
		}
		defer l.Discard()
		if _, reused := l.Acquired(); !reused {
			t.Fatal("another connection")
		}
		broken.Store(true)
		close(next)
		if err := l.WriteText(t.Context(), []byte("hello")); err == nil || strings.Contains(err.Error(), "go away") {
			t.Errorf("error is %v", err)
		}
	})
}

// A provider may refuse as soon as it has the first message, before anybody has the connection.
func TestWhoWaitsForAConnectionIsToldWhyItWasRefused(t *testing.T) {
	for name, setup := range map[string]func(ctx context.Context, s *Socket) error{
		"in the setup":   func(ctx context.Context, s *Socket) error { <-s.Dead(); return s.WriteText(ctx, []byte("hello")) },
		"upon the setup": func(_ context.Context, s *Socket) error { <-s.Dead(); return nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := inBubble(t, func(ws *websocket.Conn) { farewell(ws, 1008, refusal) })
			defer stop()
			open := func(context.Context) (SocketOptions, error) {
				return SocketOptions{URL: "ws://test", Reason: Reason((*stated).err), Dial: ctx.Value(dialKey{}).(DialFunc)}, nil
			}
			p := NewPool(testPeer, PoolOptions{Open: open, Setup: setup})
			defer p.Close(context.Background())
			_, err := p.Acquire(ctx)
			var e *model.Error
			if !errors.As(err, &e) || e.Status != 422 || e.Retryable() || !strings.Contains(err.Error(), "go away") {
				t.Errorf("%s: error is %v", name, err)
			}
		})
	}
}

// The streams of a connection are told what is wrong with it, whoever sends.
func TestStreamsAreToldWhyTheirConnectionEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := inBubble(t, func(ws *websocket.Conn) {
			time.Sleep(time.Second)
			farewell(ws, 1008, refusal)
		})
		defer stop()
		ctx, broken := breaking(ctx)
		m := NewMux(testPeer, MuxOptions[string]{
			Open: func(context.Context) (SocketOptions, error) {
				return SocketOptions{URL: "ws://test", Reason: Reason((*stated).err), Dial: ctx.Value(dialKey{}).(DialFunc)}, nil
			},
			Route:   func(Message) (string, string, bool, error) { return "", "nobody", false, nil },
			Streams: 2,
		})
		defer m.Close(context.Background())
		var streams []*Channel[string]
		for _, id := range []string{"a", "b"} {
			c, err := m.Open(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close(nil)
			streams = append(streams, c)
		}
		broken.Store(true)
		time.Sleep(time.Second - lastWords/2)
		for _, c := range streams {
			if err := c.WriteJSON(t.Context(), "hello"); err == nil || !strings.Contains(err.Error(), "go away") {
				t.Errorf("error is %v", err)
			}
		}
		time.Sleep(time.Second) // in which the server ends
	})
}

// Only what is short enough to be a reason is kept, and only the end of it.
func TestLastWordsAreFewAndShort(t *testing.T) {
	var w words
	w.note(Message{Data: []byte(`early`)})
	for _, m := range []string{"a", "b", "c", "d"} {
		w.note(Message{Data: []byte(m)})
		w.note(Message{Data: make([]byte, maxReason+1)})
		w.note(Message{Binary: true, Data: []byte("audio")})
	}
	var got []string
	_ = w.find(func(b []byte) error { got = append(got, string(b)); return nil })
	if strings.Join(got, " ") != "d c b a" {
		t.Errorf("kept %q", got)
	}
	if err := w.find(func(b []byte) error { return map[string]error{"c": io.EOF}[string(b)] }); err != io.EOF {
		t.Errorf("found %v", err)
	}
	w.forget()
	if err := w.find(func([]byte) error { return io.EOF }); err != nil {
		t.Error("something is left")
	}
}
