package session_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
)

func TestPrioritiesDecideWhatIsSaidNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(nil)
		c.s.Say("playing", &agent.SayOptions{Priority: agent.LowPriority})
		c.until(0.5)
		c.s.Say("low", &agent.SayOptions{Priority: agent.LowPriority})
		c.s.Say("normal 1", nil)
		c.s.Say("high", &agent.SayOptions{Priority: agent.HighPriority})
		c.s.Say("normal 2", nil)
		c.until(15)
		c.wantHistory("handoff  -> default_agent", "assistant: playing", "assistant: high",
			"assistant: normal 1", "assistant: normal 2", "assistant: low")
		c.close()
	})
}

func TestInterruptFollowsTheOrderOfPlayout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(nil)
		a := c.s.Say("playing now", nil)
		low := c.s.Say("low", &agent.SayOptions{Priority: agent.LowPriority})
		gone := c.s.Say("protected, but cancelled", &agent.SayOptions{Protected: true, Priority: agent.HighPriority})
		_ = gone.Interrupt(true)
		normal := c.s.Say("normal", nil)
		shield := c.s.Say("protected", &agent.SayOptions{Protected: true})
		late := c.s.Say("behind it", nil)
		c.until(1.5)
		if err := c.s.Interrupt(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		for sp, want := range map[*agent.Speech]bool{a: true, gone: true, normal: true, shield: false, late: false, low: false} {
			if sp.Interrupted() != want {
				t.Errorf("%s: interrupted %v, want %v", sp.ID(), sp.Interrupted(), want)
			}
		}
		c.until(12)
		c.wantHistory("handoff  -> default_agent", "assistant: playing [interrupted]", "assistant: protected", "assistant: behind it", "assistant: low")
		c.close()
	})
}

func TestAnotherSpeechBetweenTwoSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("weather", `{"location":"Rome"}`)}, scripted.Answer{Text: "Sunny"})
		c.start(&agent.Agent{Tools: []llm.Tool{weather(time.Second)}})
		c.s.GenerateReply(agent.Reply{})
		c.s.Say("Meanwhile", nil)
		c.until(10)
		c.wantTimeline("0.00 handoff  -> default_agent", "0.00 agent listening", "0.00 agent thinking",
			"0.40 agent speaking", "2.40 assistant: Meanwhile", "2.40 agent thinking", "2.60 agent speaking",
			"4.60 assistant: Sunny", "4.60 agent listening")
		c.close()
	})
}

func TestMinConsecutiveSpeechDelay(t *testing.T) {
	for _, tt := range []struct {
		name    string
		session time.Duration
		agent   opt.Value[time.Duration]
		want    time.Duration
	}{
		{"default", 0, opt.Value[time.Duration]{}, 200 * time.Millisecond}, // of the TTS
		{"session", time.Second, opt.Value[time.Duration]{}, 1200 * time.Millisecond},
		{"agent", time.Second, opt.Some(2 * time.Second), 2200 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t)
				c.opt.MinConsecutiveSpeechDelay = tt.session
				c.start(&agent.Agent{MinConsecutiveSpeechDelay: tt.agent})
				c.s.Say("first", nil)
				skipped := c.s.Say("skipped", nil)
				c.s.Say("second", nil)
				c.until(2.2) // the first is over
				_ = skipped.Interrupt(false)
				c.until(10)
				segs := c.room.Out.Segments()
				if len(segs) != 2 {
					t.Fatalf("played %+v", segs)
				}
				if got := segs[1].Started.Sub(segs[0].Finished); got != tt.want {
					t.Errorf("the second began %v after the first, want %v", got, tt.want)
				}
				c.close()
			})
		})
	}
}

func TestSilentStepsDoNotDelaySpeeches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("weather", `{"location":"Rome"}`)}, scripted.Answer{Text: "Sunny"})
		c.opt.MinConsecutiveSpeechDelay = 5 * time.Second
		c.start(&agent.Agent{Tools: []llm.Tool{weather(0)}})
		c.s.GenerateReply(agent.Reply{})
		c.until(3)
		if segs := c.room.Out.Segments(); len(segs) != 1 {
			t.Errorf("played %+v, want the answer at once: nothing was said before", segs)
		}
		c.close()
	})
}

func TestInterruptWaitsForTheHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{Text: "One two"}, {ToolCalls: callsTool("weather", `{"location":"Rome"}`)}}})
		c.start(&agent.Agent{Tools: []llm.Tool{weather(3 * time.Second)}})
		sp := c.s.GenerateReply(agent.Reply{})
		c.until(1.5)
		if err := c.s.Interrupt(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if !isDone(sp) || time.Since(c.t0) < 3*time.Second {
			t.Errorf("returned after %v, the speech is done: %v", time.Since(c.t0), isDone(sp))
		}
		c.wantHistory("handoff  -> default_agent", "assistant: One [interrupted]", `call weather({"location":"Rome"})`, "output sunny in Rome")
		c.close()
	})
}

func TestInterruptReturnsWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("weather", `{"location":"Rome"}`)})
		c.start(&agent.Agent{Tools: []llm.Tool{weather(4 * time.Second)}})
		sp := c.s.GenerateReply(agent.Reply{})
		c.until(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.s.Interrupt(ctx, false); !errors.Is(err, context.DeadlineExceeded) || !sp.Interrupted() {
			t.Errorf("%v, interrupted: %v", err, sp.Interrupted())
		}
		if got := time.Since(c.t0); got != 2*time.Second {
			t.Errorf("returned after %v", got)
		}
		c.close()
	})
}

func TestToolInterruptsItsOwnSpeech(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("stop", "{}")})
		var took time.Duration
		var err error
		stop := llm.NewTool("stop", "", func(ctx context.Context, rc *agent.RunContext, _ struct{}) (string, error) {
			began := time.Now()
			err = rc.Session().Interrupt(ctx, false)
			took = time.Since(began)
			return "stopped", nil
		})
		c.start(&agent.Agent{Tools: []llm.Tool{stop}})
		sp := c.s.GenerateReply(agent.Reply{})
		c.until(2)
		synctest.Wait()
		if err != nil || took != 0 || !sp.Interrupted() || !isDone(sp) {
			t.Errorf("%v after %v, interrupted %v, done %v", err, took, sp.Interrupted(), isDone(sp))
		}
		c.close()
	})
}

// An interruption that is refused changes nothing: neither what works in the background nor an answer
// that was begun early.
func TestRefusedInterruptionChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{Text: "One two"}, {ToolCalls: callsTool("weather", `{"location":"Rome"}`)}}}, scripted.Answer{Text: "Sunny"})
		c.start(&agent.Agent{Tools: []llm.Tool{weather(6 * time.Second)}})
		back := c.s.GenerateReply(agent.Reply{})
		c.until(3) // heard; its tool runs
		c.s.Say("protected", &agent.SayOptions{Protected: true})
		c.until(4)
		if err := c.s.Interrupt(t.Context(), false); !errors.Is(err, agent.ErrProtected) || back.Interrupted() {
			t.Errorf("%v, background speech interrupted: %v", err, back.Interrupted())
		}
		c.until(12)
		c.wantHistory("handoff  -> default_agent", "assistant: One two", `call weather({"location":"Rome"})`, "assistant: protected",
			"output sunny in Rome", "assistant: Sunny")
		c.close()
	})
}

func TestTextsThatInterruptEachOtherKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "A"}, scripted.Answer{Text: "B"}, scripted.Answer{Text: "C"})
		c.start(nil)
		c.s.Say("One two three", nil)
		c.until(1)
		for _, text := range []string{"first", "second", "third"} {
			c.room.Host().ReceiveText(session.TextInput{Text: text})
		}
		c.until(1.3) // the answer comes at 1.4
		c.wantHistory("handoff  -> default_agent", "assistant: One [interrupted]", "user: first", "user: second", "user: third")
		c.close()
	})
}
