package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
	"github.com/parley-go/parley/turn"
	"github.com/parley-go/parley/vad"
)

// falseInterruptions counts the pauses that were undone.
func (c *call) falseInterruptions() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if f, ok := e.(session.AgentFalseInterruption); ok && f.Resumed {
			n++
		}
	}
	return n
}

func TestNoiseOnlyPausesTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: oneChunk(tenWords)})
		c.tts.lasts(5 * time.Second)
		c.start(nil)
		c.says(0.5, 2.5, "Count") // the agent speaks from 3.4 on
		c.says(5.0, 6.0, "")      // paused at 5.5, noise ends at 6.5, goes on at 8.5
		c.until(15)
		if n := c.falseInterruptions(); n != 1 {
			t.Errorf("%d false interruptions, want 1", n)
		}
		segs := c.room.Out.Segments()
		if len(segs) != 1 || segs[0].Interrupted || segs[0].Played != 5*time.Second {
			t.Errorf("played %+v, want one whole segment", segs)
		}
		if end := segs[0].Finished.Sub(c.t0).Round(100 * time.Millisecond); end != 11400*time.Millisecond {
			t.Errorf("ended at %v, want 3 s later than without the noise", end)
		}
		c.wantHistory("handoff  -> default_agent", "user: Count", "assistant: "+tenWords)
		c.close()
	})
}

func TestWithoutResumingNoiseStopsTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: oneChunk(tenWords)})
		c.tts.lasts(10 * time.Second)
		c.opt.TurnHandling.Interruption.FalseTimeout = opt.Off[time.Duration]()
		c.start(nil)
		c.says(0.5, 2.5, "Count")
		c.says(5.0, 6.0, "")
		c.until(10)
		c.wantHistory("handoff  -> default_agent", "user: Count", "assistant: one two [interrupted]")
		c.close()
	})
}

func TestC052InterruptedBeforePlaybackWithPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"}, scripted.Answer{Text: "Ok bye"})
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.says(3.2, 4.2, "Wait")
		c.until(3.3)
		if c.s.AgentState() != agent.Listening {
			t.Errorf("agent is %s when the user begins, want listening", c.s.AgentState())
		}
		c.until(12)
		segs := c.room.Out.Segments()
		if len(segs) != 2 || !segs[0].Started.IsZero() || segs[0].Played != 0 || !segs[0].Interrupted {
			t.Errorf("played %+v, want a first segment that nobody heard", segs)
		}
		c.wantHistory("handoff  -> default_agent", "user: Hello", "user: Wait", "assistant: Ok bye")
		c.close()
	})
}

func TestC053NoiseBeforePlayback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.says(3.0, 3.3, "") // the reply would begin at 3.5
		c.until(10)
		segs := c.room.Out.Segments()
		if len(segs) != 1 || segs[0].Interrupted || segs[0].Played != 2*time.Second {
			t.Fatalf("played %+v, want the whole reply", segs)
		}
		if start := segs[0].Started.Sub(c.t0).Round(20 * time.Millisecond); start != 3800*time.Millisecond {
			t.Errorf("reply began at %v, want 3.8 s, when the noise was over", start)
		}
		c.close()
	})
}

func TestC058ResumeWaitsForTheDecision(t *testing.T) {
	for _, tt := range []struct {
		name    string
		clear   bool // the application forgets the turn while it is being decided
		resumes int
	}{{"committed", false, 0}, {"dropped", true, 1}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "Ok bye"})
				c.opt.TurnHandling.Interruption.FalseTimeout = opt.Some(200 * time.Millisecond)
				c.opt.TurnHandling.Endpointing.MinDelay = opt.Some(2 * time.Second)
				c.tts.lasts(10 * time.Second)
				c.start(nil)
				c.says(0.5, 1.5, "Hello") // would be a turn at 3.5
				c.until(1.9)
				sp := c.s.Say(tenWords, nil)
				c.says(2.6, 3.4, "") // pauses at 3.1; the turn is put off to 5.4
				c.until(4.5)
				if c.s.AgentState() != agent.Listening || c.falseInterruptions() != 0 {
					t.Errorf("agent is %s while the turn is open, want paused", c.s.AgentState())
				}
				if tt.clear {
					c.s.ClearUserTurn()
				}
				c.until(30)
				if n := c.falseInterruptions(); n != tt.resumes {
					t.Errorf("%d false interruptions, want %d", n, tt.resumes)
				}
				if sp.Interrupted() == tt.clear {
					t.Errorf("the speech was interrupted: %v", sp.Interrupted())
				}
				c.close()
			})
		})
	}
}

func TestC060InterruptingAPausedSpeech(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: oneChunk(tenWords)}, scripted.Answer{Text: "Ok bye"})
		c.tts.lasts(10 * time.Second)
		c.start(nil)
		c.says(0.5, 2.5, "Count")
		c.says(5.0, 6.0, "")
		c.until(5.8) // paused
		if err := c.s.Interrupt(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		c.until(7)
		c.s.Say("Next", nil)
		c.until(20)
		segs := c.room.Out.Segments()
		if len(segs) != 2 || !segs[0].Interrupted || segs[1].Interrupted || segs[1].Played == 0 {
			t.Errorf("played %+v, want an interrupted segment and a whole one: the pause must not outlive its speech", segs)
		}
		if n := strings.Count(c.timeline(), "5.50 agent listening"); n != 1 {
			t.Errorf("agent began to listen %d times at 5.5 s:\n%s", n, c.timeline())
		}
		c.close()
	})
}

func TestC063EchoWarmup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: oneChunk(tenWords)}, scripted.Answer{Text: "never"})
		c.tts.lasts(5 * time.Second)
		c.opt.AECWarmup = opt.Some(3 * time.Second)
		c.start(nil)
		c.says(0.5, 2.5, "Count") // speaking from 3.4, warm-up until 6.4
		c.says(4.0, 5.0, "")
		c.until(5.2)
		if c.s.AgentState() != agent.Speaking {
			t.Errorf("agent is %s during the warm-up, want speaking", c.s.AgentState())
		}
		c.says(6.6, 7.6, "")
		c.until(7.3)
		if c.s.AgentState() != agent.Listening {
			t.Errorf("agent is %s after the warm-up, want listening", c.s.AgentState())
		}
		c.until(20)
		c.close()
	})
}

func TestC064WhoHearsWhat(t *testing.T) {
	for _, tt := range []struct {
		name  string
		tune  func(*session.Options)
		hears bool
	}{
		{"normally", func(*session.Options) {}, true},
		{"during the warm-up", func(o *session.Options) { o.AECWarmup = opt.Some(10 * time.Second) }, false},
		{"during protected speech", func(o *session.Options) { o.TurnHandling.Interruption.Enabled = opt.Some(false) }, false},
		{"during protected speech, if wanted", func(o *session.Options) {
			i := &o.TurnHandling.Interruption
			i.Enabled, i.DiscardProtected = opt.Some(false), opt.Some(false)
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t)
				tt.tune(&c.opt)
				c.opt.TurnHandling.Interruption.MinDuration = opt.Some(time.Hour) // keeps the agent speaking
				c.start(nil)
				c.s.Say("Hello there", nil)
				c.says(0.5, 1.5, "")
				c.until(4)
				if got := c.stt.loud() > 0; got != tt.hears {
					t.Errorf("the STT heard the user: %v, want %v", got, tt.hears)
				}
				if !strings.Contains(c.timeline(), "0.50 user speaking") {
					t.Errorf("the VAD did not hear the user:\n%s", c.timeline())
				}
				c.close()
			})
		})
	}
}

func TestC044ManualCommitTakesTheInterim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.opt.TurnHandling.Detection = turn.DetectManual
		c.start(nil)
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.stt.expectInterim(1200*time.Millisecond, "Hello you")
		c.until(5)
		c.wantHistory("handoff  -> default_agent")
		text, err := c.s.CommitUserTurn(t.Context(), &session.CommitOptions{TranscriptTimeout: time.Second})
		if err != nil || text != "Hello you" {
			t.Errorf("commit: %q, %v", text, err)
		}
		if d := time.Since(c.t0); d != 6*time.Second {
			t.Errorf("commit took until %v, want the timeout of one second", d)
		}
		c.until(10)
		c.wantHistory("handoff  -> default_agent", "user: Hello you", "assistant: Hi there")
		c.close()
	})
}

func TestManualTurnsAreNotInterruptedByVoice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.opt.TurnHandling.Detection = turn.DetectManual
		c.start(nil)
		c.s.Say("Hello there", nil)
		c.says(0.5, 1.9, "Stop it now")
		c.until(5)
		if segs := c.room.Out.Segments(); len(segs) != 1 || segs[0].Interrupted {
			t.Errorf("played %+v, want one whole segment", segs)
		}
		text, err := c.s.CommitUserTurn(t.Context(), &session.CommitOptions{SkipReply: true})
		if err != nil || text != "Stop it now" {
			t.Errorf("commit: %q, %v", text, err)
		}
		c.until(9)
		c.wantHistory("handoff  -> default_agent", "assistant: Hello there", "user: Stop it now")
		c.close()
	})
}

func TestC045ClearUserTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.start(nil)
		c.says(0.5, 1.5, "Forget this")
		c.until(1.9)
		c.s.ClearUserTurn()
		c.says(4.0, 5.0, "Hello")
		c.until(9)
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Hi there")
		c.close()
	})
}

func TestCommitOfAClosedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.opt.TurnHandling.Detection = turn.DetectManual
		c.start(nil)
		done := make(chan error, 1)
		go func() {
			_, err := c.s.CommitUserTurn(context.Background(), &session.CommitOptions{TranscriptTimeout: time.Hour})
			done <- err
		}()
		c.until(1)
		c.close()
		if err := <-done; err != agent.ErrNotRunning {
			t.Errorf("commit: %v, want ErrNotRunning", err)
		}
	})
}

func TestPausedAgentGoesOnAfterACommitOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: oneChunk("One two three four")})
		c.tts.length = 4 * time.Second
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.says(4.5, 5.5, "") // the agent is paused, and would go on at 8
		c.until(7)
		if text, err := c.s.CommitUserTurn(t.Context(), nil); text != "" || err != nil { // waits until 9
			t.Errorf("committed %q, %v", text, err)
		}
		c.until(14)
		diff(t, "states", c.states(), "0.00 agent listening\n3.00 agent thinking\n3.40 agent speaking\n5.00 agent listening\n9.00 agent speaking\n11.40 agent listening\n")
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: One two three four")
		c.close()
	})
}

func TestAgentThatIsProtectedWhilePausedSpeaksOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{Text: "One two three four", ToolCalls: calls("pay#1")}}}, scripted.Answer{Chunks: oneChunk("Paid.")})
		c.tts.length = 4 * time.Second
		c.start(&agent.Agent{Tools: []llm.Tool{tool("pay", func(ctx context.Context, rc *agent.RunContext) (any, error) {
			c.until(5.3)
			return "done", errors.Join(rc.DisallowInterruptions(), sleeps(ctx, 3*time.Second))
		})}})
		c.says(0.5, 2.5, "Hello")
		c.says(4.5, 5.5, "wait wait") // the agent is paused at 5, the words come at 5.7
		c.until(8)
		diff(t, "states", c.states(), "0.00 agent listening\n3.00 agent thinking\n3.40 agent speaking\n5.00 agent listening\n5.70 agent speaking\n")
		c.until(16)
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: One two three four", "call pay({})", "user: wait wait", "output done", "assistant: Paid.")
		c.close()
	})
}

func TestEarsThatAreReplacedAfterACommitLeaveTheUserSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.start(nil)
		c.room.In.Speak(c.at(0.5), c.at(2.5))
		c.stt.expect(1900*time.Millisecond, "Hello")
		c.until(2)
		if _, err := c.s.CommitUserTurn(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		c.until(2.6) // the old VAD would have told at 3 that the user is silent
		if err := c.s.UpdateAgentOptions(agent.Options{VAD: opt.Some(vad.New(vadScript{}))}); err != nil {
			t.Fatal(err)
		}
		c.until(6)
		if st := c.s.UserState(); st != agent.UserListening {
			t.Errorf("the user is %s", st)
		}
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Hi there")
		c.close()
	})
}

// lateOutput tells 30 ms late that something is heard.
type lateOutput struct{ *sessiontest.Output }

func (o lateOutput) Notify(f func(session.PlaybackEvent)) {
	o.Output.Notify(func(e session.PlaybackEvent) {
		if e.Finished {
			f(e)
			return
		}
		time.AfterFunc(30*time.Millisecond, func() { f(e) })
	})
}

// lateRoom is a room with such an output.
type lateRoom struct{ *sessiontest.Transport }

func (r lateRoom) Open(ctx context.Context, h session.Host) (session.IO, error) {
	ends, err := r.Transport.Open(ctx, h)
	ends.AudioOut = lateOutput{r.Out}
	return ends, err
}

func TestStartThatIsToldWhileTheAgentIsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: oneChunk("One two three four")})
		c.transport = lateRoom{c.room}
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.says(3.38, 3.9, "") // the VAD tells so at 3.42; that the agent is heard, since 3.40, is told at 3.43
		c.until(9)
		diff(t, "states", c.states(), "0.00 agent listening\n3.00 agent thinking\n3.42 agent listening\n4.40 agent speaking\n6.38 agent listening\n")
		c.close()
	})
}
