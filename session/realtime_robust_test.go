package session_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	llmdriver "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/scripted"
	"github.com/parley-go/parley/tts"
)

// knows is what the model has been told, one item a line.
func knows(m *scripted.Realtime) string {
	var b strings.Builder
	for _, it := range m.Ledger().Items {
		b.WriteString(describe(it) + "\n")
	}
	return b.String()
}

func slowTool(name string, d time.Duration) llm.Tool {
	return llm.NewTool(name, "", func(context.Context, *agent.RunContext, struct{}) (string, error) {
		time.Sleep(d)
		return name + " done", nil
	})
}

func toCall(names ...string) (all []llmdriver.ToolCall) {
	for _, n := range names {
		all = append(all, llmdriver.ToolCall{Name: n, Arguments: `{}`})
	}
	return all
}

// The result of a tool that outlives its interrupted speech is told, or a model that waits for it is stuck.
func TestRealtimeLateResultIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{Texts: []string{"Go"}, Replies: []scripted.Reply{{Text: "One moment.", Calls: toCall("wait")}}})
		c.start(&agent.Agent{Tools: []llm.Tool{slowTool("wait", 20*time.Second)}})
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.until(3)
		c.interrupt(true)
		c.until(30)
		if got := knows(m); !strings.Contains(got, "output wait done") {
			t.Errorf("the model knows\n%s", got)
		}
		c.close()
	})
}

// A call that runs stays with the model, or it makes the call again.
func TestRealtimeRunningCallIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{Texts: []string{"Go"}, Replies: []scripted.Reply{{Text: "One moment.", Calls: toCall("wait")}}})
		c.start(&agent.Agent{Tools: []llm.Tool{slowTool("wait", 5*time.Second)}})
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.until(4)
		if err := c.s.UpdateInstructions("Be very brief."); err != nil {
			t.Fatal(err)
		}
		c.until(5)
		if got := knows(m); !strings.Contains(got, "call wait") {
			t.Errorf("the model knows\n%s", got)
		}
		c.until(9)
		if d := m.Ledger().Deleted; len(d) > 0 {
			t.Errorf("deleted %q", d)
		}
		c.close()
	})
}

// What a TTS says beside the model is told to the model.
func TestRealtimeKnowsWhatAnotherVoiceSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{Texts: []string{"Go"}})
		c.opt.TTS = tts.New(c.tts, nil)
		c.start(nil)
		c.until(1)
		_ = c.s.Say("Your number is five.", nil).Wait(t.Context())
		c.until(6)
		if got := knows(m); !strings.Contains(got, "Your number is five.") {
			t.Errorf("the model knows\n%s", got)
		}
		c.close()
	})
}

// The connection breaks while an answer's tool runs.
func TestRealtimeBreakWhileAToolRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{Texts: []string{"Go"}, Replies: []scripted.Reply{
			{Calls: toCall("wait"), Open: true}, {Text: "After."}, {Text: "More."},
		}})
		c.start(&agent.Agent{Tools: []llm.Tool{slowTool("wait", 5*time.Second)}})
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.until(3)
		m.Break(&model.Error{Kind: model.KindConnection, Provider: "scripted", Op: "receive"})
		c.until(12)
		c.wantHistory("handoff  -> default_agent", "user: Go", "call wait({})", "output wait done", "assistant: After.")
		c.close()
	})
}

// A tool in the background is answered once for each thing that it tells, also by a model that answers outputs by itself.
func TestRealtimeBackgroundToolIsAnsweredOnce(t *testing.T) {
	for name, auto := range map[string]bool{"asked": false, "by itself": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				caps := scripted.All
				caps.AutoToolReply = auto
				c, m := newRealtimeCall(t, scripted.Options{Capabilities: &caps, Texts: []string{"Go"}, Replies: []scripted.Reply{
					{Calls: toCall("work")}, {Text: "It works."}, {Text: "It is done."}, {Text: "Once more."},
				}})
				c.start(&agent.Agent{Tools: []llm.Tool{llm.NewTool("work", "", func(ctx context.Context, rc *agent.RunContext, _ struct{}) (string, error) {
					_ = rc.Update(ctx, "working")
					time.Sleep(8 * time.Second)
					return "worked", nil
				})}})
				c.room.In.Speak(c.at(0.5), c.at(1.5))
				c.until(25)
				h := c.history()
				if !strings.Contains(h, "assistant: It works.\ncall work({})\noutput worked\nassistant: It is done.\n") || strings.Contains(h, "Once") {
					t.Errorf("history:\n%s", h)
				}
				c.close()
				c.wantSpent(m)
			})
		})
	}
}

// A call that the model was told not to make is no reason for it to wait.
func TestRealtimeRefusedCallIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caps := scripted.All
		caps.MutableContext = false
		c, m := newRealtimeCall(t, scripted.Options{Capabilities: &caps, Replies: []scripted.Reply{{Text: "One moment.", Calls: toCall("wait")}}})
		c.start(&agent.Agent{Tools: []llm.Tool{slowTool("wait", time.Second)}})
		c.s.GenerateReply(agent.Reply{ToolChoice: llm.ToolChoice{Mode: llm.ToolNone}})
		c.until(4)
		if got := knows(m); !strings.Contains(got, "output The call was cancelled. [error]") {
			t.Errorf("the model knows\n%s", got)
		}
		c.wantHistory("handoff  -> default_agent", "assistant: One moment.")
		c.close()
		c.wantSpent(m)
	})
}

// Another model takes over by an option while the old one speaks, which finishes its answer.
func TestRealtimeModelChangedWhileItSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{Replies: []scripted.Reply{{Text: tenWords, Calls: toCall("wait")}}, Speed: 1})
		other := scripted.New(&scripted.Options{Replies: []scripted.Reply{{Text: "I am the other."}}})
		c.start(&agent.Agent{Tools: []llm.Tool{slowTool("wait", time.Second)}})
		c.s.GenerateReply(agent.Reply{})
		c.until(1)
		if err := c.s.UpdateAgentOptions(agent.Options{Realtime: opt.Some(realtime.New(other, nil))}); err != nil {
			t.Fatal(err)
		}
		c.until(8)
		c.wantHistory("handoff  -> default_agent", "assistant: "+tenWords, "call wait({})", "output wait done", "assistant: I am the other.")
		if n := m.Ledger().Open; n != 0 {
			t.Errorf("%d connections to the old model are open", n)
		}
		c.close()
	})
}
