package session_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/scripted"
	"github.com/parley-go/parley/turn"
)

// Words that the model writes down late are not lost with its conversation.
func TestRealtimeLateWordsSurviveTheHandoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{Texts: []string{"Pass me on"}, TranscriptDelay: time.Second, Replies: []scripted.Reply{{Calls: toCall("pass")}}})
		other := scripted.New(&scripted.Options{Replies: []scripted.Reply{{Text: "I am two."}}})
		two := &agent.Agent{ID: "two", Realtime: opt.Some(realtime.New(other, nil))}
		c.start(&agent.Agent{ID: "one", Tools: []llm.Tool{llm.NewTool("pass", "", func(context.Context, *agent.RunContext, struct{}) (*agent.Agent, error) {
			return two, nil
		})}})
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.until(8)
		if h := c.history(); !strings.Contains(h, "user: Pass me on") {
			t.Errorf("history:\n%s", h)
		}
		c.close()
		c.wantSpent(m)
		if l := other.Ledger(); l.Open != 0 {
			t.Error("open")
		}
	})
}

// Nor with the session.
func TestRealtimeLateWordsSurviveTheClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{Texts: []string{"Goodbye"}, TranscriptDelay: time.Second})
		c.start(nil)
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.until(2)
		c.close()
		if h := c.history(); !strings.Contains(h, "user: Goodbye") {
			t.Errorf("history:\n%s", h)
		}
		c.wantSpent(m)
	})
}

// What the user says while an agent waits for his tools, and takes no more speeches, is answered by the next one.
func TestRealtimeTurnDuringAHandoff(t *testing.T) {
	for name, same := range map[string]bool{"same model": true, "another": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, m := newRealtimeCall(t, scripted.Options{Texts: []string{"Go", "Hello?"}, Replies: []scripted.Reply{
					{Calls: toCall("work")}, {Text: "It works."}, {Text: "Not me."}, {Text: "Hello."},
				}})
				c.start(&agent.Agent{ID: "one", Tools: []llm.Tool{llm.NewTool("work", "", func(ctx context.Context, rc *agent.RunContext, _ struct{}) (any, error) {
					_ = rc.Update(ctx, "working")
					time.Sleep(10 * time.Second)
					return nil, nil
				})}})
				c.room.In.Speak(c.at(0.5), c.at(1.5))
				two := &agent.Agent{ID: "two"}
				if !same {
					two.Realtime = opt.Some(realtime.New(scripted.New(&scripted.Options{Replies: []scripted.Reply{{Text: "Hello."}}}), nil))
				}
				c.until(4)
				if err := c.s.UpdateAgent(two); err != nil {
					t.Fatal(err)
				}
				c.room.In.Speak(c.at(5), c.at(6))
				c.until(20)
				if h := c.history(); !strings.Contains(h, "user: Hello?") || !strings.HasSuffix(h, "handoff one -> two\nassistant: Hello.\n") {
					t.Errorf("history:\n%s", h)
				}
				c.close()
				if l := m.Ledger(); l.Open != 0 {
					t.Errorf("%d connections are open", l.Open)
				}
			})
		})
	}
}

// Turns that the session ends have the words that were said in them, also after one that the model did not take.
func TestRealtimeEmptyCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caps := scripted.All
		caps.UserTranscription = false
		c, m := newCall(t), scripted.New(&scripted.Options{Capabilities: &caps})
		c.opt.Realtime, c.opt.LLM, c.opt.TTS, c.opt.VAD = realtime.New(m, nil), nil, nil, nil
		c.opt.TurnHandling.Detection = turn.DetectManual
		c.start(nil)
		say := func(from, to float64, text string) {
			c.says(from, to, text)
			c.until(to + 0.5)
			if _, err := c.s.CommitUserTurn(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			c.until(to + 3)
		}
		c.stt.expect(time.Second, "Ghost") // nothing that the model heard
		c.until(1.5)
		_, _ = c.s.CommitUserTurn(t.Context(), nil)
		c.until(4)
		say(4, 5, "First")
		say(9, 10, "Second")
		c.until(15)
		h := c.history()
		for _, w := range []string{"user: Ghost\n", "user: First\nassistant", "user: Second\nassistant"} {
			if !strings.Contains(h, w) {
				t.Errorf("history:\n%s", h)
				break
			}
		}
		c.close()
	})
}

func TestRealtimeManualTurnDuringAHandoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{Texts: []string{"Hello?"}})
		c.opt.TurnHandling.Detection = turn.DetectManual
		c.start(&agent.Agent{ID: "one", OnExit: func(context.Context, *agent.RunContext) error {
			time.Sleep(4 * time.Second)
			return nil
		}})
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.until(0.2)
		if err := c.s.UpdateAgent(&agent.Agent{ID: "two"}); err != nil {
			t.Fatal(err)
		}
		c.until(2)
		_, _ = c.s.CommitUserTurn(t.Context(), nil)
		c.until(10)
		c.wantHistory("handoff  -> one", "user: Hello?", "handoff one -> two", "assistant: Yes.")
		if n := m.Ledger().Commits; n != 1 {
			t.Errorf("%d commits", n)
		}
		c.close()
	})
}

// The user speaks while another model takes over, and is silent from then on.
func TestRealtimeUserDoesNotSpeakForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newRealtimeCall(t, scripted.Options{Texts: []string{"Hello?"}})
		c.start(&agent.Agent{ID: "one"})
		c.room.In.Speak(c.at(0.5), c.at(1.4))
		c.until(1.48)
		if err := c.s.UpdateAgent(&agent.Agent{ID: "two", Realtime: opt.Some(realtime.New(scripted.New(nil), nil))}); err != nil {
			t.Fatal(err)
		}
		c.until(10)
		if st := c.s.UserState(); st == agent.UserSpeaking {
			t.Errorf("user is %s", st)
		}
		c.close()
	})
}
