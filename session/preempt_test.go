package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/opt"
)

// answeredAfter is how long after the user's speech, which ended at stop, the agent began to speak.
func (c *call) answeredAfter(stop float64) time.Duration {
	segs := c.room.Out.Segments()
	if len(segs) == 0 {
		return -1
	}
	return segs[0].Started.Sub(c.at(stop)).Round(10 * time.Millisecond)
}

func TestC040PreemptiveGenerationIsQuicker(t *testing.T) {
	for _, tt := range []struct {
		name string
		off  bool
		want time.Duration
	}{{"off", true, time.Second}, {"on", false, 700 * time.Millisecond}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "Hi there"})
				c.opt.TurnHandling.Preemptive.Enabled = opt.Some(!tt.off)
				c.start(nil)
				c.says(0.5, 2.5, "Hello")
				c.until(7)
				if got := c.answeredAfter(2.5); got != tt.want {
					t.Errorf("answered after %v, want %v", got, tt.want)
				}
				c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Hi there")
				if n := len(c.llm.Ledger()); n != 1 {
					t.Errorf("the model was asked %d times, want once", n)
				}
				rep := c.close()
				if len(rep.Turns) != 1 || rep.Turns[0].Total != tt.want {
					t.Errorf("latency %+v, want %v in all", rep.Turns, tt.want)
				}
			})
		})
	}
}

func TestC041EarlyAnswerToOtherWordsIsDiscarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "To the first half"}, scripted.Answer{Text: "To all"})
		c.opt.TurnHandling.Preemptive.Enabled = opt.Some(true)
		c.start(nil)
		c.says(0.5, 1.5, "I would like")
		c.stt.expect(1950*time.Millisecond, "a table") // before the turn is over at 2.0
		c.until(9)
		c.wantHistory("handoff  -> default_agent", "user: I would like a table", "assistant: To all")
		c.close()
		c.mu.Lock()
		defer c.mu.Unlock()
		var outcomes []metrics.Outcome
		for _, e := range c.spent {
			if e, ok := e.(*metrics.LLM); ok {
				outcomes = append(outcomes, e.Outcome)
			}
		}
		if len(outcomes) != 2 || outcomes[0] != metrics.Discarded || outcomes[1] != "" && outcomes[1] != metrics.Delivered {
			t.Errorf("outcomes of the requests: %q, want discarded and delivered", outcomes)
		}
	})
}

func TestC041EarlyAnswerIsCheckedAgainstTheHook(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edits bool
		asked int
	}{{"nothing changed", false, 1}, {"context changed", true, 2}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "Hi there"}, scripted.Answer{Text: "Hi again"})
				c.opt.TurnHandling.Preemptive.Enabled = opt.Some(true)
				c.start(&agent.Agent{OnUserTurnCompleted: func(_ context.Context, _ *agent.RunContext, turn *chat.Context, _ *chat.Message) error {
					if tt.edits {
						turn.Add(chat.NewMessage(chat.System, "The user lives in Rome."))
					}
					return nil
				}})
				c.says(0.5, 2.5, "Hello")
				c.until(8)
				if n := len(c.llm.Ledger()); n != tt.asked {
					t.Errorf("the model was asked %d times, want %d", n, tt.asked)
				}
				c.close()
			})
		})
	}
}

func TestEarlyAnswerLeavesNoTraceWhenTheSessionCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.opt.TurnHandling.Preemptive.Enabled = opt.Some(true)
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.until(2.8) // the answer is being written, the turn is not over
		c.close()
		c.wantHistory("handoff  -> default_agent", "user: Hello")
		if segs := c.room.Out.Segments(); len(segs) != 0 {
			t.Errorf("played %+v", segs)
		}
	})
}
