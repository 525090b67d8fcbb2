package conservation

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/parley-go/parley/internal/sandbox/anthropicbox"
	"github.com/parley-go/parley/internal/sandbox/googlebox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
)

// script is what the language models answer.
type script struct {
	mu    sync.Mutex
	rng   *rand.Rand
	plain bool // without calls
}

var sentences = []string{
	"Yes.",
	"Of course, no problem at all.",
	"On Tuesday I can offer you 3:45 or 4:30 in the afternoon. Which of those would you prefer?",
	"Die beiden Bücher sind jetzt bis zum dreiundzwanzigsten November verlängert.",
	"Lo siento, ¿me puede decir la matrícula de su coche?",
	"I have moved your appointment, and you'll get a text message to confirm it, with the address, the time, and what to bring along. Have a lovely day!",
	"**Two** things 🙂 are left to be said: first this one. And then, at last, that one!",
}

// answer is a text, calls, or both. Tools are called now and then, but not when they have just answered.
func (s *script) answer(tools []string, answered bool) (text string, calls []driver.ToolCall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range 1 + s.rng.IntN(2) {
		text = strings.TrimSpace(text + " " + sentences[s.rng.IntN(len(sentences))])
	}
	if s.plain || len(tools) == 0 || answered || s.rng.IntN(3) > 0 {
		return text, nil
	}
	if s.rng.IntN(2) == 0 {
		text = ""
	}
	for range 1 + s.rng.IntN(2) {
		calls = append(calls, driver.ToolCall{CallID: metrics.NewID("call_"), Name: tools[s.rng.IntN(len(tools))], Arguments: `{"day":"2026-03-14"}`})
	}
	return text, calls
}

func (s *script) chat(r *openaibox.ChatRequest) (a openaibox.Answer) {
	var tools []string
	for _, t := range r.Tools {
		tools = append(tools, t.Function.Name)
	}
	a.Text, a.Calls = s.answer(tools, r.Messages[len(r.Messages)-1].Role == "tool")
	return a
}

func (s *script) respond(r *openaibox.ResponsesRequest) (a openaibox.Answer) {
	var tools []string
	for _, raw := range r.Tools {
		var t struct{ Name string }
		_ = json.Unmarshal(raw, &t)
		tools = append(tools, t.Name)
	}
	a.Text, a.Calls = s.answer(tools, r.Whole[len(r.Whole)-1].Type == "function_call_output")
	return a
}

func (s *script) message(r *anthropicbox.Request) (a anthropicbox.Answer) {
	var tools []string
	for _, t := range r.Tools {
		tools = append(tools, t.Name)
	}
	last := r.Messages[len(r.Messages)-1]
	a.Text, a.Calls = s.answer(tools, slices.ContainsFunc(last.Content, func(b anthropicbox.Block) bool { return b.Type == "tool_result" }))
	return a
}

func (s *script) generate(r *googlebox.Request) (a googlebox.Answer) {
	var tools []string
	for _, t := range r.Tools {
		for _, f := range t.Functions {
			tools = append(tools, f.Name)
		}
	}
	last := r.Contents[len(r.Contents)-1]
	a.Text, a.Calls = s.answer(tools, slices.ContainsFunc(last.Parts, func(p googlebox.Part) bool { return p.Answer != nil }))
	return a
}
