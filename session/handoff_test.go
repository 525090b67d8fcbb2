package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/turn"
)

func TestTurnWhoseHookAHandoffOvertakesIsAnsweredByTheNextAgent(t *testing.T) {
	for name, hook := range map[string]func(ctx context.Context) error{
		"hook is cut off": func(ctx context.Context) error { return sleeps(ctx, 3*time.Second) },
		"hook goes on":    func(context.Context) error { time.Sleep(3 * time.Second); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "Hi there"})
				c.start(&agent.Agent{ID: "first", OnUserTurnCompleted: func(ctx context.Context, _ *agent.RunContext, _ *chat.Context, _ *chat.Message) error {
					return hook(ctx)
				}})
				c.says(0.5, 1.5, "Hello") // the hook runs at 2
				c.until(2.5)
				if err := c.s.UpdateAgent(&agent.Agent{ID: "second"}); err != nil {
					t.Fatal(err)
				}
				c.until(10)
				c.wantHistory("handoff  -> first", "handoff first -> second", "user: Hello", "assistant: Hi there")
				c.close()
			})
		})
	}
}

func TestHandoffsThatWaitTakePlaceAlthoughOneOfThemFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{ID: "first", OnExit: func(ctx context.Context, _ *agent.RunContext) error { return sleeps(ctx, time.Second) }})
		for _, a := range []*agent.Agent{{ID: "second"}, {ID: "broken", TurnHandling: turn.Handling{Detection: "unknown"}}, {ID: "third"}} {
			if err := c.s.UpdateAgent(a); err != nil {
				t.Fatal(err)
			}
		}
		c.until(3)
		c.wantHistory("handoff  -> first", "handoff first -> second", "handoff second -> third")
		c.close()
	})
}
