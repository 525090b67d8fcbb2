package session_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
)

// silent is a tool that does nothing.
func silent(name string) *llm.FunctionTool {
	return llm.NewTool(name, "", func(context.Context, *agent.RunContext, struct{}) (any, error) { return nil, nil })
}

// asked is what the model saw of request i: the names of its tools and its messages, one a line.
func (c *call) asked(i int) (tools []string, messages string) {
	c.t.Helper()
	reqs := c.llm.Requests()
	if i >= len(reqs) {
		c.t.Fatalf("%d requests, want more than %d", len(reqs), i)
	}
	for _, t := range reqs[i].Tools {
		tools = append(tools, t.Name)
	}
	for it := range reqs[i].Messages.All() {
		messages += describe(it) + "\n"
	}
	return tools, messages
}

// updates is the configuration changes of the history.
func (c *call) updates() (list []*chat.ConfigUpdate) {
	for it := range c.s.History().All() {
		if u, ok := it.(*chat.ConfigUpdate); ok {
			list = append(list, u)
		}
	}
	return list
}

func TestToolUpdatesTheInstructionsOfItsAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := llm.NewTool("be_rude", "", func(_ context.Context, rc *agent.RunContext, _ struct{}) (string, error) {
			return "ok", rc.Session().UpdateInstructions("Be rude.")
		})
		a := &agent.Agent{Instructions: "Be nice.", Tools: []llm.Tool{tool}}
		c := oneTurn(t, a, scripted.Answer{Calls: callsTool("be_rude", "{}")}, scripted.Answer{Text: "Go away"})
		_, first := c.asked(0)
		_, second := c.asked(1)
		if !strings.HasPrefix(first, "system: Be nice.\n") || !strings.HasPrefix(second, "system: Be rude.\n") || strings.Contains(second, "nice") {
			t.Errorf("first request:\n%ssecond:\n%s", first, second)
		}
		c.wantHistory("handoff  -> default_agent", "user: Question", "call be_rude({})", "agent_config_update", "output ok", "assistant: Go away")
		if u := c.updates(); u[0].Instructions != "Be rude." {
			t.Errorf("config update %+v", u[0])
		}
		if err := c.s.UpdateInstructions("Be rude."); err != nil || len(c.updates()) != 1 {
			t.Errorf("%d updates after one that changes nothing, %v", len(c.updates()), err)
		}
		if a.Instructions != "Be nice." {
			t.Error("the agent value was changed")
		}
		c.close()
		if err := c.s.UpdateInstructions("Be gone."); err != agent.ErrNotRunning {
			t.Errorf("after the close: %v, want ErrNotRunning", err)
		}
	})
}

func TestUpdatesAreOfTheAgentThatMadeThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first *agent.Session
		one := &agent.Agent{ID: "one", Instructions: "I am one.", OnEnter: func(_ context.Context, rc *agent.RunContext) error {
			s := rc.Session()
			first = &s
			return nil
		}}
		two := &agent.Agent{ID: "two", Instructions: "I am two."}
		c := newCall(t, scripted.Answer{Text: "Two"}, scripted.Answer{Text: "One"})
		c.start(one)
		synctest.Wait()
		if err := c.s.UpdateAgent(two); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := (*first).UpdateInstructions("I was one."); err != nil {
			t.Fatal(err)
		}
		_ = c.s.GenerateReply(agent.Reply{}).Wait(t.Context())
		if err := c.s.UpdateAgent(one); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = c.s.GenerateReply(agent.Reply{}).Wait(t.Context())
		_, of2 := c.asked(0)
		_, of1 := c.asked(1)
		if !strings.Contains(of2, "I am two.") || !strings.Contains(of1, "I was one.") {
			t.Errorf("two was asked\n%sone was asked\n%s", of2, of1)
		}
		c.close()
	})
}

func TestUpdateTools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, old, kept, fresh := silent("shared"), silent("old"), silent("kept"), silent("fresh")
		c := newCall(t,
			scripted.Answer{Calls: callsTool("old", "{}")},
			scripted.Answer{Calls: []driver.ToolCall{{CallID: "call_2", Name: "shared", Arguments: "{}"}}},
			scripted.Answer{Text: "Fine"})
		c.opt.Tools = []llm.Tool{shared}
		c.start(&agent.Agent{Tools: []llm.Tool{old, kept}})
		for range 2 {
			_ = c.s.GenerateReply(agent.Reply{UserInput: "Do it"}).Wait(t.Context())
		}
		if err := c.s.UpdateTools(t.Context(), []llm.Tool{kept, fresh, fresh}); err != nil {
			t.Fatal(err)
		}
		if err := c.s.UpdateTools(t.Context(), []llm.Tool{fresh, kept}); err != nil {
			t.Fatal(err)
		}
		u := c.updates()
		if len(u) != 1 || !slices.Equal(u[0].ToolsAdded, []string{"fresh"}) || !slices.Equal(u[0].ToolsRemoved, []string{"old"}) || u[0].Instructions != "" {
			t.Errorf("config updates %+v, want one: fresh came, old went", u)
		}
		if err := c.s.UpdateTools(t.Context(), []llm.Tool{silent("shared")}); err == nil || !strings.Contains(err.Error(), `"shared"`) {
			t.Errorf("a second tool of the name of a session's: %v", err)
		}
		_ = c.s.GenerateReply(agent.Reply{UserInput: "And now?"}).Wait(t.Context())
		tools, messages := c.asked(2)
		if !slices.Equal(tools, []string{"shared", "fresh", "kept"}) {
			t.Errorf("tools %v", tools)
		}
		if strings.Contains(messages, "call old") || !strings.Contains(messages, "call shared") {
			t.Errorf("calls of what is gone are forgotten, those of the session's tools are not:\n%s", messages)
		}
		if h := c.history(); !strings.Contains(h, "call old({})") {
			t.Errorf("the history lost a call:\n%s", h)
		}
		c.close()
	})
}

func TestUpdateChatContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Yes"})
		c.start(&agent.Agent{Instructions: "Be brief.", Tools: []llm.Tool{silent("known")}})
		_ = c.s.Say("Hello", nil).Wait(t.Context())
		next := c.s.ChatContext()
		if next.Len() != 1 {
			t.Errorf("the agent knows %d items, want what it said", next.Len())
		}
		for _, name := range []string{"known", "unknown"} {
			next.Add(&chat.FunctionCall{CallID: name, Name: name, Arguments: "{}"}, &chat.FunctionCallOutput{CallID: name, Name: name, Output: "x"})
		}
		next.Add(chat.NewMessage(chat.User, "My name is Ann"))
		if err := c.s.UpdateChatContext(next); err != nil {
			t.Fatal(err)
		}
		next.Add(chat.NewMessage(chat.User, "too late"))
		time.Sleep(time.Second)
		_ = c.s.GenerateReply(agent.Reply{UserInput: "Am I Ann?"}).Wait(t.Context())
		_, messages := c.asked(0)
		diff(t, "request", messages, "system: Be brief.\nassistant: Hello\ncall known({})\noutput x\nuser: My name is Ann\nuser: Am I Ann?\n")
		c.wantHistory("handoff  -> default_agent", "assistant: Hello", "user: Am I Ann?", "assistant: Yes")
		if err := c.s.UpdateChatContext(nil); err == nil {
			t.Error("no context is accepted")
		}
		c.close()
	})
}

func TestAgentForgetsCallsOfToolsItDoesNotHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := &chat.Context{}
		old.Add(chat.NewMessage(chat.User, "Hi"), &chat.FunctionCall{CallID: "1", Name: "elsewhere"}, &chat.FunctionCallOutput{CallID: "1", Name: "elsewhere"})
		c := newCall(t)
		c.start(&agent.Agent{ChatContext: old})
		if got := c.s.ChatContext(); got.Len() != 1 || old.Len() != 3 {
			t.Errorf("the agent knows %d items of %d, want the message", got.Len(), old.Len())
		}
		c.close()
	})
}

func TestUpdateVoidsTheEarlyAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Old"}, scripted.Answer{Text: "New"})
		c.opt.TurnHandling.Preemptive.Enabled = opt.Some(true)
		c.start(&agent.Agent{Instructions: "Old.", OnUserTurnCompleted: func(_ context.Context, rc *agent.RunContext, _ *chat.Context, _ *chat.Message) error {
			return rc.Session().UpdateInstructions("New.")
		}})
		c.says(0.5, 2.5, "Question")
		c.until(10)
		if h := c.history(); !strings.HasSuffix(h, "user: Question\nassistant: New\n") {
			t.Errorf("answered before the update:\n%s", h)
		}
		_, messages := c.asked(1)
		if !strings.HasPrefix(messages, "system: New.\n") {
			t.Errorf("the second request has\n%s", messages)
		}
		c.close()
	})
}

func TestInstructionsFitTheModality(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("note", "{}")}, scripted.Answer{Text: "Spoken"}, scripted.Answer{Text: "Typed"}, scripted.Answer{Text: "Own"})
		note := llm.NewTool("note", "", func(context.Context, *agent.RunContext, struct{}) (string, error) { return "ok", nil })
		c.start(&agent.Agent{Instructions: "Be brief.", AudioInstructions: "Spell numbers.", TextInstructions: "Use lists.", Tools: []llm.Tool{note}})
		c.says(0.5, 2.5, "Question")
		c.until(10)
		c.room.Host().ReceiveText(session.TextInput{Text: "Typed question"})
		c.until(15)
		_ = c.s.GenerateReply(agent.Reply{Instructions: "Say hello."}).Wait(t.Context())
		for i, want := range []string{"Be brief.\n\nSpell numbers.", "Be brief.\n\nSpell numbers.", "Be brief.\n\nUse lists.", "Be brief.\n\nSpell numbers."} {
			if _, messages := c.asked(i); !strings.HasPrefix(messages, "system: "+want+"\n") || strings.Count(messages, "brief") != 1 {
				t.Errorf("request %d begins with\n%s", i, messages)
			}
		}
		c.close()
	})
}

type bundle []llm.Tool

func (bundle) ID() string          { return "bundle" }
func (b bundle) Tools() []llm.Tool { return b }

func TestC091ToolsHiddenOnEnter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shown, bare, nested := silent("shown"), silent("bare"), silent("nested")
		bare.IgnoreOnEnter, nested.IgnoreOnEnter = true, true
		ask := llm.NewTool("ask", "", func(_ context.Context, rc *agent.RunContext, _ struct{}) (string, error) {
			rc.Session().GenerateReply(agent.Reply{ToolChoice: llm.ToolChoice{Mode: llm.ToolAuto}, Instructions: "Nested."})
			return "asked", nil
		})
		c := newCall(t, scripted.Answer{Calls: callsTool("ask", "{}")}, scripted.Answer{Text: "Welcome"}, scripted.Answer{Text: "Also welcome"}, scripted.Answer{Text: "Sure"})
		c.start(&agent.Agent{Tools: []llm.Tool{shown, ask, bare, &bundle{nested}}, OnEnter: func(ctx context.Context, rc *agent.RunContext) error {
			return rc.Session().GenerateReply(agent.Reply{Instructions: "Greet."}).Wait(ctx)
		}})
		c.until(8)
		_ = c.s.GenerateReply(agent.Reply{UserInput: "Hello"}).Wait(t.Context())
		for i, want := range []string{"shown ask", "shown ask", "shown ask", "shown ask bare nested"} {
			if tools, messages := c.asked(i); strings.Join(tools, " ") != want {
				t.Errorf("request %d offers %v, want %s:\n%s", i, tools, want, messages)
			}
		}
		c.close()
	})
}
