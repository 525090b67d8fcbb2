package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/turn"
)

func TestC061PauseOfASilentStepIsNotInherited(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from, to float64 // of a noise
		timeline []string
	}{
		{"noise during the silent step", 0.02, 0.3, []string{
			"0.00 handoff  -> default_agent", "0.00 agent listening", "0.00 agent thinking",
			"0.02 user speaking", "0.06 agent listening", // paused before anything is said
			"0.20 agent thinking", // the tool runs
			"0.30 user listening",
			"3.50 agent speaking", "5.50 assistant: Sunny", "5.50 agent listening",
		}},
		{"noise when the answer begins", 3.2, 3.4, []string{
			"0.00 handoff  -> default_agent", "0.00 agent listening", "0.00 agent thinking",
			"3.20 user speaking", "3.24 agent listening",
			"3.40 user listening", "3.90 agent thinking",
			"3.90 agent speaking", "5.90 assistant: Sunny", "5.90 agent listening",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Calls: callsTool("weather", `{"location":"Rome"}`)}, scripted.Answer{Text: "Sunny"})
				c.start(&agent.Agent{Tools: []llm.Tool{weather(3 * time.Second)}})
				c.room.In.Speak(c.at(tt.from), c.at(tt.to))
				c.s.GenerateReply(agent.Reply{})
				c.until(10)
				c.wantTimeline(tt.timeline...)
				c.close()
			})
		})
	}
}

func TestC062OutputWhenASpeechBegins(t *testing.T) {
	handling := func(i turn.Interruption) turn.Handling { return turn.Handling{Interruption: i} }
	for _, tt := range []struct {
		name     string
		handling turn.Handling
		from, to float64 // of a noise
		want     float64 // when the speech, asked for at 1.5, is first heard
	}{
		{"user is silent", turn.Handling{}, 0.2, 0.4, 1.7},
		{"user begins before the first sound", turn.Handling{}, 1.55, 1.8, 2.3}, // a pause that is kept
		{"user is still taken to speak", turn.Handling{}, 1, 2, 2.5},            // held when it may begin, at 2.28
		{"pausing is disabled", handling(turn.Interruption{FalseTimeout: opt.Off[time.Duration]()}), 1, 2, 2.28},
		{"resuming is disabled", handling(turn.Interruption{ResumeFalse: opt.Off[bool]()}), 1, 2, 2.28},
		{"interruptions are disabled", handling(turn.Interruption{Enabled: opt.Off[bool]()}), 1, 2, 1.7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t)
				c.start(&agent.Agent{TurnHandling: tt.handling})
				c.room.In.Speak(c.at(tt.from), c.at(tt.to))
				c.until(1.5)
				c.s.Say("Hello there", nil)
				c.until(7)
				segs := c.room.Out.Segments()
				if len(segs) != 1 || segs[0].Played != 2*time.Second {
					t.Fatalf("played %+v, want all of it", segs)
				}
				if got := segs[0].Started.Sub(c.t0).Round(time.Millisecond); got != time.Duration(tt.want*1000)*time.Millisecond {
					t.Errorf("first heard at %v, want %v s", got, tt.want)
				}
				c.wantHistory("handoff  -> default_agent", "assistant: Hello there")
				c.close()
			})
		})
	}
}

// The pause of a speech that was interrupted does not hold back the one after it.
func TestC062PauseOfAnotherSpeechIsCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(nil)
		first := c.s.Say("One two three", nil)
		c.room.In.Speak(c.at(1), c.at(2)) // pauses it at 1.5
		c.until(2.2)
		if err := first.Interrupt(false); err != nil {
			t.Fatal(err)
		}
		c.s.Say("Four", nil)
		c.until(6)
		segs := c.room.Out.Segments()
		if len(segs) != 2 || !segs[0].Interrupted || segs[1].Played != 2*time.Second {
			t.Errorf("played %+v, want the second in full", segs)
		}
		c.close()
	})
}

func TestC062WithoutOutputNothingIsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.room.Out.Close()
		c.room.Out = nil
		c.start(nil)
		c.room.In.Speak(c.at(1), c.at(1.4))
		c.until(1.7) // the VAD waits for the end of speech
		sp := c.s.Say("Hello", nil)
		c.until(1.71)
		if !isDone(sp) {
			t.Error("a text waits for the user to be silent")
		}
		c.close()
	})
}

func TestProtectionEndsAPause(t *testing.T) {
	for _, protect := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCall(t, scripted.Answer{Text: "Hello", TTFT: time.Second})
			c.start(nil)
			c.room.In.Speak(c.at(0.3), c.at(2))
			sp := c.s.GenerateReply(agent.Reply{})
			c.until(0.5) // held back, before the model has answered
			if protect {
				if err := sp.SetProtected(true); err != nil {
					t.Fatal(err)
				}
			}
			c.until(6)
			want := 2500 * time.Millisecond // when the VAD has found the end of the noise
			if protect {
				want = 1200 * time.Millisecond
			}
			segs := c.room.Out.Segments()
			if len(segs) != 1 || segs[0].Started.Sub(c.t0) != want {
				t.Errorf("protected %v: played %+v, want it to begin after %v", protect, segs, want)
			}
			c.close()
		})
	}
}
