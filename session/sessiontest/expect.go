package sessiontest

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/session"
)

// Start starts a session without audio, for Session.Run, and closes it when the test ends.
func Start(t testing.TB, o session.Options, a *agent.Agent) *session.Session {
	t.Helper()
	s := session.New(o)
	if err := s.Start(t.Context(), a, nil); err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { s.Shutdown(agent.ShutdownOptions{Now: true}); <-s.Done() })
	return s
}

// TB is the part of testing.TB that expectations use.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Events are what an agent did in a run, to be gone through one after another. What is not as expected
// fails the test, with the list of events and a marker at the wrong one.
type Events struct {
	t     TB
	items []chat.Item
	next  int
}

// Event is one of Events.
type Event struct {
	list *Events
	i    int // of list.items; -1 for none, of which everything is true: the test has failed before
}

// Args are arguments of a tool call. Numbers, strings and so on are compared as JSON has them.
type Args map[string]any

// Expect begins with the first event of res.
func Expect(t TB, res *session.RunResult) *Events { return &Events{t: t, items: res.Items} }

// NextEvent is the next event. With types (chat.Item.Type: "message", "function_call",
// "function_call_output", "agent_handoff"), events of other types are skipped.
func (e *Events) NextEvent(types ...string) *Event {
	e.t.Helper()
	for e.next < len(e.items) {
		i := e.next
		e.next++
		if len(types) == 0 || slices.Contains(types, e.items[i].Type()) {
			return &Event{e, i}
		}
	}
	what := "another event"
	if len(types) > 0 {
		what += " of type " + strings.Join(types, " or ")
	}
	return e.fail(e.next, "want %s, there is none", what)
}

// SkipNext skips n events, which must exist.
func (e *Events) SkipNext(n int) *Events {
	e.t.Helper()
	if e.next+n > len(e.items) {
		e.fail(len(e.items), "want %d more events to skip, there are %d", n, len(e.items)-e.next)
		n = len(e.items) - e.next
	}
	e.next += n
	return e
}

// SkipNextEventIf skips the next event if there is one and it is as ok says.
func (e *Events) SkipNextEventIf(ok func(chat.Item) bool) bool {
	skip := e.next < len(e.items) && ok(e.items[e.next])
	if skip {
		e.next++
	}
	return skip
}

// NoMoreEvents fails the test if there is another event.
func (e *Events) NoMoreEvents() {
	e.t.Helper()
	if e.next < len(e.items) {
		e.fail(e.next, "want no more events")
	}
}

// At is event i, from 0; negative numbers count from the end.
func (e *Events) At(i int) *Event {
	e.t.Helper()
	at := i
	if i < 0 {
		at += len(e.items)
	}
	if at < 0 || at >= len(e.items) {
		return e.fail(len(e.items), "want an event %d, there are %d", i, len(e.items))
	}
	return &Event{e, at}
}

// ContainsMessage finds the first message of that role among all events; chat.Assistant is the agent.
func (e *Events) ContainsMessage(role chat.Role) *Event {
	e.t.Helper()
	return e.contains(isMessage(role))
}

// ContainsFunctionCall finds the first call of that tool with at least these arguments among all events.
func (e *Events) ContainsFunctionCall(name string, args Args) *Event {
	e.t.Helper()
	return e.contains(isFunctionCall(name, args))
}

// ContainsFunctionCallOutput finds the first output that is no error and has text in it.
func (e *Events) ContainsFunctionCallOutput(text string) *Event {
	e.t.Helper()
	return e.contains(isOutput(text, false))
}

// ContainsAgentHandoff finds the first handoff to the agent of that id; "" is any.
func (e *Events) ContainsAgentHandoff(newAgentID string) *Event {
	e.t.Helper()
	return e.contains(isHandoff(newAgentID))
}

// Item is the event itself.
func (ev *Event) Item() chat.Item {
	if ev.i < 0 {
		return nil
	}
	return ev.list.items[ev.i]
}

// IsMessage expects a message of that role; chat.Assistant is the agent.
func (ev *Event) IsMessage(role chat.Role) *Event {
	ev.list.t.Helper()
	return ev.is(isMessage(role))
}

// Says expects a message that has text in it.
func (ev *Event) Says(text string) *Event {
	ev.list.t.Helper()
	return ev.is(expected{fmt.Sprintf("a message with %q", text), func(it chat.Item) bool {
		m, ok := it.(*chat.Message)
		return ok && strings.Contains(m.Text(), text)
	}})
}

// IsFunctionCall expects a call of that tool with at least these arguments.
func (ev *Event) IsFunctionCall(name string, args Args) *Event {
	ev.list.t.Helper()
	return ev.is(isFunctionCall(name, args))
}

// IsFunctionCallOutput expects an output that is no error and has text in it.
func (ev *Event) IsFunctionCallOutput(text string) *Event {
	ev.list.t.Helper()
	return ev.is(isOutput(text, false))
}

// IsFunctionCallError expects the output of a tool that failed, with text in it.
func (ev *Event) IsFunctionCallError(text string) *Event {
	ev.list.t.Helper()
	return ev.is(isOutput(text, true))
}

// IsAgentHandoff expects a handoff to the agent of that id; "" is any.
func (ev *Event) IsAgentHandoff(newAgentID string) *Event {
	ev.list.t.Helper()
	return ev.is(isHandoff(newAgentID))
}

// expected is what an event should be.
type expected struct {
	what string
	ok   func(chat.Item) bool
}

func isMessage(role chat.Role) expected {
	return expected{fmt.Sprintf("a message of the %s", role), func(it chat.Item) bool {
		m, ok := it.(*chat.Message)
		return ok && m.Role == role
	}}
}

func isFunctionCall(name string, args Args) expected {
	what := "a call of " + name
	if len(args) > 0 {
		what += " with " + asJSON(args)
	}
	return expected{what, func(it chat.Item) bool {
		c, ok := it.(*chat.FunctionCall)
		return ok && c.Name == name && hasArgs(c.Arguments, args)
	}}
}

func isOutput(text string, isError bool) expected {
	what := "an output"
	if isError {
		what = "an error of a tool"
	}
	if text != "" {
		what += fmt.Sprintf(" with %q", text)
	}
	return expected{what, func(it chat.Item) bool {
		o, ok := it.(*chat.FunctionCallOutput)
		return ok && o.IsError == isError && strings.Contains(o.Output, text)
	}}
}

func isHandoff(id string) expected {
	return expected{"a handoff to " + id, func(it chat.Item) bool {
		h, ok := it.(*chat.Handoff)
		return ok && (id == "" || h.NewAgentID == id)
	}}
}

func (ev *Event) is(want expected) *Event {
	ev.list.t.Helper()
	if ev.i >= 0 && !want.ok(ev.Item()) {
		return ev.list.fail(ev.i, "want %s", want.what)
	}
	return ev
}

func (e *Events) contains(want expected) *Event {
	e.t.Helper()
	if i := slices.IndexFunc(e.items, want.ok); i >= 0 {
		return &Event{e, i}
	}
	return e.fail(len(e.items), "want %s somewhere, there is none", want.what)
}

// fail fails the test because of event i.
func (e *Events) fail(i int, format string, args ...any) *Event {
	e.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, format, args...)
	for n, it := range e.items {
		mark := "   "
		if n == i {
			mark = ">>>"
		}
		fmt.Fprintf(&b, "\n%s %d %s", mark, n, describe(it))
	}
	if i >= len(e.items) {
		b.WriteString("\n>>> the end")
	}
	e.t.Fatalf("%s", b.String())
	return &Event{e, -1}
}

func describe(it chat.Item) string {
	switch it := it.(type) {
	case *chat.Message:
		return fmt.Sprintf("message of the %s: %s", it.Role, it.Text())
	case *chat.FunctionCall:
		return fmt.Sprintf("call of %s with %s", it.Name, it.Arguments)
	case *chat.FunctionCallOutput:
		if it.IsError {
			return fmt.Sprintf("error of %s: %s", it.Name, it.Output)
		}
		return fmt.Sprintf("output of %s: %s", it.Name, it.Output)
	case *chat.Handoff:
		return fmt.Sprintf("handoff from %s to %s", it.OldAgentID, it.NewAgentID)
	}
	return it.Type()
}

// hasArgs reports whether the JSON object got has all of want.
func hasArgs(got string, want Args) bool {
	var g, w map[string]any
	if json.Unmarshal([]byte(got), &g) != nil || json.Unmarshal([]byte(asJSON(want)), &w) != nil {
		return false
	}
	for k := range maps.Keys(w) {
		if v, ok := g[k]; !ok || !reflect.DeepEqual(v, w[k]) {
			return false
		}
	}
	return true
}

func asJSON(args Args) string {
	if args == nil {
		return "{}"
	}
	b, err := json.Marshal(args)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
