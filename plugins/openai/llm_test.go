package openai

import (
	"testing"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/llm/llmtest"
	"github.com/parley-go/parley/model/fault"
)

func TestChatConformance(t *testing.T) { t.Parallel(); llmtest.Run(t, chatHarness{}) }

type chatHarness struct{}

func (chatHarness) Stage(t *testing.T, s llmtest.Scene) *llmtest.Stage {
	box := sandbox.Start(t, fault.Plan{Kind: s.Fault, Times: s.Times})
	openaibox.Chat(box, "/v1", openaibox.ChatOptions{Answer: openaibox.Says(s.Tool)})
	c, err := newChat(&LLMOptions{APIKey: box.Key, BaseURL: box.URL() + "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	return &llmtest.Stage{LLM: c, Text: openaibox.ChatText, Usage: box.LLM, Billed: box.LLMBilled, Dials: box.Dials, Secrets: []string{box.Key}}
}
