package session_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
)

// named makes a tool that says its name.
func named(name string) *llm.FunctionTool {
	return llm.NewTool(name, "", func(context.Context, *agent.RunContext, struct{}) (string, error) { return name + " is done", nil })
}

// toolbox is a toolset.
type toolbox struct {
	id    string
	tools []llm.Tool
}

func (b toolbox) ID() string        { return b.id }
func (b toolbox) Tools() []llm.Tool { return b.tools }

func TestToolsOfOneReply(t *testing.T) {
	for _, tt := range []struct {
		only []string
		want string
	}{
		{nil, "shared own inner1 inner2"},
		{[]string{"own"}, "own"},
		{[]string{"box", "shared"}, "shared inner1 inner2"},
		{[]string{"inner2"}, "inner2"},
		{[]string{}, ""},
	} {
		t.Run(strings.Join(tt.only, ","), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "Yes"}, scripted.Answer{Text: "All again"})
				c.opt.Tools = []llm.Tool{named("shared")}
				c.start(&agent.Agent{Tools: []llm.Tool{named("own"), toolbox{"box", []llm.Tool{named("inner1"), named("inner2")}}}})
				sp := c.s.GenerateReply(agent.Reply{Tools: tt.only})
				<-sp.Done()
				c.s.GenerateReply(agent.Reply{})
				c.until(6)
				asked := c.llm.Requests()
				if len(asked) != 2 || sp.Err() != nil {
					t.Fatalf("%d requests, error %v", len(asked), sp.Err())
				}
				for i, want := range []string{tt.want, "shared own inner1 inner2"} {
					var names []string
					for _, tool := range asked[i].Tools {
						names = append(names, tool.Name)
					}
					if got := strings.Join(names, " "); got != want {
						t.Errorf("request %d has tools %q, want %q", i, got, want)
					}
				}
				c.close()
			})
		})
	}
}

func TestUnknownToolOfAReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Yes"})
		c.start(&agent.Agent{Tools: []llm.Tool{named("own")}})
		sp := c.s.GenerateReply(agent.Reply{UserInput: "Hello", Tools: []string{"own", "other"}})
		if !isDone(sp) || sp.Err() == nil || !strings.Contains(sp.Err().Error(), `"other"`) {
			t.Errorf("done %v, error %v", isDone(sp), sp.Err())
		}
		c.until(1)
		c.wantHistory("handoff  -> default_agent")
		if n := len(c.llm.Requests()); n != 0 {
			t.Errorf("the model was asked %d times", n)
		}
		c.close()
	})
}

// A tool that was hidden from a reply is not called in any of its steps.
func TestHiddenToolIsNotCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("own", "{}")}, scripted.Answer{Calls: callsTool("other", "{}")}, scripted.Answer{Text: "Done"})
		c.start(&agent.Agent{Tools: []llm.Tool{named("own"), named("other")}})
		c.s.GenerateReply(agent.Reply{Tools: []string{"own"}})
		c.until(6)
		c.wantHistory("handoff  -> default_agent", "call own({})", "output own is done", "call other({})",
			`output unknown function "other"; available: own [error]`, "assistant: Done")
		c.close()
	})
}

func TestToolSaysSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Let me see.", Calls: callsTool("search", "{}")}, scripted.Answer{Text: "Found it."})
		var speeches []*agent.Speech
		search := llm.NewTool("search", "", func(_ context.Context, rc *agent.RunContext, _ struct{}) (string, error) {
			time.Sleep(time.Second)
			speeches = append(speeches, rc.Session().Say("Still searching.", nil)) // queued behind this speech
			time.Sleep(5 * time.Second)
			speeches = append(speeches, rc.Session().Say("Almost there.", nil))
			time.Sleep(4 * time.Second)
			return "a result", nil
		})
		c.start(&agent.Agent{Tools: []llm.Tool{search}})
		c.says(0.5, 2.5, "Search")
		c.until(20)
		c.wantTimeline(
			"0.00 handoff  -> default_agent", "0.00 agent listening",
			"0.50 user speaking", "2.70 final Search", "2.50 user listening",
			"3.00 user: Search", "3.00 agent thinking",
			"3.70 agent speaking", "5.70 assistant: Let me see.", "5.70 agent thinking",
			"5.90 agent speaking", "7.90 assistant: Still searching.", "7.90 agent thinking",
			"9.60 agent speaking", "11.60 assistant: Almost there.", "11.60 agent thinking",
			"13.90 agent speaking", "15.90 assistant: Found it.", "15.90 agent listening",
		)
		if i := slices.IndexFunc(speeches, func(sp *agent.Speech) bool { return !isDone(sp) || sp.Err() != nil }); i >= 0 {
			t.Errorf("speech %d is not done, or failed", i)
		}
		c.close()
	})
}

func TestToolAsksForAReplyAndWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("ask", "{}")}, scripted.Answer{Text: "One moment"}, scripted.Answer{Text: "Done"})
		ask := llm.NewTool("ask", "", func(ctx context.Context, rc *agent.RunContext, _ struct{}) (string, error) {
			return "asked", rc.Session().GenerateReply(agent.Reply{Instructions: "Ask for patience."}).Wait(ctx)
		})
		c.start(&agent.Agent{Tools: []llm.Tool{ask}})
		sp := c.s.GenerateReply(agent.Reply{})
		c.until(10)
		c.wantHistory("handoff  -> default_agent", "call ask({})", "assistant: One moment", "output asked", "assistant: Done")
		if got := sp.Items(); len(got) != 3 {
			t.Errorf("the speech made %d items, want its call, output and answer", len(got))
		}
		c.close()
	})
}

func TestErrorOfTheModelIsTheSpeechs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no such model")
		c := newCall(t, scripted.Answer{Text: "One two", Fault: &scripted.Fault{After: 2, Err: broken}})
		c.start(nil)
		sp := c.s.GenerateReply(agent.Reply{})
		if err := sp.Wait(t.Context()); err != nil {
			t.Errorf("waiting failed with %v, want the error in Err alone", err)
		}
		if !errors.Is(sp.Err(), broken) {
			t.Errorf("the speech ended with %v", sp.Err())
		}
		c.wantHistory("handoff  -> default_agent", "assistant: One two") // it was heard
		c.close()
	})
}

func TestExtraOfTheAnswerIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{Text: "One", Extra: map[string]any{"thought": "t"}}, {Text: " two", Extra: map[string]any{"sign": 1}}}})
		c.start(nil)
		<-c.s.GenerateReply(agent.Reply{}).Done()
		if m := c.spokenMessage(); m.Extra["thought"] != "t" || m.Extra["sign"] != 1 {
			t.Errorf("extra of the message: %v", m.Extra)
		}
		c.close()
	})
}
