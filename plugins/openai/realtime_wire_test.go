package openai

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/realtime/driver"
)

// partner is the provider's end of one connection, in the hands of a test.
type partner struct {
	t      *testing.T
	conn   driver.Conn
	query  url.Values
	header http.Header
	update map[string]any // the session object that opened the connection
	ws     *sandbox.Socket
	in     *sandbox.Inbox
}

// meet connects a client of the variant with a partner, which takes any session.
func meet(t *testing.T, v variant, s *driver.Setup) *partner {
	t.Helper()
	p := &partner{t: t}
	opened := make(chan struct{})
	box := sandbox.Start(t, fault.Plan{})
	box.HandleSocket(v.prefix+"/realtime", func(c *sandbox.Call, ws *sandbox.Socket) {
		p.query, p.header, p.ws, p.in = c.R.URL.Query(), c.R.Header, ws, ws.Inbox(func(bool, []byte) {})
		p.say(`{"type":"session.created","session":{}}`)
		p.update, _ = p.hear("session.update")["session"].(map[string]any)
		p.say(`{"type":"session.updated","session":{}}`)
		close(opened)
		ws.Wait()
	}, func(*sandbox.Call) bool { return true })
	d, err := newRealtime(v.on(box))
	if err != nil {
		t.Fatal(err)
	}
	if s.History == nil {
		s.History = &chat.Context{}
	}
	ctx, cancel := p.context()
	defer cancel()
	if p.conn, err = d.Connect(ctx, s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.conn.Close() })
	<-opened
	return p
}

func (p *partner) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(p.t.Context(), 10*time.Second)
}

// say sends events.
func (p *partner) say(events ...string) {
	for _, e := range events {
		if err := p.ws.Send(json.RawMessage(e), false); err != nil {
			p.t.Errorf("send %s: %v", e, err)
		}
	}
}

// hear is the client's next message, which must be of the type.
func (p *partner) hear(kind string) map[string]any {
	p.t.Helper()
	_, data, err := p.in.Next(10 * time.Second)
	var m map[string]any
	if err != nil || json.Unmarshal(data, &m) != nil || m["type"] != kind {
		p.t.Errorf("the client sent %s (%v), want %s", data, err, kind)
	}
	return m
}

// tells are the client's next n events.
func (p *partner) tells(n int) (all []driver.Event) {
	p.t.Helper()
	ctx, cancel := p.context()
	defer cancel()
	for range n {
		e, err := p.conn.Next(ctx)
		if err != nil {
			p.t.Fatalf("after %+v: %v", all, err)
		}
		all = append(all, e)
	}
	return all
}

// do calls the client.
func (p *partner) do(f func(context.Context) error) {
	p.t.Helper()
	ctx, cancel := p.context()
	defer cancel()
	if err := f(ctx); err != nil {
		p.t.Error(err)
	}
}

// marker is an event whose only use is that others must come before it.
const marker = `{"type":"input_audio_buffer.speech_stopped","item_id":"marker"}`

// want checks that events are told as wanted, and nothing besides.
func (p *partner) want(events []string, want ...driver.Event) {
	p.t.Helper()
	p.say(append(events, marker)...)
	got := p.tells(len(want))
	for i := range got { // errors and times are compared by the tests that are about them
		switch e := got[i].(type) {
		case *driver.Audio:
			e.Frame = e.Frame.Clone()
		case *driver.Transcript:
			e.StartedAt = time.Time{}
		}
		if !reflect.DeepEqual(got[i], want[i]) {
			p.t.Errorf("told %#v, want %#v", got[i], want[i])
		}
	}
	if e, ok := p.tells(1)[0].(*driver.SpeechStopped); !ok || e.ItemID != "marker" {
		p.t.Errorf("told %#v besides", e)
	}
}

func ofVariant(name string) variant {
	for _, v := range variants() {
		if v.name == name {
			return v
		}
	}
	panic("no variant " + name)
}

// sameJSON compares a decoded message with JSON.
func sameJSON(t *testing.T, got any, want string) {
	t.Helper()
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, w) {
		b, _ := json.Marshal(got)
		t.Errorf("got  %s\nwant %s", b, want)
	}
}

// A connection that ends in order is at its end, any other is broken.
func TestConversationEndOfConnection(t *testing.T) {
	t.Parallel()
	for code, well := range map[int]bool{1000: true, 1001: true, 1011: false} {
		p := meet(t, ofVariant("openai"), &driver.Setup{})
		p.ws.Close(code, "over")
		ctx, cancel := p.context()
		if _, err := p.conn.Next(ctx); errors.Is(err, io.EOF) != well {
			t.Errorf("close code %d: %v", code, err)
		}
		cancel()
	}
}

// A connection whose session is refused does not come about, and the error does not have the key.
func TestConversationSessionRefused(t *testing.T) {
	t.Parallel()
	box := sandbox.Start(t, fault.Plan{})
	box.HandleSocket("/v1/realtime", func(c *sandbox.Call, ws *sandbox.Socket) {
		_ = ws.Send(json.RawMessage(`{"type":"error","error":{"type":"invalid_request_error","code":"invalid_value","message":"no voice `+box.Key+`"}}`), false)
		ws.Wait()
	}, func(*sandbox.Call) bool { return true })
	d, err := newRealtime(ofVariant("openai").on(box))
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Connect(t.Context(), &driver.Setup{History: &chat.Context{}})
	if err == nil || !strings.Contains(err.Error(), "no voice") || strings.Contains(err.Error(), box.Key) {
		t.Errorf("the error is %v", err)
	}
}
