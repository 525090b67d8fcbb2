package sessiontest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
)

// failures is a TB that goes on after a failure.
type failures []string

func (*failures) Helper() {}
func (f *failures) Fatalf(format string, args ...any) {
	*f = append(*f, fmt.Sprintf(format, args...))
}

func events() *session.RunResult {
	return &session.RunResult{Items: []chat.Item{
		&chat.FunctionCall{Name: "book", Arguments: `{"city":"Rome","nights":2,"guests":["Ann"]}`},
		&chat.FunctionCallOutput{Name: "book", Output: "booked in Rome"},
		&chat.FunctionCallOutput{Name: "pay", Output: "no money", IsError: true},
		&chat.Handoff{OldAgentID: "desk", NewAgentID: "billing"},
		chat.NewMessage(chat.Assistant, "Hello, this is billing."),
	}}
}

func TestExpectationsThatAreMet(t *testing.T) {
	e := sessiontest.Expect(t, events())
	e.NextEvent().IsFunctionCall("book", sessiontest.Args{"nights": 2, "guests": []string{"Ann"}})
	e.NextEvent().IsFunctionCallOutput("booked")
	if e.SkipNextEventIf(func(it chat.Item) bool { return it.Type() == "message" }) {
		t.Error("skipped what is no message")
	}
	if !e.SkipNextEventIf(func(it chat.Item) bool { return it.(*chat.FunctionCallOutput).IsError }) {
		t.Error("did not skip the error")
	}
	e.NextEvent("message").IsMessage(chat.Assistant).Says("billing")
	e.NoMoreEvents()
	if e.SkipNextEventIf(func(chat.Item) bool { return true }) {
		t.Error("skipped the end")
	}
	e.At(2).IsFunctionCallError("money")
	e.At(-2).IsAgentHandoff("billing").IsAgentHandoff("")
	e.ContainsFunctionCall("book", nil)
	e.ContainsFunctionCallOutput("Rome")
	e.ContainsAgentHandoff("billing")
	if m := e.ContainsMessage(chat.Assistant).Item().(*chat.Message); m.Text() != "Hello, this is billing." {
		t.Errorf("found %q", m.Text())
	}
	sessiontest.Expect(t, events()).SkipNext(4).NextEvent().IsMessage(chat.Assistant)
}

func TestExpectationsThatAreNot(t *testing.T) {
	for want, check := range map[string]func(e *sessiontest.Events){
		"want a message of the assistant\n>>> 0":                  func(e *sessiontest.Events) { e.NextEvent().IsMessage(chat.Assistant) },
		"want a call of pay\n>>> 0":                               func(e *sessiontest.Events) { e.NextEvent().IsFunctionCall("pay", nil) },
		`want a call of book with {"nights":3}` + "\n>>> 0":       func(e *sessiontest.Events) { e.At(0).IsFunctionCall("book", sessiontest.Args{"nights": 3}) },
		`want a call of book with {"days":null}` + "\n>>> 0":      func(e *sessiontest.Events) { e.At(0).IsFunctionCall("book", sessiontest.Args{"days": nil}) },
		"want an output\n    0":                                   func(e *sessiontest.Events) { e.At(2).IsFunctionCallOutput("") },
		`want an error of a tool with "x"` + "\n    0":            func(e *sessiontest.Events) { e.At(2).IsFunctionCallError("x") },
		"want a handoff to sales":                                 func(e *sessiontest.Events) { e.At(3).IsAgentHandoff("sales") },
		`want a message with "bye"`:                               func(e *sessiontest.Events) { e.At(4).Says("bye") },
		"want no more events\n    0":                              func(e *sessiontest.Events) { e.NextEvent(); e.NoMoreEvents() },
		"want another event, there is none":                       func(e *sessiontest.Events) { e.SkipNext(5).NextEvent() },
		"want another event of type message, there is none":       func(e *sessiontest.Events) { e.NextEvent("message"); e.NextEvent("message") },
		"want 6 more events to skip, there are 5":                 func(e *sessiontest.Events) { e.SkipNext(6) },
		"want an event -6, there are 5":                           func(e *sessiontest.Events) { e.At(-6).IsMessage(chat.User) },
		"want a call of pay somewhere, there is none":             func(e *sessiontest.Events) { e.ContainsFunctionCall("pay", nil).IsMessage(chat.User) },
		"want a message of the user somewhere, there is none":     func(e *sessiontest.Events) { e.ContainsMessage(chat.User) },
		`want an output with "no money" somewhere, there is none`: func(e *sessiontest.Events) { e.ContainsFunctionCallOutput("no money") },
		"want a handoff to sales somewhere, there is none":        func(e *sessiontest.Events) { e.ContainsAgentHandoff("sales") },
		"want a message that greets\n":                            func(e *sessiontest.Events) { e.At(0).Judge(t.Context(), nil, "greets") },
	} {
		var f failures
		check(sessiontest.Expect(&f, events()))
		if len(f) != 1 || !strings.HasPrefix(f[0], want) || strings.Count(f[0], ">>>") != 1 || strings.Count(f[0], "\n") < 5 {
			t.Errorf("%q, want one failure that begins with %q and marks one event", f, want)
		}
	}
}

func TestJudge(t *testing.T) {
	says := func(args string) scripted.Answer {
		return scripted.Answer{Calls: []driver.ToolCall{{Name: "verdict", Arguments: args}}}
	}
	for _, tt := range []struct {
		answer scripted.Answer
		want   string
	}{
		{says(`{"fulfilled":true,"reason":"it does"}`), ""},
		{says(`{"fulfilled":false,"reason":"no greeting"}`), "want a message that greets; it does not: no greeting"},
		{says(`{"reason":"?"}`), "judging whether the message greets: "},
		{scripted.Answer{Text: "Yes"}, "judging whether the message greets: the model gave no verdict"},
		{scripted.Answer{Fault: &scripted.Fault{InChat: true, Err: errors.New("broken")}}, "judging whether the message greets: "},
	} {
		script := scripted.New(&scripted.Options{Answers: []scripted.Answer{tt.answer}})
		var f failures
		sessiontest.Expect(&f, events()).At(-1).Judge(t.Context(), llm.New(script, nil), "greets")
		if got := strings.Join(f, ""); (tt.want == "") != (got == "") || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%q, want %q", got, tt.want)
		}
		r := script.Requests()[0]
		if r.ToolChoice.Function != "verdict" || !strings.Contains(scripted.LastUser(r), "Hello, this is billing.") {
			t.Errorf("asked %+v", r)
		}
	}
}
