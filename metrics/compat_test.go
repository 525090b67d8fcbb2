package metrics

import (
	"encoding/json"
	"testing"
)

func TestUsageCollectorHasAllFifteenFields(t *testing.T) {
	var c UsageCollector
	for name, e := range fullEvents() {
		e.Head().ID = name
		c.Collect(e)
		c.Collect(e) // an event counts once
	}
	got, err := json.MarshalIndent(c.GetSummary(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "summary.golden", append(got, '\n'))
}

func TestUsageSummaryAliases(t *testing.T) {
	var c UsageCollector
	c.Collect(&LLM{PromptTokens: 3, CompletionTokens: 4})
	s := c.GetSummary()
	if s.LLMInputTokens() != 3 || s.LLMOutputTokens() != 4 {
		t.Errorf("got %d and %d", s.LLMInputTokens(), s.LLMOutputTokens())
	}
	s.SetLLMInputTokens(30)
	s.SetLLMOutputTokens(40)
	if s.LLMPromptTokens != 30 || s.LLMCompletionTokens != 40 {
		t.Errorf("got %v", s)
	}
	if now := c.GetSummary(); now.LLMPromptTokens != 3 {
		t.Errorf("changing a summary changed the collector: %v", now)
	}
	if want := "UsageSummary(llm_prompt_tokens=30, llm_completion_tokens=40)"; s.String() != want {
		t.Errorf("got %s, want %s", s, want)
	}
}
