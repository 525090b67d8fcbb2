package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
)

// However a request ends that the session, a tool or a hook has made, its usage is in the report.
func TestReportHasTheUsageOfCutRequests(t *testing.T) {
	reading := func(then func(s *llm.Stream)) func(ctx context.Context, m *llm.Model) {
		return func(ctx context.Context, m *llm.Model) {
			r := &llm.Request{Messages: &chat.Context{}}
			r.Messages.Add(chat.NewMessage(chat.User, "What was said so far?"))
			s := m.Chat(ctx, r)
			_, _ = s.Next()
			then(s)
		}
	}
	for name, hook := range map[string]func(ctx context.Context, m *llm.Model){
		"closed":    reading(func(s *llm.Stream) { s.Close() }),
		"discarded": reading(func(s *llm.Stream) { s.Discard() }),
		"left":      reading(func(*llm.Stream) {}), // the end of the session ends its context
		"stuck": reading(func(s *llm.Stream) {
			for {
				if _, err := s.Next(); err != nil {
					return
				}
			}
		}),
	} {
		for _, usage := range []*driver.Usage{nil, {PromptTokens: 700, CompletionTokens: 90, TotalTokens: 790}} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCall(t, scripted.Answer{Text: "one two three four five six seven eight", Usage: usage})
					m := llm.New(c.llm, nil)
					c.start(&agent.Agent{OnEnter: func(ctx context.Context, _ *agent.RunContext) error {
						hook(ctx, m)
						return nil
					}})
					c.until(0.35)
					began := time.Now()
					rep := c.close()
					if d := time.Since(began); d > 3*time.Second {
						t.Errorf("the close took %v", d)
					}
					got, _ := rep.Usage.LLM("scripted", "scripted")
					if want := c.llm.Ledger()[0]; got.InputTokens != want.Usage.PromptTokens || got.OutputTokens != want.Usage.CompletionTokens || want.End != scripted.Whole {
						t.Errorf("the report has %+v, the provider served %+v", got, want)
					}
					if e := c.spent[len(c.spent)-1].(*metrics.LLM); e.Source != metrics.FromProvider {
						t.Errorf("event %+v", e)
					}
					_ = m.Close()
				})
			})
		}
	}
}

// A provider that does not come to an end does not keep the session open.
func TestCloseDoesNotWaitForEverForUsage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "one two three", Fault: &scripted.Fault{After: 2, Stall: true}})
		c.start(nil)
		c.s.GenerateReply(agent.Reply{UserInput: "go"})
		c.until(0.35)
		began := time.Now()
		rep := c.close()
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("the close took %v", d)
		}
		if u, _ := rep.Usage.LLM("scripted", "scripted"); u.InputTokens == 0 || u.OutputTokens == 0 {
			t.Errorf("the report has %+v", u)
		}
	})
}
