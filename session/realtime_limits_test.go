package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
	"github.com/parley-go/parley/realtime/scripted"
	"github.com/parley-go/parley/session"
)

// A model that calls tools for ever is stopped, also when it answers their outputs by itself.
func TestRealtimeToolSteps(t *testing.T) {
	auto, fixed := scripted.All, scripted.All
	auto.AutoToolReply, fixed.AutoToolReply, fixed.MutableContext = true, true, false
	for name, caps := range map[string]driver.Capabilities{"asked": scripted.All, "by itself": auto, "by itself, waits": fixed} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, m := newRealtimeCall(t, scripted.Options{Capabilities: &caps, Texts: []string{"Go", "Again"},
					Respond: func(int, scripted.Asked) scripted.Reply { return scripted.Reply{Calls: toCall("wait")} }})
				c.start(&agent.Agent{Tools: []llm.Tool{slowTool("wait", 100*time.Millisecond)}})
				c.room.In.Speak(c.at(0.5), c.at(1.5))
				c.until(30)
				if n := len(m.Ledger().Responses); n < 4 || n > 7 {
					t.Errorf("%d responses to the first turn", n)
				}
				was := len(m.Ledger().Responses)
				c.room.In.Speak(c.at(30.5), c.at(31.5))
				c.until(60)
				if n := len(m.Ledger().Responses) - was; n < 4 || n > 7 {
					t.Errorf("%d responses to the second turn", n)
				}
				c.close()
				c.wantSpent(m)
			})
		})
	}
}

func TestRealtimeRunWaitsForTheAnswerToATool(t *testing.T) {
	for name, auto := range map[string]bool{"asked": false, "by itself": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				caps := scripted.All
				caps.AutoToolReply = auto
				c, m := newRealtimeCall(t, scripted.Options{Capabilities: &caps, Latency: 300 * time.Millisecond,
					Replies: []scripted.Reply{{Calls: toCall("wait")}, {Text: "Done."}}})
				c.start(&agent.Agent{Tools: []llm.Tool{slowTool("wait", time.Second)}})
				res, err := c.s.Run(t.Context(), "Go")
				if err != nil || len(res.Items) != 3 || describe(res.Items[2]) != "assistant: Done." {
					t.Errorf("%v %v", res.Items, err)
				}
				c.close()
				c.wantSpent(m)
			})
		})
	}
}

func TestRealtimeHardBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caps := scripted.All
		caps.BilledByTime = true
		c, m := newRealtimeCall(t, scripted.Options{Capabilities: &caps, Speed: 1, TranscriptModel: "whisper", Texts: []string{"Count", "More"},
			Replies: []scripted.Reply{{Text: tenWords}, {Text: tenWords + tenWords + tenWords}}})
		c.opt.HardBudget = session.Budget{Tokens: 20}
		c.start(nil)
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.room.In.Speak(c.at(6), c.at(7))
		c.until(20)
		rep := c.close()
		if rep.CloseReason != session.ReasonBudgetExceeded {
			t.Errorf("closed for %q", rep.CloseReason)
		}
		c.wantSpent(m)
		var took time.Duration
		for _, e := range c.spent {
			if e, ok := e.(*metrics.Realtime); ok {
				took += e.SessionDuration
			}
		}
		if l := m.Ledger(); took != l.Time {
			t.Errorf("%s are booked, the connections took %s", took, l.Time)
		}
	})
}

func TestRealtimeTimeIsTheAgentsWhoHadIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caps := scripted.All
		caps.BilledByTime = true
		c, _ := newRealtimeCall(t, scripted.Options{Capabilities: &caps})
		c.start(&agent.Agent{ID: "one"})
		c.until(5)
		if err := c.s.UpdateAgent(&agent.Agent{ID: "two"}); err != nil {
			t.Fatal(err)
		}
		c.until(8)
		c.close()
		took := map[string]time.Duration{}
		for _, e := range c.spent {
			if e, ok := e.(*metrics.Realtime); ok {
				took[e.Tags.AgentID] += e.SessionDuration
			}
		}
		if took["one"] != 5*time.Second || took["two"] != 3*time.Second {
			t.Errorf("booked %v", took)
		}
	})
}

func TestRealtimeChangeWhileTheUserSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caps := scripted.All
		caps.MutableInstructions = false
		c, m := newRealtimeCall(t, scripted.Options{Capabilities: &caps, Texts: []string{"A long story"}})
		c.start(nil)
		c.room.In.Speak(c.at(0.5), c.at(9.5))
		c.until(1)
		if err := c.s.UpdateInstructions("Other."); err != nil {
			t.Fatal(err)
		}
		c.until(20)
		c.wantHistory("handoff  -> default_agent", "agent_config_update", "user: A long story", "assistant: Yes.")
		c.close()
		c.wantSpent(m)
	})
}

func TestRealtimeInterruptWhileItReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{Texts: []string{"Go", "Again"}, Speed: 1, Replies: []scripted.Reply{{Text: tenWords}},
			Faults: []scripted.Fault{{Conn: 1, When: scripted.AtConnect}}})
		c.start(nil)
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.until(2.5)
		m.Break(&model.Error{Kind: model.KindConnection, Provider: "scripted", Op: "receive"})
		c.until(2.6)
		c.interrupt(true)
		c.until(10)
		c.wantHistory("handoff  -> default_agent", "user: Go", "assistant: one two [interrupted]") // it is not taken up again
		c.room.In.Speak(c.at(10), c.at(11))
		c.until(15)
		c.wantHistory("handoff  -> default_agent", "user: Go", "assistant: one two [interrupted]", "user: Again", "assistant: Yes.")
		c.close()
	})
}

// A text whose saying broke off is no question: the model is not asked for an answer.
func TestRealtimeSayThatBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{Speed: 1})
		c.start(nil)
		c.s.Say(tenWords, nil)
		c.until(1)
		m.Break(&model.Error{Kind: model.KindConnection, Provider: "scripted", Op: "receive"})
		c.until(8)
		c.wantHistory("handoff  -> default_agent", "assistant: one two three [interrupted]")
		c.close()
	})
}

// A reply that was asked of a model which is replaced before it begins is asked of the other one.
func TestRealtimeModelChangedBeforeItAnswers(t *testing.T) {
	for name, say := range map[string]bool{"reply": false, "say": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, m := newRealtimeCall(t, scripted.Options{Latency: time.Second})
				other := scripted.New(&scripted.Options{Replies: []scripted.Reply{{Text: "I am the other."}}})
				c.start(nil)
				c.until(2)
				want := "assistant: I am the other."
				if say {
					c.s.Say("Read this.", nil)
					want = "assistant: Read this."
				} else {
					c.s.GenerateReply(agent.Reply{})
				}
				c.until(2.5)
				if err := c.s.UpdateAgentOptions(agent.Options{Realtime: opt.Some(realtime.New(other, nil))}); err != nil {
					t.Fatal(err)
				}
				c.until(12)
				c.wantHistory("handoff  -> default_agent", want)
				c.close()
				if l := m.Ledger(); l.Open != 0 {
					t.Errorf("%d connections are open", l.Open)
				}
			})
		})
	}
}
