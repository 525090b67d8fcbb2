package wire

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/model"
)

// order is what the tests tell their provider to do.
type order struct {
	ID      string   `json:"id"`
	Say     []string `json:"say,omitempty"`
	Last    bool     `json:"last,omitempty"`
	Garbage bool     `json:"garbage,omitempty"`
	Hangup  bool     `json:"hangup,omitempty"`
	Bye     bool     `json:"bye,omitempty"`
}

// said is what it answers.
type said struct {
	ID   string `json:"id"`
	Text string `json:"text"`
	Last bool   `json:"last"`
}

type obedient struct {
	*httptest.Server
	dials atomic.Int32
	byes  atomic.Int32
}

func newObedient(t *testing.T) *obedient {
	o := &obedient{}
	var up websocket.Upgrader
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.dials.Add(1)
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			var c order
			if ws.ReadJSON(&c) != nil {
				return
			}
			if c.Bye {
				o.byes.Add(1)
			}
			for _, s := range c.Say {
				_ = ws.WriteJSON(said{ID: c.ID, Text: s})
			}
			if c.Last {
				_ = ws.WriteJSON(said{ID: c.ID, Last: true})
			}
			if c.Garbage {
				_ = ws.WriteMessage(websocket.TextMessage, []byte("{"))
			}
			if c.Hangup {
				return
			}
		}
	}))
	t.Cleanup(o.Close)
	return o
}

func newTestMux(t *testing.T, streams int) (*obedient, *Mux[said]) {
	o := newObedient(t)
	peer := &Peer{Info: model.Info{Provider: "test"}, Kind: "tts"}
	m := NewMux(peer, MuxOptions[said]{
		Open: func(context.Context) (SocketOptions, error) {
			return SocketOptions{URL: "ws" + strings.TrimPrefix(o.URL, "http")}, nil
		},
		Route: func(m Message) (r said, id string, last bool, err error) {
			err = json.Unmarshal(m.Data, &r)
			return r, r.ID, r.Last, err
		},
		Streams: streams,
	})
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return o, m
}

func open(t *testing.T, m *Mux[said], id string, reused bool) *Channel[said] {
	t.Helper()
	c, err := m.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(order{ID: id, Last: true}) })
	if _, r := c.Acquired(); r != reused {
		t.Errorf("%s: reused is %v, want %v", id, r, reused)
	}
	return c
}

func tell(t *testing.T, c *Channel[said], o order) {
	t.Helper()
	o.ID = c.ID()
	if err := c.WriteJSON(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c *Channel[said], want string) {
	t.Helper()
	r, err := c.Next(t.Context())
	if err != nil || r.Text != want || r.ID != c.ID() {
		t.Fatalf("%s got %+v, %v, want %q", c.ID(), r, err, want)
	}
}

func TestStreamsShareAConnection(t *testing.T) {
	o, m := newTestMux(t, 5)
	a, b := open(t, m, "a", false), open(t, m, "b", true)
	tell(t, a, order{Say: []string{"a1", "a2"}})
	tell(t, b, order{Say: []string{"b1"}})
	tell(t, a, order{Say: []string{"a3"}, Last: true})
	hear(t, b, "b1")
	for _, w := range []string{"a1", "a2", "a3", ""} {
		hear(t, a, w)
	}
	a.Close(nil)
	b.Close(order{ID: "b", Last: true})
	open(t, m, "c", true)
	if n := o.dials.Load(); n != 1 {
		t.Errorf("%d dials", n)
	}
}

// A stream counts until the provider has ended it, also when it was closed before.
func TestAConnectionTakesNoMoreStreamsThanTheProviderDoes(t *testing.T) {
	o, m := newTestMux(t, 2)
	a, b := open(t, m, "a", false), open(t, m, "b", true)
	tell(t, a, order{Say: []string{"a1"}})
	hear(t, a, "a1")
	a.Close(order{ID: "a", Bye: true}) // and the provider does not end it yet
	c := open(t, m, "c", false)
	tell(t, b, order{Say: []string{"b1"}}) // the provider has read the bye
	hear(t, b, "b1")
	if o.byes.Load() != 1 {
		t.Error("the provider was not told")
	}
	if err := b.l.WriteJSON(t.Context(), order{ID: "a", Last: true}); err != nil {
		t.Fatal(err)
	}
	tell(t, b, order{Say: []string{"b2"}})
	hear(t, b, "b2")
	d := open(t, m, "d", true)
	if d.l != b.l || c.l == b.l || o.dials.Load() != 2 {
		t.Errorf("the place was not given to the next stream, %d dials", o.dials.Load())
	}
}

func TestAStreamThatTheProviderNeverSawTakesNoPlace(t *testing.T) {
	o, m := newTestMux(t, 1)
	a := open(t, m, "a", false)
	a.Close(order{ID: "a", Bye: true})
	b := open(t, m, "b", true)
	tell(t, b, order{Say: []string{"b1"}})
	hear(t, b, "b1")
	if o.byes.Load() != 0 {
		t.Error("bye for a stream that was never begun")
	}
}

func TestAConnectionFullOfTheDeadIsGivenUp(t *testing.T) {
	_, m := newTestMux(t, 1)
	a := open(t, m, "a", false)
	tell(t, a, order{})
	a.Close(order{ID: "a", Bye: true})
	open(t, m, "b", false)
}

func TestEndIsTheOnlyGoodbye(t *testing.T) {
	o, m := newTestMux(t, 1)
	a := open(t, m, "a", false)
	if err := a.End(t.Context(), order{ID: "a", Say: []string{"a1"}}, order{ID: "a", Bye: true, Last: true}); err != nil {
		t.Fatal(err)
	}
	hear(t, a, "a1")
	hear(t, a, "")
	a.Close(order{ID: "a", Bye: true})
	b := open(t, m, "b", true)
	tell(t, b, order{Say: []string{"b1"}})
	hear(t, b, "b1")
	if o.byes.Load() != 1 {
		t.Errorf("%d goodbyes", o.byes.Load())
	}
	var e *model.Error
	if err := a.WriteJSON(t.Context(), order{}); !errors.As(err, &e) {
		t.Errorf("write after Close: %v", err)
	}
	if _, err := a.Next(t.Context()); !errors.As(err, &e) {
		t.Errorf("Next after Close: %v", err)
	}
}

func TestTheEndOfAConnectionFailsItsStreams(t *testing.T) {
	for _, how := range []order{{Hangup: true}, {Garbage: true}} {
		_, m := newTestMux(t, 3)
		a, b := open(t, m, "a", false), open(t, m, "b", true)
		tell(t, a, order{Say: []string{"a1"}})
		tell(t, b, how)
		hear(t, a, "a1") // what came before is not lost
		for _, c := range []*Channel[said]{a, b} {
			var e *model.Error
			if _, err := c.Next(t.Context()); !errors.As(err, &e) {
				t.Errorf("%+v: %s: error is %v", how, c.ID(), err)
			}
		}
		open(t, m, "c", false)
	}
}

func TestAWaitThatWasGivenUpSparesTheOthers(t *testing.T) {
	_, m := newTestMux(t, 5)
	a, b := open(t, m, "a", false), open(t, m, "b", true)
	tell(t, a, order{})
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("too slow"))
	defer cancel()
	if _, err := a.Next(ctx); err == nil || err.Error() != "too slow" {
		t.Fatal(err)
	}
	a.Close(order{ID: "a", Last: true})
	c := open(t, m, "c", false)
	tell(t, b, order{Say: []string{"b1"}})
	hear(t, b, "b1")
	if c.l == b.l {
		t.Error("a connection that did not answer got another stream")
	}
}

func TestOneWhoIsCancelledDoesNotSpoilTheConnection(t *testing.T) {
	_, m := newTestMux(t, 5)
	a := open(t, m, "a", false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	a.Close(nil)
	open(t, m, "b", true)
}

func TestAStreamThatNobodyReadsFailsAlone(t *testing.T) {
	_, m := newTestMux(t, 2)
	a, b := open(t, m, "a", false), open(t, m, "b", true)
	tell(t, a, order{Say: make([]string, maxUnread+1)})
	tell(t, b, order{Say: []string{"b1"}})
	hear(t, b, "b1")
	for range maxUnread {
		hear(t, a, "")
	}
	var e *model.Error
	if _, err := a.Next(t.Context()); !errors.As(err, &e) || e.Kind != model.KindProtocol {
		t.Errorf("error is %v", err)
	}
}

func TestStreamsJoinADial(t *testing.T) {
	o, m := newTestMux(t, 4)
	var fresh atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			c, err := m.Open(t.Context(), string(rune('a'+i)))
			if err != nil {
				t.Error(err)
				return
			}
			if _, reused := c.Acquired(); !reused {
				fresh.Add(1)
			}
		})
	}
	wg.Wait()
	if o.dials.Load() != 2 || fresh.Load() != 2 {
		t.Errorf("%d dials, %d fresh", o.dials.Load(), fresh.Load())
	}
	for _, l := range m.lines {
		for _, c := range l.channels {
			defer c.Close(nil)
		}
	}
}

func TestADialThatFailsIsTriedByTheNextInLine(t *testing.T) {
	o, m := newTestMux(t, 4)
	o.Server.Close()
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			var e *model.Error
			if _, err := m.Open(t.Context(), string(rune('a'+i))); !errors.As(err, &e) || e.Kind != model.KindConnection {
				t.Errorf("error is %v", err)
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Open(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestPrewarm(t *testing.T) {
	o, m := newTestMux(t, 2)
	m.Prewarm()
	for m.p.Stats().Idle == 0 {
		time.Sleep(time.Millisecond)
	}
	a := open(t, m, "a", true)
	m.Prewarm()
	open(t, m, "b", true)
	if a == nil || o.dials.Load() != 1 {
		t.Errorf("%d dials", o.dials.Load())
	}
}

// A stream that was not read in time ends after what came before the first loss: nothing is left out of
// the middle of it.
func TestAStreamThatNobodyReadsHasNoGaps(t *testing.T) {
	_, m := newTestMux(t, 2)
	c := open(t, m, "a", false)
	say := make([]string, maxUnread+1)
	for i := range say {
		say[i] = "x"
	}
	tell(t, c, order{Say: say})
	failed := func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return c.err != nil
	}
	for !failed() {
		time.Sleep(time.Millisecond)
	}
	hear(t, c, "x")
	tell(t, c, order{Say: []string{"after the gap"}})
	b := open(t, m, "b", true)
	tell(t, b, order{Say: []string{"b"}})
	hear(t, b, "b") // so that what came before it has arrived
	for i := range say {
		r, err := c.Next(t.Context())
		if err != nil {
			return
		}
		if r.Text != "x" {
			t.Fatalf("%q was read after %d messages", r.Text, i+1)
		}
	}
	t.Error("the stream goes on")
}
