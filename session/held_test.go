package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/opt"
)

// TestReportWaitsForTheUsageOfAnEarlyAnswer that was cut by the close.
func TestReportWaitsForTheUsageOfAnEarlyAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "one two three four five six seven eight"})
		c.opt.LLM = llm.New(c.llm, &llm.Options{DrainUsage: opt.Some(2 * time.Second)})
		c.opt.TurnHandling.Preemptive.Enabled = opt.Some(true)
		c.start(nil)
		c.says(0.5, 1.5, "Hello") // is understood at 1.7, and would be answered at 2
		c.until(1.9)
		rep := c.close()
		time.Sleep(10 * time.Second)
		checkAttribution(t, c.s)
		got, _ := rep.Usage.LLM("scripted", "scripted")
		if later, _ := c.s.Usage().LLM("scripted", "scripted"); got.OutputTokens == 0 || got != later {
			t.Errorf("report %+v, later %+v", got, later)
		}
		diff(t, "outcomes", shares(rep.UsageBy[metrics.ByOutcome]), "delivered: stt 2s\ndiscarded: llm 8\n")
	})
}
