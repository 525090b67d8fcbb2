package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
)

const tenWords = "one two three four five six seven eight nine ten"

func TestC050BargeInKeepsWhatWasHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: oneChunk(tenWords)}, scripted.Answer{Text: "Ok bye"})
		c.tts.lasts(10 * time.Second)
		c.start(nil)
		c.says(0.5, 2.5, "Count")
		c.says(5.0, 6.0, "Stop")
		c.until(6.4)
		segs := c.room.Out.Segments()
		if len(segs) != 1 || !segs[0].Interrupted || segs[0].Played != 2100*time.Millisecond {
			t.Errorf("played %+v, want one segment of 2.1 s, interrupted", segs)
		}
		c.tts.lasts(time.Second)
		c.until(12)
		c.wantTimeline(
			"0.00 handoff  -> default_agent", "0.00 agent listening",
			"0.50 user speaking", "2.70 final Count", "2.50 user listening",
			"3.00 user: Count", "3.00 agent thinking", "3.40 agent speaking",
			"5.00 user speaking", "5.50 agent listening",
			"6.20 final Stop", "6.20 assistant: one two [interrupted]", "6.00 user listening",
			"6.50 user: Stop", "6.50 agent thinking", "7.00 agent speaking",
			"8.00 assistant: Ok bye", "8.00 agent listening",
		)
		if got := c.room.AgentText(); got[0] != "one two" && got[0] != "one two " {
			t.Errorf("shown %q, want what is in the history", got[0])
		}
		c.close()
	})
}

func TestC051InterruptedBeforePlayback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"}, scripted.Answer{Text: "Ok bye"})
		c.tts.ttfb = 2 * time.Second
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.says(3.2, 4.2, "Wait")
		c.until(4.5)
		if segs := c.room.Out.Segments(); len(segs) != 0 {
			t.Errorf("played %+v, want nothing", segs)
		}
		if c.s.AgentState() != agent.Listening {
			t.Errorf("agent is %s, want listening", c.s.AgentState())
		}
		c.until(12)
		c.wantHistory("handoff  -> default_agent", "user: Hello", "user: Wait", "assistant: Ok bye")
		c.close()
	})
}

func TestC054MinWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: oneChunk(tenWords)}, scripted.Answer{Text: "Ok bye"})
		c.tts.lasts(10 * time.Second)
		c.opt.TurnHandling.Interruption.MinWords = opt.Some(3)
		c.start(nil)
		c.says(0.5, 2.5, "Count")
		c.says(5.0, 5.8, "Stop!")
		c.says(7.0, 7.8, "ok, stop!")
		c.until(7.5)
		if c.s.AgentState() != agent.Speaking {
			t.Errorf("agent is %s after one word, want speaking", c.s.AgentState())
		}
		c.until(8.3)
		if c.s.AgentState() == agent.Speaking {
			t.Error("agent still speaks after three words")
		}
		c.until(20)
		c.close()
		c.wantHistory("handoff  -> default_agent", "user: Count", "assistant: one two three four five [interrupted]",
			"user: Stop! ok, stop!", "assistant: Ok bye")
	})
}

func TestC055InterruptionsDisabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: oneChunk(tenWords)})
		c.tts.lasts(4 * time.Second)
		c.opt.TurnHandling.Interruption.Enabled = opt.Some(false)
		c.start(nil)
		c.says(0.5, 2.5, "Count")
		c.says(5.0, 6.0, "Stop")
		c.until(12)
		c.wantHistory("handoff  -> default_agent", "user: Count", "assistant: "+tenWords, "user: Stop")
		c.close()
	})
}

func TestC056TextInterrupts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: oneChunk(tenWords)}, scripted.Answer{Text: "Ok bye"})
		c.tts.lasts(10 * time.Second)
		c.start(nil)
		c.says(0.5, 2.5, "Count")
		c.until(5)
		c.room.Host().ReceiveText(session.TextInput{Text: "Enough"})
		c.until(20)
		c.wantTimeline(
			"0.00 handoff  -> default_agent", "0.00 agent listening",
			"0.50 user speaking", "2.70 final Count", "2.50 user listening",
			"3.00 user: Count", "3.00 agent thinking", "3.40 agent speaking",
			"5.00 user speaking", "5.00 user listening", // as long as it takes to type
			"5.00 assistant: one two [interrupted]",
			"5.00 user: Enough", "5.00 agent thinking", "5.50 agent speaking",
			"15.50 assistant: Ok bye", "15.50 agent listening",
		)
		c.close()
	})
}

func TestC065QueueAndProtection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(nil)
		a := c.s.Say("first", nil)
		b := c.s.Say("second", &agent.SayOptions{Protected: true})
		d := c.s.Say("third", nil)
		c.until(1)
		if err := c.s.Interrupt(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		c.until(2)
		if !a.Interrupted() || b.Interrupted() || d.Interrupted() {
			t.Errorf("interrupted: %v %v %v, want the first only", a.Interrupted(), b.Interrupted(), d.Interrupted())
		}
		if err := c.s.Interrupt(t.Context(), false); err != agent.ErrProtected {
			t.Errorf("interrupting a protected speech: %v", err)
		}
		if err := c.s.Interrupt(t.Context(), true); err != nil {
			t.Errorf("forced: %v", err)
		}
		c.until(3)
		for i, sp := range []*agent.Speech{a, b, d} {
			select {
			case <-sp.Done():
			default:
				t.Errorf("speech %d is not done", i)
			}
		}
		c.close()
	})
}

func TestReplyWaitsForTheUserToBeSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.start(nil)
		c.says(1, 3, "")
		c.until(1.5)
		c.s.Say("Excuse me", nil)
		c.until(8)
		segs := c.room.Out.Segments()
		if len(segs) != 1 || segs[0].Started.Before(c.at(3)) {
			t.Errorf("agent spoke %+v, want once, after the user", segs)
		}
		c.close()
	})
}

func TestSpeechOfAClosedSessionFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := session.New(session.Options{})
		sp := s.Say("hello", nil)
		if sp.Wait(t.Context()) != nil || sp.Err() != agent.ErrNotRunning {
			t.Errorf("speech ended with %v, want ErrNotRunning", sp.Err())
		}
	})
}
