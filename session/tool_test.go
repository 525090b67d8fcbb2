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

func TestToolErrorsAreToldToTheModel(t *testing.T) {
	fails := llm.NewTool("fails", "", func(context.Context, *agent.RunContext, place) (string, error) {
		return "", errors.New("password is hunter2")
	})
	refuses := llm.NewTool("refuses", "", func(context.Context, *agent.RunContext, place) (string, error) {
		return "", llm.ToolErrorf("no such place")
	})
	panics := llm.NewTool("panics", "", func(context.Context, *agent.RunContext, place) (string, error) { panic("oops") })
	for _, tt := range []struct{ name, tool, args, want string }{
		{"C083 unknown tool", "nothing", "{}", `unknown function "nothing"; available: fails, refuses, panics`},
		{"C084 wrong arguments", "fails", `{"location": 7}`, "location"},
		{"C085 internal failure", "fails", `{"location":"x"}`, "An internal error occurred."},
		{"tool error", "refuses", `{"location":"x"}`, "no such place"},
		{"panic", "panics", `{"location":"x"}`, "An internal error occurred."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := oneTurn(t, &agent.Agent{Tools: []llm.Tool{fails, refuses, panics}},
					scripted.Answer{Calls: callsTool(tt.tool, tt.args)}, scripted.Answer{Text: "Sorry about that"})
				var output string
				for line := range strings.SplitSeq(c.history(), "\n") {
					if strings.HasPrefix(line, "output ") {
						output = line
					}
				}
				if !strings.Contains(output, tt.want) || !strings.HasSuffix(output, "[error]") || strings.Contains(output, "hunter2") {
					t.Errorf("%q, want an error with %q", output, tt.want)
				}
				if !strings.Contains(c.history(), "assistant: Sorry about that") {
					t.Errorf("no answer after the error:\n%s", c.history())
				}
				c.close()
			})
		})
	}
}

func TestC086BrokenArgumentsAreRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := oneTurn(t, &agent.Agent{Tools: []llm.Tool{weather(0)}},
			scripted.Answer{Calls: callsTool("weather", `{"location": "Paris",}`)}, scripted.Answer{Text: "Sunny"})
		c.wantHistory("handoff  -> default_agent", "user: Question", `call weather({"location":"Paris"})`, "output sunny in Paris", "assistant: Sunny")
		c.close()
	})
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
