package session_test

import (
	"context"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/turn"
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
	on, off := opt.Some(true), opt.Off[bool]()
	for _, tt := range []struct {
		name    string
		session turn.Preemptive
		agent   turn.Preemptive
		want    time.Duration
	}{
		{"off", turn.Preemptive{Enabled: off}, turn.Preemptive{}, 1100 * time.Millisecond},
		{"model", turn.Preemptive{Enabled: on}, turn.Preemptive{}, 800 * time.Millisecond},
		{"model and voice", turn.Preemptive{Enabled: on, TTS: on}, turn.Preemptive{}, 700 * time.Millisecond},
		{"agent wants it", turn.Preemptive{Enabled: off}, turn.Preemptive{Enabled: on, TTS: on}, 700 * time.Millisecond},
		{"agent does not", turn.Preemptive{Enabled: on, TTS: on}, turn.Preemptive{Enabled: off}, 1100 * time.Millisecond},
		{"agent wants no voice", turn.Preemptive{Enabled: on, TTS: on}, turn.Preemptive{TTS: off}, 800 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "Hi there"})
				c.tts.ttfb = 300 * time.Millisecond
				c.opt.TurnHandling.Preemptive = tt.session
				c.start(&agent.Agent{TurnHandling: turn.Handling{Preemptive: tt.agent}})
				c.room.In.Speak(c.at(0.5), c.at(2.5))
				c.stt.expect(2600*time.Millisecond, "Hello")
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
				if got := c.voices(); len(got) != 1 || got[0] != metrics.Delivered {
					t.Errorf("outcomes of the voice: %q", got)
				}
			})
		})
	}
}

// A voice that has begun to speak, or has even finished, before the turn turns out to be another one.
func TestEarlyVoiceToOtherWordsIsDiscarded(t *testing.T) {
	for _, kind := range []string{"streaming", "one-shot", "node"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "To the first half", TTFT: time.Millisecond, Delay: time.Millisecond}, scripted.Answer{Text: "To all"})
				c.tts.ttfb = 50 * time.Millisecond
				if kind == "one-shot" {
					c.oneShot()
				}
				c.opt.TurnHandling.Preemptive = turn.Preemptive{Enabled: opt.Some(true), TTS: opt.Some(true)}
				a := &agent.Agent{}
				if kind == "node" {
					a.TTSNode = func(ctx context.Context, text iter.Seq[string], next agent.TTSNode) iter.Seq2[*tts.Audio, error] {
						return next(ctx, text)
					}
				}
				c.start(a)
				c.room.In.Speak(c.at(0.5), c.at(1.5))
				c.stt.expect(1600*time.Millisecond, "I would like")
				c.stt.expect(1950*time.Millisecond, "a table") // before the turn is over at 2.0
				c.until(1.94)
				if st := c.s.AgentState(); st != agent.Listening {
					t.Errorf("agent is %s before the turn is over", st)
				}
				if shown := c.room.AgentText(); len(shown) != 0 {
					t.Errorf("shown before the turn is over: %q", shown)
				}
				c.until(9)
				c.wantHistory("handoff  -> default_agent", "user: I would like a table", "assistant: To all")
				if segs := c.room.Out.Segments(); len(segs) != 1 {
					t.Errorf("played %+v, want the second answer alone", segs)
				}
				c.close()
				if got := c.voices(); len(got) != 2 || got[0] != metrics.Discarded || got[1] != metrics.Delivered {
					t.Errorf("outcomes of the voice: %q, want discarded and delivered", got)
				}
			})
		})
	}
}

func TestEarlyAnswerIsDroppedWhenTheToolsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Without tools"}, scripted.Answer{Text: "With tools"})
		c.opt.TurnHandling.Preemptive = turn.Preemptive{Enabled: opt.Some(true), TTS: opt.Some(true)}
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.until(2.8)
		if err := c.s.UpdateTools(t.Context(), []llm.Tool{weather(0)}); err != nil {
			t.Fatal(err)
		}
		c.until(8)
		c.wantHistory("handoff  -> default_agent", "agent_config_update", "user: Hello", "assistant: With tools")
		c.close()
	})
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

func TestEarlyAnswerToADroppedTurnIsDiscarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.opt.TurnHandling.Preemptive = turn.Preemptive{Enabled: opt.Some(true), TTS: opt.Some(true)}
		c.start(&agent.Agent{OnUserTurnCompleted: func(context.Context, *agent.RunContext, *chat.Context, *chat.Message) error {
			return llm.ErrStopResponse
		}})
		c.says(0.5, 2.5, "Hello")
		c.until(3.1) // the turn is over at 3.0
		if got := c.voices(); len(got) != 1 || got[0] != metrics.Discarded {
			t.Errorf("outcomes of the voice: %q, want discarded as soon as the turn is dropped", got)
		}
		c.close()
		c.wantHistory("handoff  -> default_agent")
	})
}

func TestEarlyAnswerIsBegunAnewWithMoreWords(t *testing.T) {
	for tries, want := range map[int]int{1: 1, 3: 3} {
		synctest.Test(t, func(t *testing.T) {
			c := newCall(t, scripted.Answer{Text: "One"}, scripted.Answer{Text: "Two"}, scripted.Answer{Text: "Three"})
			c.opt.TurnHandling.Preemptive = turn.Preemptive{Enabled: opt.Some(true), MaxTries: opt.Some(tries)}
			c.start(nil)
			c.room.In.Speak(c.at(0.5), c.at(2.5))
			for at, words := range map[float64]string{1.6: "I would", 2: "like", 2.7: "a table"} {
				c.stt.expect(seconds(at), words)
			}
			c.until(2.99) // the turn is over at 3.0
			if n := len(c.llm.Ledger()); n != want {
				t.Errorf("the model was asked %d times early, want %d", n, want)
			}
			c.until(8)
			c.wantHistory("handoff  -> default_agent", "user: I would like a table", map[int]string{1: "assistant: Two", 3: "assistant: Three"}[tries])
			c.close()
		})
	}
}
