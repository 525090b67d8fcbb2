package session_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/turn"
	turnscripted "github.com/parley-go/parley/turn/scripted"
)

func TestC027UnfinishedTurnGetsTheLongDelay(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answer  turnscripted.Step
		decided time.Duration // after the end of speech
	}{
		{"finished", turnscripted.Step{Probability: 0.9}, 500 * time.Millisecond},
		{"unfinished", turnscripted.Step{Probability: 0.1}, 3 * time.Second},
		{"failed", turnscripted.Step{Err: errors.New("no answer")}, 500 * time.Millisecond},
		{"too slow (C025)", turnscripted.Step{Delay: time.Hour}, 1500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "Hi there"})
				c.opt.TurnHandling.Detector = opt.Some(turn.New(turnscripted.NewText(&turnscripted.Options{Steps: []turnscripted.Step{tt.answer}}), nil))
				c.start(nil)
				c.says(0.5, 2.5, "Hello")
				c.until(12)
				if at := c.committedAt(); at != 2500*time.Millisecond+tt.decided {
					t.Errorf("turn ended at %v, want %v after the speech", at, tt.decided)
				}
				c.close()
			})
		})
	}
}

// committedAt is when the first message of the user became part of the history.
func (c *call) committedAt() time.Duration {
	for m := range c.s.History().Messages() {
		return m.CreatedAt.Sub(c.t0).Round(time.Millisecond)
	}
	return -1
}

func TestC007AgentOverridesTheDetectorAndItsDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.opt.TurnHandling.Detector = opt.Some(turn.New(turnscripted.NewText(&turnscripted.Options{Steps: []turnscripted.Step{{Probability: 0.1}}}), nil))
		c.opt.TurnHandling.Endpointing.MaxDelay = opt.Some(4 * time.Second)
		c.start(&agent.Agent{
			TurnHandling: turn.Handling{Detector: opt.Off[*turn.Model](), Endpointing: turn.EndpointingOptions{MinDelay: opt.Some(700 * time.Millisecond)}},
		})
		c.says(0.5, 2.5, "Hello")
		c.until(12)
		if at := c.committedAt(); at != 3200*time.Millisecond {
			t.Errorf("turn ended at %v, want 0.7 s after the speech", at)
		}
		c.close()
	})
}

func TestC020SpeechVoidsTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.opt.TurnHandling.Detector = opt.Some(turn.New(turnscripted.NewText(&turnscripted.Options{Steps: []turnscripted.Step{{Probability: 0.1}, {Probability: 0.9}}}), nil))
		c.start(nil)
		c.says(0.5, 1.5, "I would like")
		c.says(3.0, 4.0, "a table")
		c.until(12)
		c.wantHistory("handoff  -> default_agent", "user: I would like a table", "assistant: Hi there")
		if at := c.committedAt(); at != 4500*time.Millisecond {
			t.Errorf("turn ended at %v, want 0.5 s after the last speech", at)
		}
		c.close()
	})
}
