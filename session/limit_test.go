package session_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
)

func TestC042UserTurnLimit(t *testing.T) {
	const five, six = "a b c d e", "f g h i j k"
	// twoTurns are two of five words each; the answer to the first does not come to be heard.
	twoTurns := func(c *call) {
		c.tts.ttfb = 5 * time.Second
		c.says(0.5, 1.5, five)
		c.says(2.5, 3.5, five)
	}
	for _, tt := range []struct {
		name  string
		limit opt.Value[int]
		tune  func(c *call)
		do    func(c *call)
		want  []string
	}{
		{"interrupted turns", opt.Some(10), nil, twoTurns, []string{"3.70: a b c d e, of a b c d e a b c d e, 10 words in 3.2s"}},
		{"off", opt.Off[int](), nil, twoTurns, nil},
		{"by default", opt.Value[int]{}, nil, twoTurns, nil},
		{"not reached", opt.Some(11), nil, twoTurns, nil},
		{"one turn", opt.Some(10), nil, func(c *call) {
			c.room.In.Speak(c.at(0.5), c.at(9))
			c.stt.expect(3*time.Second, five)
			c.stt.expect(5*time.Second, six)
		}, []string{"5.00: a b c d e f g h i j k, of a b c d e f g h i j k, 11 words in 4.5s"}},
		{"told again with more words", opt.Some(5), nil, func(c *call) {
			c.room.In.Speak(c.at(0.5), c.at(9))
			c.stt.expect(3*time.Second, five)
			c.stt.expect(5*time.Second, "more")
		}, []string{"3.00: a b c d e, of a b c d e, 5 words in 2.5s", "5.00: a b c d e more, of a b c d e more, 6 words in 4.5s"}},
		{"by duration", opt.Value[int]{}, func(c *call) { c.opt.TurnHandling.Limit.MaxDuration = opt.Some(4 * time.Second) }, func(c *call) {
			c.room.In.Speak(c.at(0.5), c.at(1)) // a cough does not count
			c.room.In.Speak(c.at(10.5), c.at(19))
			c.stt.expect(13*time.Second, five)
			c.stt.expect(15*time.Second, "more")
		}, []string{"15.00: a b c d e more, of a b c d e more, 6 words in 4.5s"}},
		{"the agent spoke", opt.Some(10), nil, func(c *call) {
			c.says(0.5, 1.5, five)
			c.says(6, 7, five)
		}, nil},
		{"the turn is cleared", opt.Some(10), nil, func(c *call) {
			c.says(0.5, 1.5, five)
			c.until(1.8)
			c.s.ClearUserTurn()
			c.says(2.5, 3.5, five)
		}, nil},
		{"the agent is about to speak", opt.Some(10), nil, func(c *call) {
			c.s.Say("Excuse me", &agent.SayOptions{Protected: true}) // heard from 0.2 on
			c.stt.expect(100*time.Millisecond, five+" "+six)
		}, nil},
		{"the agent speaks", opt.Some(10), nil, func(c *call) {
			c.s.Say("Excuse me", &agent.SayOptions{Protected: true})
			c.stt.expect(time.Second, five+" "+six)
		}, nil},
		{"a handoff is under way", opt.Some(10), nil, func(c *call) {
			c.says(0.5, 1.5, five+" "+six)
			c.until(1)
			_ = c.s.UpdateAgent(&agent.Agent{ID: "b"})
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "One"}, scripted.Answer{Text: "Two"}, scripted.Answer{Text: "Three"})
				c.opt.TurnHandling.Limit.MaxWords = tt.limit
				if tt.tune != nil {
					tt.tune(c)
				}
				var got []string
				c.start(&agent.Agent{
					OnUserTurnExceeded: func(_ context.Context, _ *agent.RunContext, ev agent.UserTurnExceeded) error {
						got = append(got, fmt.Sprintf("%.2f: %s, of %s, %d words in %v", time.Since(c.t0).Seconds(), ev.Transcript, ev.Accumulated, ev.Words, ev.Duration))
						return nil
					},
					OnExit: func(context.Context, *agent.RunContext) error { time.Sleep(time.Second); return nil },
				})
				tt.do(c)
				c.until(25)
				c.close()
				if !slices.Equal(got, tt.want) {
					t.Errorf("the agent was told\n%q, want\n%q", got, tt.want)
				}
			})
		})
	}
}

func TestC042HookIsNotCalledWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "One"})
		c.opt.TurnHandling.Limit.MaxWords = opt.Some(1)
		calls := 0
		c.start(&agent.Agent{OnUserTurnExceeded: func(context.Context, *agent.RunContext, agent.UserTurnExceeded) error {
			calls++
			time.Sleep(3 * time.Second)
			return nil
		}})
		c.room.In.Speak(c.at(0.5), c.at(9))
		for i := range 6 { // at 1.5, 2.5, 3.5, and again at 4.5, 5.5, 6.5
			c.stt.expect(seconds(float64(i)+1.5), "word")
		}
		c.until(15)
		c.close()
		if calls != 2 {
			t.Errorf("the hook was called %d times, want twice", calls)
		}
	})
}

func TestC042AgentCutsInWithoutAHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		same := scripted.Answer{Text: "I see"}
		c := newCall(t, same, same, same, same, same) // some are begun early and thrown away
		c.opt.TurnHandling.Limit.MaxWords = opt.Some(10)
		c.opt.TurnHandling.Preemptive.Enabled = opt.Some(true)
		c.start(&agent.Agent{Instructions: "Be brief.", Tools: []llm.Tool{weather(0)}})
		c.room.In.Speak(c.at(0.5), c.at(12))
		c.stt.expect(5*time.Second, "one two three four five six seven eight nine ten")
		c.stt.expect(12200*time.Millisecond, "and so on")
		c.until(20)
		c.wantHistory("handoff  -> default_agent", "user: one two three four five six seven eight nine ten", "assistant: I see",
			"user: and so on", "assistant: I see")
		segs := c.room.Out.Segments()
		if len(segs) != 2 || segs[0].Started != c.at(5.5) || segs[0].Interrupted {
			t.Errorf("played %+v, want a whole answer from 5.5 on, over the user", segs)
		}
		told := ""
		for _, r := range c.llm.Requests() {
			if len(r.Tools) == 0 {
				for it := range r.Messages.All() {
					told += describe(it) + "\n"
				}
			}
		}
		if !strings.Contains(told, "ten\n") || strings.Count(told, "Cut in") != 1 {
			t.Errorf("the model was told without tools:\n%s", told)
		}
		c.close()
	})
}

// The words may all be in turns that nobody has answered.
func TestC042AgentCutsInAfterACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "I see"})
		c.opt.TurnHandling.Limit.MaxWords = opt.Some(2)
		c.start(nil)
		c.says(0.5, 1.5, "one two")
		c.until(1.6)
		if _, err := c.s.CommitUserTurn(t.Context(), &session.CommitOptions{SkipReply: true}); err != nil {
			t.Fatal(err)
		}
		c.until(8)
		c.wantHistory("handoff  -> default_agent", "user: one two", "assistant: I see")
		c.close()
	})
}
