package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/scripted"
)

// quietAt waits for a quiet moment and wants it at sec.
func (c *call) quietAt(sec float64) {
	c.t.Helper()
	if err := c.s.WaitForIdle(c.t.Context()); err != nil {
		c.t.Errorf("WaitForIdle: %v", err)
	}
	c.wantSince(sec, "idle")
}

func TestWaitForIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: oneChunk("Hello.")}, scripted.Answer{Chunks: oneChunk("Bye.")})
		c.start(nil)
		c.quietAt(0)
		c.says(0.5, 2.5, "Question")
		c.until(1)
		c.quietAt(5.4) // the turn, its answer and what is said of it
		c.s.Say("First", nil)
		c.s.Say("Second", nil)
		c.quietAt(9.8)
		c.room.In.Speak(c.at(10.5), c.at(11))
		c.until(10.8)
		c.quietAt(11.5) // noise alone
		next := &agent.Agent{ID: "next", OnEnter: func(_ context.Context, rc *agent.RunContext) error {
			rc.Session().Say("Here", nil)
			return nil
		}}
		c.s.Say("Handing over", nil)
		if err := c.s.UpdateAgent(next); err != nil {
			t.Fatal(err)
		}
		if err := c.s.WaitForIdle(t.Context()); err != nil || c.s.Agent() != next {
			t.Errorf("idle with %s in charge: %v", c.s.Agent().Name(), err)
		}
		go c.s.Shutdown(agent.ShutdownOptions{})
		c.s.Say("So long", nil)
		if err := c.s.WaitForIdle(t.Context()); !errors.Is(err, agent.ErrNotRunning) {
			t.Errorf("WaitForIdle of a session that closes: %v", err)
		}
		c.close()
		if err := c.s.WaitForIdle(t.Context()); !errors.Is(err, agent.ErrNotRunning) {
			t.Errorf("WaitForIdle of a closed session: %v", err)
		}
	})
}

func TestC018WaiterThatGivesUpCancelsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: oneChunk("One.")}, scripted.Answer{Chunks: oneChunk("Two.")})
		c.start(&agent.Agent{OnUserTurnCompleted: func(context.Context, *agent.RunContext, *chat.Context, *chat.Message) error {
			time.Sleep(300 * time.Millisecond)
			return nil
		}})
		c.says(0.5, 2.5, "First")
		for _, at := range []float64{2.8, 3.1} { // in the decision, in the hook
			c.until(at)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if err := c.s.WaitForIdle(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("WaitForIdle at %v: %v", at, err)
			}
			cancel()
		}
		c.says(8, 9, "Second")
		c.until(15)
		c.wantHistory("handoff  -> default_agent", "user: First", "assistant: One.", "user: Second", "assistant: Two.")
		c.close()
	})
}

func TestHooksDoNotWaitForThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turn, exit error
		c := newCall(t, scripted.Answer{Chunks: oneChunk("One.")})
		c.start(&agent.Agent{
			OnUserTurnCompleted: func(ctx context.Context, rc *agent.RunContext, _ *chat.Context, _ *chat.Message) error {
				turn = rc.Session().WaitForIdle(ctx)
				return nil
			},
			OnExit: func(ctx context.Context, rc *agent.RunContext) error {
				exit = rc.Session().Foreground(ctx, func(context.Context) error { return nil })
				return nil
			},
		})
		c.says(0.5, 2.5, "First")
		c.until(10)
		if err := c.s.UpdateAgent(&agent.Agent{}); err != nil {
			t.Fatal(err)
		}
		c.quietAt(10)
		if !errors.Is(turn, agent.ErrSelfWait) || !errors.Is(exit, agent.ErrSelfWait) {
			t.Errorf("OnUserTurnCompleted: %v, OnExit: %v", turn, exit)
		}
		c.close()
	})
}

func TestClaimUserTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: oneChunk("One.")})
		c.start(nil)
		c.until(0.2)
		first, second := c.s.ClaimUserTurn(), c.s.ClaimUserTurn()
		c.says(0.5, 2.5, "Hello")
		c.until(4) // the VAD has heard the end at 3
		if err := c.s.UpdateAgent(&agent.Agent{ID: "next"}); err != nil {
			t.Fatal(err)
		}
		c.until(6)
		first()
		first()
		if c.s.UserState() != agent.UserSpeaking || c.s.Agent().Name() != "next" {
			t.Errorf("user is %s while a claim is left", c.s.UserState())
		}
		time.AfterFunc(time.Until(c.at(7)), second)
		c.quietAt(7)
		third := c.s.ClaimUserTurn()
		c.room.In.Speak(c.at(7.5), c.at(8.5))
		c.until(8)
		third()
		c.quietAt(9) // it is heard that the user speaks
		c.until(25)
		c.close()
		var states []string
		for line := range strings.SplitSeq(c.timeline(), "\n") {
			if strings.Contains(line, " user ") {
				states = append(states, line)
			}
		}
		diff(t, "user states", strings.Join(states, "\n"),
			"0.20 user speaking\n7.00 user listening\n7.00 user speaking\n8.50 user listening\n24.00 user away")
	})
}

func TestForegroundHoldsTheFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(nil)
		c.s.Say("Before", nil)
		broken := errors.New("broken")
		done := make(chan error, 1)
		go func() {
			done <- c.s.Foreground(t.Context(), func(ctx context.Context) error {
				c.wantSince(2.2, "the floor")
				for range 2 { // pauses between them are nobody else's
					if err := c.s.Say("Mine", nil).Wait(ctx); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Second)
				}
				if err := c.s.WaitForIdle(ctx); err != nil {
					t.Errorf("WaitForIdle of the holder: %v", err)
				}
				if err := c.s.Foreground(ctx, func(context.Context) error { return broken }); err != broken {
					t.Errorf("Foreground of the holder: %v", err)
				}
				time.Sleep(time.Second)
				return broken
			})
		}()
		c.until(3)
		c.quietAt(9.6)
		if err := <-done; err != broken {
			t.Errorf("Foreground: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		c.s.Say("Again", nil)
		go func() { time.Sleep(time.Second); cancel() }()
		if err := c.s.Foreground(ctx, func(context.Context) error { panic("never") }); !errors.Is(err, context.Canceled) {
			t.Errorf("Foreground that was given up: %v", err)
		}
		c.quietAt(11.8)
		c.close()
	})
}

func (c *call) wantSince(sec float64, what string) {
	c.t.Helper()
	if got := time.Since(c.t0).Round(time.Millisecond).Seconds(); got != sec {
		c.t.Errorf("%s at %.2f, want %.2f", what, got, sec)
	}
}
