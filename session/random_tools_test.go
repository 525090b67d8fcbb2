package session_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/session"
)

// book is a tool that does all that tools in the background do.
func (x *random) book(name string) *llm.FunctionTool {
	filler := agent.Filler{Text: "Just a moment", Delay: time.Duration(x.rng.IntN(2000)) * time.Millisecond, Interval: time.Duration(x.rng.IntN(2)*1500) * time.Millisecond}
	var pauses []time.Duration
	for range x.rng.IntN(4) {
		pauses = append(pauses, time.Duration(x.rng.IntN(3000))*time.Millisecond)
	}
	waits, end := x.rng.IntN(3), x.rng.IntN(4)
	t := tool(name, func(ctx context.Context, rc *agent.RunContext) (any, error) {
		if stop, err := rc.WithFiller(ctx, filler); err == nil {
			defer stop()
		}
		for i, p := range pauses {
			if err := sleeps(ctx, p); err != nil {
				return nil, err
			}
			if err := rc.Update(ctx, fmt.Sprint("update ", i)); err != nil {
				return nil, err
			}
		}
		switch waits {
		case 1:
			_ = rc.Session().WaitForIdle(ctx)
		case 2:
			_ = rc.Session().Foreground(ctx, func(ctx context.Context) error {
				return rc.Session().Say("This is mine", nil).Wait(ctx)
			})
		}
		return []any{"booked", nil, &agent.Agent{ID: "booked"}, func() {}}[end], nil
	})
	t.Cancellable = x.rng.IntN(2) == 0
	t.Duplicates = []llm.Duplicates{llm.AllowDuplicates, llm.RejectDuplicates, llm.ConfirmDuplicates, llm.ReplaceDuplicates}[x.rng.IntN(4)]
	return t
}

// waitForIdle waits for a quiet moment, and perhaps speaks in it.
func (x *random) waitForIdle(limit time.Duration, speak bool) {
	x.waiting.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if !speak {
			_ = x.s.WaitForIdle(ctx)
			return
		}
		_ = x.s.Foreground(ctx, func(ctx context.Context) error { return x.s.Say("Nobody else", nil).Wait(ctx) })
	})
}

// checkTools: every call that started has ended once, and every reply about one that was scheduled.
func (x *random) checkTools(t *testing.T, events []session.Event) {
	running, replies := map[*chat.FunctionCall]int{}, map[string]int{}
	for _, e := range events {
		switch e := e.(type) {
		case session.ToolExecutionUpdated:
			switch e.Status {
			case session.ToolStarted:
				running[e.Call]++
			case session.ToolUpdated:
				if running[e.Call] != 1 {
					t.Errorf("%s is updated, and does not run", e.ID)
				}
			default:
				if running[e.Call]--; running[e.Call] != 0 {
					t.Errorf("%s has ended, and did not run", e.ID)
				}
			}
		case session.ToolReplyUpdated:
			if replies[e.SpeechID]++; (replies[e.SpeechID] == 1) != (e.Status == session.ReplyScheduled) || replies[e.SpeechID] > 2 {
				t.Errorf("reply %s to %v is %s", e.SpeechID, e.UpdateIDs, e.Status)
			}
		}
	}
	for call, n := range running {
		if n != 0 {
			t.Errorf("%s has not ended", call.CallID)
		}
	}
	for id, n := range replies {
		if n != 2 {
			t.Errorf("the reply %s has not ended", id)
		}
	}
}
