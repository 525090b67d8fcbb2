package session_test

import (
	"context"
	"errors"
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
	"github.com/parley-go/parley/tools"
)

type place struct {
	Location string `json:"location"`
}

// weather is a tool that takes d.
func weather(d time.Duration) *llm.FunctionTool {
	return llm.NewTool("weather", "Look up the weather.", func(ctx context.Context, _ *agent.RunContext, in place) (string, error) {
		select {
		case <-time.After(d):
			return "sunny in " + in.Location, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
}

func callsTool(name, args string) []driver.ToolCall {
	return []driver.ToolCall{{CallID: "call_1", Name: name, Arguments: args}}
}

// oneTurn runs a session whose user asks once, and returns when everything is said.
func oneTurn(t *testing.T, a *agent.Agent, answers ...scripted.Answer) *call {
	c := newCall(t, answers...)
	c.start(a)
	c.says(0.5, 2.5, "Question")
	c.until(25)
	return c
}

func TestC080ToolRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{Text: "Let me see.", ToolCalls: callsTool("weather", `{"location":"Paris"}`)}}},
			scripted.Answer{Chunks: oneChunk("Sunny.")})
		executed := 0
		c.start(&agent.Agent{Tools: []llm.Tool{weather(3 * time.Second)}})
		session.On(c.s, func(e session.FunctionToolsExecuted) {
			executed++
			if len(e.Calls) != 1 || len(e.Outputs) != 1 || !e.HasReply() || e.HasHandoff() {
				t.Errorf("tools executed: %+v", e)
			}
		})
		c.says(0.5, 2.5, "Weather?")
		c.until(15)
		c.wantTimeline(
			"0.00 handoff  -> default_agent", "0.00 agent listening",
			"0.50 user speaking", "2.70 final Weather?", "2.50 user listening",
			"3.00 user: Weather?", "3.00 agent thinking", "3.40 agent speaking",
			"5.40 assistant: Let me see.", "5.40 agent thinking",
			"6.50 agent speaking", "8.50 assistant: Sunny.", "8.50 agent listening",
		)
		c.wantHistory("handoff  -> default_agent", "user: Weather?", "assistant: Let me see.",
			`call weather({"location":"Paris"})`, "output sunny in Paris", "assistant: Sunny.")
		if executed != 1 {
			t.Errorf("function_tools_executed %d times, want once", executed)
		}
		c.close()
	})
}

func TestC082ToolWithoutResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		note := llm.NewTool("note", "Take a note.", func(context.Context, *agent.RunContext, struct{}) (any, error) {
			time.Sleep(time.Second)
			return nil, nil
		})
		c := oneTurn(t, &agent.Agent{Tools: []llm.Tool{note}}, scripted.Answer{Calls: callsTool("note", "{}")}, scripted.Answer{Text: "never"})
		c.wantHistory("handoff  -> default_agent", "user: Question", "call note({})", "output ")
		if c.s.AgentState() != agent.Listening {
			t.Errorf("agent is %s after a silent tool, want listening", c.s.AgentState())
		}
		c.close()
	})
}

// toolCall lets the model call a tool and then say "Well", and returns what the history has of it.
func toolCall(t *testing.T, tools []llm.Tool, name, args string) (output *chat.FunctionCallOutput, call *chat.FunctionCall, answered bool) {
	synctest.Test(t, func(t *testing.T) {
		c := oneTurn(t, &agent.Agent{Tools: tools}, scripted.Answer{Calls: callsTool(name, args)}, scripted.Answer{Text: "Well"})
		for it := range c.s.History().All() {
			switch it := it.(type) {
			case *chat.FunctionCall:
				call = it
			case *chat.FunctionCallOutput:
				output = it
			case *chat.Message:
				answered = it.Role == chat.Assistant
			}
		}
		if call == nil || output == nil || call.CallID != output.CallID {
			t.Errorf("call and output are not both in the history:\n%s", c.history())
			call, output = &chat.FunctionCall{}, &chat.FunctionCallOutput{}
		}
		if c.s.AgentState() != agent.Listening {
			t.Errorf("the agent is %s at the end", c.s.AgentState())
		}
		c.close()
	})
	return output, call, answered
}

// returns is a tool that does what f does.
func returns(name string, f func() (any, error)) *llm.FunctionTool {
	return llm.NewTool(name, "", func(context.Context, *agent.RunContext, place) (any, error) { return f() })
}

func TestC083UnknownToolIsToldToTheModel(t *testing.T) {
	out, _, answered := toolCall(t, []llm.Tool{weather(0), silent("note")}, "nothing", "{}")
	if want := `unknown function "nothing"; available: weather, note`; out.Output != want || !out.IsError || !answered {
		t.Errorf("output %+v, answered %v, want the error %s", out, answered, want)
	}
}

func TestC084WrongArgumentsAreToldToTheModel(t *testing.T) {
	for args, field := range map[string]string{"{}": "location: missing", `{"location": 7}`: "location: expected string"} {
		ran := false
		tool := returns("lookup", func() (any, error) { ran = true; return nil, nil })
		out, _, answered := toolCall(t, []llm.Tool{tool}, "lookup", args)
		if !strings.Contains(out.Output, "lookup") || !strings.Contains(out.Output, field) || !out.IsError || !answered || ran {
			t.Errorf("%s: output %+v, answered %v, ran %v", args, out, answered, ran)
		}
	}
}

func TestC085NothingOfAFailureLeaks(t *testing.T) {
	for name, tool := range map[string]*llm.FunctionTool{
		"error": returns("f", func() (any, error) { return "half a result", errors.New("password is hunter2") }),
		"panic": returns("f", func() (any, error) { panic("password is hunter2") }),
	} {
		out, _, answered := toolCall(t, []llm.Tool{tool}, "f", `{"location":"x"}`)
		if out.Output != "An internal error occurred." || !out.IsError || !answered {
			t.Errorf("%s: output %+v, answered %v", name, out, answered)
		}
	}
	out, _, _ := toolCall(t, []llm.Tool{returns("f", func() (any, error) { return nil, llm.ToolErrorf("no such place") })}, "f", `{"location":"x"}`)
	if out.Output != "no such place" || !out.IsError {
		t.Errorf("a tool error is told as %+v", out)
	}
}

func TestC086BrokenArgumentsAreRepaired(t *testing.T) {
	for _, args := range []string{`{"location": "Paris",}`, `{'location': 'Paris'}<|im_end|>`, `<tool_call>{"location":"Paris"}</tool_call>`, `"{\"location\":\"Paris\"}"`} {
		out, call, answered := toolCall(t, []llm.Tool{weather(0)}, "weather", args)
		if out.Output != "sunny in Paris" || out.IsError || !answered || call.Arguments != `{"location":"Paris"}` {
			t.Errorf("%s: call %+v, output %+v, answered %v", args, call, out, answered)
		}
	}
	for _, args := range []string{`["Paris"]`, `"Paris"`, `{"location":"Par`} {
		out, _, answered := toolCall(t, []llm.Tool{weather(0)}, "weather", args)
		if !strings.Contains(out.Output, "weather") || !out.IsError || !answered {
			t.Errorf("%s: output %+v, answered %v", args, out, answered)
		}
	}
}

func TestC089StopResponseAndAgentsAreAnsweredSilently(t *testing.T) {
	for name, tool := range map[string]*llm.FunctionTool{
		"stop response": returns("f", func() (any, error) { return "ignored", llm.ErrStopResponse }),
		"agent":         returns("f", func() (any, error) { return &agent.Agent{ID: "next"}, nil }),
		"handoff":       returns("f", func() (any, error) { return agent.Handoff{Agent: &agent.Agent{ID: "next"}}, nil }),
	} {
		if out, _, answered := toolCall(t, []llm.Tool{tool}, "f", `{"location":"x"}`); out.Output != "" || out.IsError || answered {
			t.Errorf("%s: output %+v, answered %v", name, out, answered)
		}
	}
	out, _, answered := toolCall(t, []llm.Tool{returns("f", func() (any, error) { return make(chan int), nil })}, "f", `{"location":"x"}`)
	if out.Output != "An internal error occurred." || !out.IsError || !answered {
		t.Errorf("an unusable output is told as %+v, answered %v", out, answered)
	}
}

func TestC088ToolSurvivesInterruption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{Text: tenWords, ToolCalls: callsTool("weather", `{"location":"Paris"}`)}}},
			scripted.Answer{Chunks: oneChunk("Fine.")})
		c.tts.lasts(10 * time.Second)
		c.start(&agent.Agent{Tools: []llm.Tool{weather(4 * time.Second)}})
		c.says(0.5, 2.5, "Weather?")
		c.says(5, 6, "Never mind")
		c.until(25)
		c.close()
		c.wantHistory("handoff  -> default_agent", "user: Weather?", "assistant: one two [interrupted]",
			`call weather({"location":"Paris"})`, "output sunny in Paris", "user: Never mind", "assistant: Fine.")
	})
}

func TestMockedTool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("weather", `{"location":"Paris"}`)}, scripted.Answer{Text: "Well"})
		c.s = session.New(c.opt)
		mock := llm.NewTool("weather", "", func(context.Context, *agent.RunContext, struct{}) (string, error) {
			return "", llm.ToolErrorf("offline")
		})
		if err := c.s.Start(llm.WithMocks(t.Context(), mock), &agent.Agent{Tools: []llm.Tool{weather(0)}}, c.room); err != nil {
			t.Fatal(err)
		}
		_ = c.s.GenerateReply(agent.Reply{UserInput: "Weather?"}).Wait(t.Context())
		c.close()
		c.wantHistory("handoff  -> default_agent", "user: Weather?", `call weather({"location":"Paris"})`, "output offline [error]", "assistant: Well")
	})
}

func TestToolStepLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		again := scripted.Answer{Calls: callsTool("weather", `{"location":"Paris"}`)}
		c := newCall(t, again, again, again, scripted.Answer{Text: "Enough of it"})
		c.opt.MaxToolSteps = opt.Some(2)
		c.start(&agent.Agent{Tools: []llm.Tool{weather(0)}})
		c.says(0.5, 2.5, "Weather?")
		c.until(20)
		reqs := c.llm.Requests()
		if len(reqs) != 4 {
			t.Fatalf("%d requests, want 4: three rounds of tools and a forced answer", len(reqs))
		}
		if len(reqs[2].Tools) == 0 || len(reqs[3].Tools) != 0 {
			t.Errorf("tools offered: %d in the third request, %d in the last", len(reqs[2].Tools), len(reqs[3].Tools))
		}
		c.close()
	})
}

func TestC090CancelledToolReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("weather", `{"location":"Paris"}`)}, scripted.Answer{Text: "never"})
		c.start(&agent.Agent{Tools: []llm.Tool{weather(0)}})
		session.On(c.s, func(e session.FunctionToolsExecuted) { e.CancelReply() })
		c.says(0.5, 2.5, "Weather?")
		c.until(10)
		c.wantHistory("handoff  -> default_agent", "user: Weather?", `call weather({"location":"Paris"})`, "output sunny in Paris")
		c.close()
	})
}

func TestC101ToolHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := &agent.Agent{ID: "billing", OnEnter: func(ctx context.Context, rc *agent.RunContext) error {
			return rc.Session().Say("Billing here", nil).Wait(ctx)
		}}
		transfer := llm.NewTool("transfer", "", func(context.Context, *agent.RunContext, struct{}) (*agent.Agent, error) { return second, nil })
		c := newCall(t, scripted.Answer{Calls: callsTool("transfer", "{}")}, scripted.Answer{Text: "Your bill"})
		c.start(&agent.Agent{Tools: []llm.Tool{transfer}})
		c.says(0.5, 2.5, "Billing please")
		c.says(7, 8, "My bill")
		c.until(20)
		c.wantHistory("handoff  -> default_agent", "user: Billing please", "call transfer({})", "output ",
			"handoff default_agent -> billing", "assistant: Billing here", "user: My bill", "assistant: Your bill")
		if reqs := c.llm.Requests(); len(reqs) != 2 || len(reqs[1].Tools) != 0 {
			t.Errorf("%d requests; the new agent was offered %d tools of the old one", len(reqs), len(reqs[len(reqs)-1].Tools))
		}
		c.close()
	})
}

func TestToolThatWaitsForItsOwnSpeech(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wait, playout error
		tool := llm.NewTool("waits", "", func(ctx context.Context, rc *agent.RunContext, _ struct{}) (string, error) {
			wait = rc.Speech().Wait(ctx)
			playout = rc.WaitForPlayout(ctx)
			return "done", nil
		})
		c := oneTurn(t, &agent.Agent{Tools: []llm.Tool{tool}}, scripted.Answer{Calls: callsTool("waits", "{}")}, scripted.Answer{Text: "ok"})
		if wait != agent.ErrSelfWait || playout != nil {
			t.Errorf("Wait: %v, WaitForPlayout: %v", wait, playout)
		}
		c.close()
	})
}

func TestEndCallSaysGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool(tools.EndCallName, "{}")}, scripted.Answer{Text: "Goodbye"})
		c.start(&agent.Agent{Tools: []llm.Tool{tools.EndCall(nil)}})
		c.says(0.5, 2.5, "Bye")
		if err := c.s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		rep, err := c.s.Report()
		if err != nil || rep.CloseReason != session.ReasonUserInitiated {
			t.Errorf("close reason %q, err %v", rep.CloseReason, err)
		}
		if segs := c.room.Out.Segments(); len(segs) != 1 || segs[0].Interrupted || segs[0].Played != 2*time.Second {
			t.Errorf("played %+v, want the whole goodbye", segs)
		}
		if got := c.history(); !strings.HasSuffix(got, "assistant: Goodbye\n") {
			t.Errorf("history ends with\n%s", got)
		}
	})
}

func TestPanicInHookEndsTheSessionWithAReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{OnEnter: func(context.Context, *agent.RunContext) error { panic("oops") }})
		if err := c.s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		rep, err := c.s.Report()
		if err != nil || rep.CloseReason != session.ReasonError || rep.CloseError == nil {
			t.Errorf("report %+v, %v", rep, err)
		}
	})
}

func TestC012ErrorBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := scripted.Answer{Fault: &scripted.Fault{InChat: true, Err: errors.New("no such model")}}
		c := newCall(t, broken, broken, broken, broken, broken)
		c.start(nil)
		for i := range 3 {
			sp := c.s.GenerateReply(agent.Reply{UserInput: "Hello"})
			if sp.Wait(t.Context()) != nil || sp.Err() == nil {
				t.Fatalf("reply %d: err %v, want a failure", i, sp.Err())
			}
		}
		synctest.Wait()
		select {
		case <-c.s.Done():
			t.Fatal("session closed after three errors")
		default:
		}
		c.s.GenerateReply(agent.Reply{UserInput: "Hello"})
		if err := c.s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		rep, _ := c.s.Report()
		if rep.CloseReason != session.ReasonError {
			t.Errorf("close reason %q, want error", rep.CloseReason)
		}
	})
}

func TestC088InterruptionWhileAToolRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: calls("slow#1")}, scripted.Answer{Chunks: oneChunk("Fine.")})
		c.start(&agent.Agent{Tools: []llm.Tool{tool("slow", func(ctx context.Context, _ *agent.RunContext) (any, error) {
			return "done", sleeps(ctx, 6*time.Second)
		})}})
		c.says(0.5, 2.5, "Look it up")
		c.says(5, 6, "Never mind")
		c.until(20)
		c.wantHistory("handoff  -> default_agent", "user: Look it up", "call slow({})", "output done", "user: Never mind", "assistant: Fine.")
		c.close()
	})
}

func TestC088InterruptionOfTheToolReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("weather", `{"location":"Paris"}`)}, scripted.Answer{Chunks: oneChunk(tenWords)}, scripted.Answer{Chunks: oneChunk("Fine.")})
		c.tts.lasts(10 * time.Second)
		c.start(&agent.Agent{Tools: []llm.Tool{weather(time.Second)}})
		c.says(0.5, 2.5, "Weather?")
		c.says(6, 7, "Never mind")
		c.until(25)
		c.wantHistory("handoff  -> default_agent", "user: Weather?", `call weather({"location":"Paris"})`, "output sunny in Paris",
			"assistant: one two [interrupted]", "user: Never mind", "assistant: Fine.")
		c.close()
	})
}

func TestC088HandoffThatWasInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: calls("transfer#1")}, scripted.Answer{Chunks: oneChunk("Fine.")})
		c.start(&agent.Agent{Tools: []llm.Tool{tool("transfer", func(ctx context.Context, _ *agent.RunContext) (any, error) {
			return &agent.Agent{ID: "billing"}, sleeps(ctx, 5*time.Second)
		})}})
		c.says(0.5, 2.5, "Billing")
		c.says(5, 6, "Stay here")
		c.until(20)
		c.wantHistory("handoff  -> default_agent", "user: Billing", "call transfer({})",
			"output The handoff was not completed because the user interrupted. [error]", "user: Stay here", "assistant: Fine.")
		if got := c.s.Agent().Name(); got != "default_agent" {
			t.Errorf("%s is in charge", got)
		}
		c.close()
	})
}
