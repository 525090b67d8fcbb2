package providertest

import (
	"testing"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/session"
)

// What an answer costs is stated at its end, which an interruption is long before.
func TestInterruptedAnswerIsBilledToTheToken(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(c *call){
		"interrupted": func(c *call) { _ = c.Interrupt(t.Context(), true) },
		"hung up":     func(*call) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			brain, box := mind(t, fault.Plan{Kind: fault.Slow, Times: -1})
			c := start(t, session.Options{LLM: brain})
			c.GenerateReply(agent.Reply{UserInput: "What is the weather in Paris?"})
			for end := time.Now().Add(patience); box.Open() == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the model is not asked")
				}
			}
			time.Sleep(100 * time.Millisecond) // some words
			cut(c)
			c.hangUp()
			idle(t, box)
			u, bill := spent[metrics.LLMUsage](c), box.LLMBilled()
			if u.InputTokens != bill.PromptTokens || u.OutputTokens != bill.CompletionTokens || u.OutputTokens == 0 {
				t.Errorf("booked %+v, the provider bills %+v", u, bill)
			}
		})
	}
}
