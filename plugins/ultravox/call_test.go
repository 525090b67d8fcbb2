package ultravox

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/ultravoxbox"
	"github.com/parley-go/parley/internal/teller"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/realtime/driver"
)

func newCall(t testing.TB) *call {
	d, err := newRealtime(&RealtimeOptions{APIKey: "k"})
	if err != nil {
		t.Fatal(err)
	}
	return &call{d: d, t: teller.New(defaultOutput, false), tools: map[string]bool{}, past: -1}
}

// told is what c has to tell.
func (c *call) told() (all []driver.Event) {
	for {
		e, err := c.t.Next(context.Background(), func(context.Context) (wire.Message, error) { return wire.Message{}, io.EOF }, nil)
		if err != nil {
			return all
		}
		all = append(all, e)
	}
}

func (c *call) gets(t testing.TB, messages ...string) {
	for _, m := range messages {
		var e event
		if err := json.Unmarshal([]byte(m), &e); err != nil {
			t.Fatal(err)
		}
		c.take(&e)
	}
}

const (
	listening = `{"type":"state","state":"listening"}`
	thinking  = `{"type":"state","state":"thinking"}`
	speaking  = `{"type":"state","state":"speaking"}`
	started   = `{"type":"user_started_speaking"}`
	stopped   = `{"type":"user_stopped_speaking"}`
	clears    = `{"type":"playback_clear_buffer"}`
	yes       = `{"type":"transcript","role":"agent","medium":"voice","delta":"Yes","final":false,"ordinal":2}`
	yesDone   = `{"type":"transcript","role":"agent","medium":"voice","text":"Yes.","final":true,"ordinal":2}`
	again     = `{"type":"transcript","role":"agent","medium":"voice","delta":"Well","final":false,"ordinal":4}`
	hello     = `{"type":"transcript","role":"user","medium":"voice","text":"Hello. ","final":true,"ordinal":1}`
)

func TestEvents(t *testing.T) {
	answer := []string{"created a for ", "message b of a text=false", `text b "Yes"`}
	for _, c := range []struct {
		name string
		got  []string
		want []string
	}{
		{"turn", []string{`{"type":"call_started","callId":"c"}`, listening, started, stopped, thinking, speaking, yes, hello, yesDone, listening, yesDone, `{"type":"pong"}`},
			[]string{"speech started", "speech stopped a", "created b for ", "message c of b text=false", `text c "Yes"`, `heard a "Hello."  final=true`,
				`text c "."`, "whole c", "done b for  completed"}},
		{"turn that was not announced", []string{thinking, yes, listening},
			[]string{"speech started", "speech stopped a", "created b for ", "message c of b text=false", `text c "Yes"`, "whole c", "done b for  completed"}},
		{"turn that comes to nothing", []string{started, stopped, thinking, listening},
			[]string{"speech started", "speech stopped a", "created b for ", "done b for  cancelled"}},
		{"speaking without thinking", []string{speaking, yes, `{"type":"state","state":"idle"}`}, append(answer[:3:3], "whole b", "done a for  completed")},
		{"interruption", []string{speaking, yes, started, clears, listening, stopped},
			append(answer[:3:3], "speech started", "interrupted a", "whole b", "done a for  cancelled", "speech stopped c")},
		{"interruption that was not announced", []string{speaking, yes, clears, listening},
			append(answer[:3:3], "speech started", "interrupted a", "whole b", "done a for  cancelled")},
		{"sound that does not interrupt", []string{speaking, yes, started, stopped, listening}, append(answer[:3:3], "whole b", "done a for  completed")},
		{"speech that begins before the end", []string{speaking, yes, started, listening, stopped},
			append(answer[:3:3], "whole b", "done a for  completed", "speech started", "speech stopped c")},
		{"one answer after the other", []string{speaking, yes, thinking, again, listening},
			append(answer[:3:3], "speech started", "speech stopped c", "whole b", "done a for  completed",
				"created d for ", "message e of d text=false", `text e "Well"`, "whole e", "done d for  completed")},
		{"call", []string{speaking, yes, `{"type":"client_tool_invocation","toolName":"f","invocationId":"i","parameters":{"x":1}}`, listening},
			append(answer[:3:3], `call of a: i f({"x":1})`, "whole b", "done a for  completed")},
		{"call without parameters", []string{`{"type":"client_tool_invocation","toolName":"f","invocationId":"i"}`},
			[]string{"created a for ", "call of a: i f({})", "done a for  completed"}},
		{"written answer", []string{`{"type":"transcript","role":"agent","medium":"text","delta":"Yes","final":false,"ordinal":2}`,
			`{"type":"transcript","role":"agent","medium":"text","text":"Yes","final":true,"ordinal":2}`}, append(answer[:3:3], "whole b", "done a for  completed")},
		{"the user in pieces", []string{`{"type":"transcript","role":"user","medium":"voice","delta":"I","ordinal":1}`,
			`{"type":"transcript","role":"user","medium":"voice","delta":" am","final":true,"ordinal":1}`, `{"type":"transcript","role":"user","final":true}`},
			[]string{`heard a "I"  final=false`, `heard a "I am"  final=true`}},
		{"text of another client", []string{`{"type":"transcript","role":"user","medium":"text","text":"Hi","final":true,"ordinal":1}`}, []string{`heard a "Hi"  final=true`}},
	} {
		x := newCall(t)
		x.gets(t, c.got...)
		if got := modeltest.Told(x.told()); !slices.Equal(got, c.want) {
			t.Errorf("%s: told %q\nwant %q", c.name, got, c.want)
		}
	}
}

// Sound begins an answer, silence does not.
func TestSound(t *testing.T) {
	c := newCall(t)
	silence, sound := make([]byte, 480), make([]byte, 480)
	sound[100] = 1
	for _, m := range [][]byte{silence, sound, silence} {
		if err := c.understand(t.Context(), wire.Message{Binary: true, Data: m}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"created a for ", "message b of a text=false", "audio b 10ms", "audio b 10ms"}
	if lines := modeltest.Told(c.told()); !slices.Equal(lines, want) {
		t.Errorf("told %q", lines)
	}
}

// An answer that we stopped is no word of the user, and the next one is for him again.
func TestCancelledAnswer(t *testing.T) {
	var sent []map[string]any
	c, _ := joined(t, ultravoxbox.Options{Seen: func(f map[string]any) { sent = append(sent, f) }}, fault.Always(fault.Slow), &driver.Setup{})
	ctx := t.Context()
	if err := c.Generate(ctx, &driver.Request{ID: "r"}); err != nil {
		t.Fatal(err)
	}
	var all []driver.Event
	next := func(want string) {
		t.Helper()
		for {
			e, err := c.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if a, ok := e.(*driver.Audio); ok {
				a.Frame = a.Frame.Clone()
			}
			all = append(all, e)
			lines := modeltest.Told(all)
			if strings.HasPrefix(lines[len(lines)-1], want) {
				return
			}
		}
	}
	next("audio")
	if err := c.Cancel(ctx); err != nil {
		t.Fatal(err)
	}
	next("done")
	for _, line := range modeltest.Told(all) {
		if strings.HasPrefix(line, "speech") || strings.HasPrefix(line, "interrupted") {
			t.Errorf("told %q", line)
		}
	}
	if line := modeltest.Told(all)[len(all)-1]; line != "done a for r cancelled" {
		t.Errorf("the end is %q", line)
	}
	if err := c.Say(ctx, &driver.Request{ID: "s"}, "Good evening."); err != nil {
		t.Fatal(err)
	}
	next("done")
	if line := modeltest.Told(all)[len(all)-1]; line != "done c for s completed" {
		t.Errorf("the end is %q", line)
	}
	_ = c.Close()
	want := []map[string]any{
		{"type": "user_text_message", "text": "", "urgency": "soon"},
		{"type": "user_text_message", "text": "", "urgency": "immediate", "deferResponse": true},
		{"type": "forced_agent_message", "content": "Good evening.", "urgency": "soon"},
	}
	if !reflect.DeepEqual(sent, want) {
		t.Errorf("sent %v", sent)
	}
}

// An answer that begins although we stopped it before is no turn of the user.
func TestCancelledRequest(t *testing.T) {
	c, _ := joined(t, ultravoxbox.Options{}, fault.Plan{}, &driver.Setup{})
	c.t.Ask("r")
	if err := c.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.gets(t, thinking, listening, thinking)
	want := []string{"created a for ", "done a for  cancelled", "speech started", "speech stopped b", "created c for "}
	if lines := modeltest.Told(c.told()); !slices.Equal(lines, want) {
		t.Errorf("told %q", lines)
	}
}

// joined is a call on a sandbox.
func joined(t testing.TB, bo ultravoxbox.Options, p fault.Plan, s *driver.Setup) (*call, *sandbox.Server) {
	t.Helper()
	box := sandbox.Start(t, p)
	d := on(t, box, bo, RealtimeOptions{})
	if s.History == nil {
		s.History = &chat.Context{}
	}
	c, err := d.Connect(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*call), box
}

// What is written is put behind what was said, its echo is no turn of the user, and what cannot be added is named.
func TestAdd(t *testing.T) {
	var sent []map[string]any
	c, _ := joined(t, ultravoxbox.Options{Seen: func(f map[string]any) { sent = append(sent, f) }}, fault.Plan{}, &driver.Setup{})
	items := []driver.Item{
		{First: true, Item: message1(chat.User, "u", "Hi")}, {After: "u", Item: message1(chat.Assistant, "a", "Hello")},
		{After: "a", Item: message1(chat.System, "s", "Be brief.")}, {After: "s", Item: message1(chat.User, "e", " ")},
		{After: "s", Silent: true, Item: &chat.FunctionCallOutput{Header: chat.Header{ID: "o"}, CallID: "lost", Name: "f", Output: "1"}},
	}
	var left *driver.UnsupportedItems
	if err := c.Add(t.Context(), items); !errors.As(err, &left) || !slices.Equal(left.IDs, []string{"a", "e"}) {
		t.Errorf("Add: %v", err)
	}
	if err := c.Generate(t.Context(), &driver.Request{ID: "r", Instructions: "Wave."}); err != nil {
		t.Fatal(err)
	}
	var all []driver.Event
	for {
		e, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
		if _, ok := e.(*driver.ResponseDone); ok {
			break
		}
	}
	for i, want := range []string{`added u after  "Hi"`, `added s after u "Be brief."`, "added o after s"} {
		if line := modeltest.Told(all)[i]; line != want {
			t.Errorf("told %q, want %q", line, want)
		}
	}
	for _, line := range modeltest.Told(all) {
		if strings.HasPrefix(line, "heard") {
			t.Errorf("told %q", line)
		}
	}
	_ = c.Close()
	text := func(text, urgency string) map[string]any {
		return map[string]any{"type": "user_text_message", "text": text, "urgency": urgency}
	}
	want := []map[string]any{
		text("Hi", "later"), text("<instruction>Be brief.</instruction>", "later"),
		text("<instruction>The tool f returned: 1</instruction>", "later"), text("<instruction>Wave.</instruction>", "soon"),
	}
	if !reflect.DeepEqual(sent, want) {
		t.Errorf("sent %v", sent)
	}
}

func message1(role chat.Role, id, text string) *chat.Message {
	m := chat.NewMessage(role, text)
	m.ID = id
	return m
}

// The end of a call is told in order.
func TestEndOfCall(t *testing.T) {
	c, box := joined(t, ultravoxbox.Options{}, fault.Plan{}, &driver.Setup{})
	box.HangUp()
	if e, err := c.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("told %v, %v", e, err)
	}
}

func FuzzEvent(f *testing.F) {
	for _, m := range []string{thinking, yes, yesDone, hello, clears, started, `{"type":"client_tool_invocation","invocationId":"i","parameters":[]}`} {
		f.Add(m, listening)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		c := newCall(t)
		for _, m := range []string{a, b} {
			var e event
			if json.Unmarshal([]byte(m), &e) == nil {
				c.take(&e)
			}
		}
		open := map[string]bool{}
		for _, e := range c.told() {
			switch e := e.(type) {
			case *driver.ResponseCreated:
				open[e.ResponseID] = true
			case *driver.ResponseDone:
				delete(open, e.ResponseID)
			}
			if len(open) > 1 {
				t.Error("two answers at once")
			}
		}
	})
}

// A tool is not carried out for an answer that we stopped, and the provider does not wait for it.
func TestCallOfACancelledAnswer(t *testing.T) {
	got := make(chan string, 2)
	up := websocket.Upgrader{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, _ = io.WriteString(w, `{"joinUrl":"ws://`+r.Host+`/call"}`)
			return
		}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		say := func(messages ...string) {
			for _, m := range messages {
				_ = ws.WriteMessage(websocket.TextMessage, []byte(m))
			}
		}
		say(speaking, yes)
		_, _, _ = ws.ReadMessage()
		say(clears, `{"type":"client_tool_invocation","toolName":"f","invocationId":"i","parameters":{}}`, listening)
		for {
			_, m, err := ws.ReadMessage()
			if err != nil {
				return
			}
			got <- string(m)
		}
	}))
	defer s.Close()
	d, err := newRealtime(&RealtimeOptions{APIKey: "secret-key", BaseURL: s.URL, HTTP: s.Client()})
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Connect(t.Context(), &driver.Setup{History: &chat.Context{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var all []driver.Event
	for {
		e, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
		if _, ok := e.(*driver.Text); ok {
			if err := c.(driver.Canceller).Cancel(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok := e.(*driver.ResponseDone); ok {
			break
		}
	}
	want := []string{"created a for ", "message b of a text=false", `text b "Yes"`, "whole b", "done a for  cancelled"}
	if lines := modeltest.Told(all); !slices.Equal(lines, want) {
		t.Errorf("told %q", lines)
	}
	if m := <-got; m != `{"agentReaction":"listens","invocationId":"i","result":"cancelled","type":"client_tool_result"}` {
		t.Errorf("sent %s", m)
	}
}
