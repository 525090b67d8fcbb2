package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/realtime/driver"
	"github.com/parley-go/parley/realtime/scripted"
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
