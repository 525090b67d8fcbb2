// Package openaibox is the sandbox of OpenAI's protocol, and of the services that speak it.
package openaibox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// Answer is what the model answers to a request.
type Answer struct {
	Text  string
	Calls []driver.ToolCall
}

// ChatOptions are the options of Chat.
type ChatOptions struct {
	Provider string // in the ledger; default "openai"
	// Answer makes the answers; default Says(false).
	Answer func(r *ChatRequest) Answer
	// Authorized refuses whoever may not ask; default: whoever has not the key as a bearer.
	Authorized func(c *sandbox.Call) bool
}

// ChatRequest is the body of a request. It has the fields that OpenAI takes, of those that we send.
type ChatRequest struct {
	Model               string            `json:"model"`
	Messages            []ChatMessage     `json:"messages"`
	Stream              bool              `json:"stream"`
	StreamOptions       *streamOptions    `json:"stream_options"`
	Tools               []chatTool        `json:"tools"`
	ToolChoice          json.RawMessage   `json:"tool_choice"`
	ParallelToolCalls   *bool             `json:"parallel_tool_calls"`
	Temperature         *float64          `json:"temperature"`
	TopP                *float64          `json:"top_p"`
	MaxTokens           int               `json:"max_tokens"`
	MaxCompletionTokens int               `json:"max_completion_tokens"`
	ReasoningEffort     string            `json:"reasoning_effort"`
	Verbosity           string            `json:"verbosity"`
	ServiceTier         string            `json:"service_tier"`
	User                string            `json:"user"`
	PromptCacheKey      string            `json:"prompt_cache_key"`
	Metadata            map[string]string `json:"metadata"`
}

// ChatMessage is a message of a request.
type ChatMessage struct {
	Role       string          `json:"role"`
	Content    json.RawMessage `json:"content"`
	ToolCallID string          `json:"tool_call_id"`
	ToolCalls  []struct {
		ID       string          `json:"id"`
		Type     string          `json:"type"`
		Function chatFunction    `json:"function"`
		Extra    json.RawMessage `json:"extra_content"`
	} `json:"tool_calls"`
}

type chatFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type chatTool struct {
	Type     string `json:"type"`
	Function struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Parameters  json.RawMessage `json:"parameters"`
		Strict      *bool           `json:"strict"`
	} `json:"function"`
}

// Text is the text of the message, pictures left out.
func (m *ChatMessage) Text() string {
	var s string
	if json.Unmarshal(m.Content, &s) == nil {
		return s
	}
	var parts []struct{ Text string }
	_ = json.Unmarshal(m.Content, &parts)
	for _, p := range parts {
		s += p.Text
	}
	return s
}

// ChatText is the default answer.
const ChatText = "It is sunny in Paris today, with a light wind."

// Chat serves POST {prefix}/chat/completions and GET {prefix}/models.
func Chat(s *sandbox.Server, prefix string, o ChatOptions) {
	if o.Provider == "" {
		o.Provider = "openai"
	}
	if o.Answer == nil {
		o.Answer = Says(false)
	}
	if o.Authorized == nil {
		o.Authorized = func(c *sandbox.Call) bool { return c.Authorized("Authorization", "Bearer ") }
	}
	s.HandlePlain("GET "+prefix+"/models", models)
	s.Handle("POST "+prefix+"/chat/completions", func(c *sandbox.Call) {
		var r ChatRequest
		if !o.Authorized(c) || !c.Read(&r) {
			return
		}
		if err := r.check(); err != nil {
			c.Refuse(400, err.Error())
			return
		}
		r.answer(c, o)
	})
}

// Says answers with ChatText, or with a call of the first tool about Paris if there is one and tool is set.
func Says(tool bool) func(*ChatRequest) Answer {
	return func(r *ChatRequest) Answer {
		if tool && len(r.Tools) > 0 {
			return Answer{Calls: []driver.ToolCall{{CallID: metrics.NewID("call_"), Name: r.Tools[0].Function.Name, Arguments: `{"location":"Paris"}`}}}
		}
		return Answer{Text: ChatText}
	}
}

// check refuses what OpenAI refuses.
func (r *ChatRequest) check() error {
	switch {
	case r.Model == "":
		return fmt.Errorf("you must provide a model parameter")
	case len(r.Messages) == 0:
		return fmt.Errorf("'messages' is too short")
	case !r.Stream && r.StreamOptions != nil:
		return fmt.Errorf("'stream_options' is only allowed when 'stream' is true")
	case len(r.Tools) == 0 && (len(r.ToolChoice) > 0 || r.ParallelToolCalls != nil):
		return fmt.Errorf("'tool_choice' is only allowed when 'tools' are specified")
	}
	open := map[string]bool{}
	for i, m := range r.Messages {
		if !slices.Contains([]string{"system", "developer", "user", "assistant", "tool"}, m.Role) {
			return fmt.Errorf("messages[%d]: invalid role %q", i, m.Role)
		}
		if m.Role == "tool" {
			if !open[m.ToolCallID] {
				return fmt.Errorf("messages[%d]: a tool message must follow its tool_calls", i)
			}
			delete(open, m.ToolCallID)
			continue
		}
		if len(open) > 0 {
			return fmt.Errorf("messages[%d]: tool_calls must be followed by tool messages", i)
		}
		for _, t := range m.ToolCalls {
			if t.Type != "function" || !json.Valid([]byte(t.Function.Arguments)) {
				return fmt.Errorf("messages[%d]: invalid tool call", i)
			}
			open[t.ID] = true
		}
		if len(m.ToolCalls) == 0 && (len(m.Content) == 0 || string(m.Content) == "null") {
			return fmt.Errorf("messages[%d]: expected a string, got null", i)
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("tool_calls must be followed by tool messages")
	}
	for i, t := range r.Tools {
		if t.Type != "function" || t.Function.Name == "" || !json.Valid(t.Function.Parameters) {
			return fmt.Errorf("tools[%d]: invalid", i)
		}
	}
	return nil
}

// answer streams an answer and its usage.
func (r *ChatRequest) answer(c *sandbox.Call, o ChatOptions) {
	a := o.Answer(r)
	c.W.Header().Set("X-Request-Id", metrics.NewID("req_"))
	id := metrics.NewID("chatcmpl-")
	out := c.Stream("text/event-stream")
	prompt := r.tokens()
	var completion int64
	bill := func(book func(metrics.Event)) {
		e := &metrics.LLM{PromptTokens: prompt, PromptCachedTokens: prompt / 4, CompletionTokens: completion, TotalTokens: prompt + completion}
		e.Metadata = metrics.Metadata{ModelName: r.Model, ModelProvider: o.Provider}
		book(e)
	}
	defer func() { bill(c.Ledger.Bill) }()
	choice := func(delta map[string]any, finish any) bool {
		return out.Event("", map[string]any{"id": id, "object": "chat.completion.chunk", "model": r.Model,
			"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}}, "usage": nil})
	}
	if !choice(map[string]any{"role": "assistant", "content": ""}, nil) {
		return
	}
	for _, w := range strings.SplitAfter(a.Text, " ") {
		if w == "" {
			continue
		}
		completion += count(w)
		if !c.Think(c.Fault) || !choice(map[string]any{"content": w}, nil) {
			return
		}
	}
	for i, t := range a.Calls {
		completion += 3 + count(t.Name, t.Arguments)
		head := map[string]any{"index": i, "id": t.CallID, "type": "function", "function": map[string]any{"name": t.Name, "arguments": ""}}
		if !choice(map[string]any{"tool_calls": []any{head}}, nil) {
			return
		}
		half := len(t.Arguments) / 2
		for _, part := range []string{t.Arguments[:half], t.Arguments[half:]} {
			if !choice(map[string]any{"tool_calls": []any{map[string]any{"index": i, "function": map[string]any{"arguments": part}}}}, nil) {
				return
			}
		}
	}
	finish := "stop"
	if len(a.Calls) > 0 {
		finish = "tool_calls"
	}
	if !choice(map[string]any{}, finish) {
		return
	}
	if r.StreamOptions != nil && r.StreamOptions.IncludeUsage && c.Fault != fault.UsageMissing {
		usage := map[string]any{"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
			"prompt_tokens_details": map[string]any{"cached_tokens": prompt / 4}}
		last := map[string]any{"id": id, "object": "chat.completion.chunk", "model": r.Model, "choices": []any{}, "usage": usage}
		if !out.Event("", last) {
			return
		}
		bill(c.Ledger.State)
		if c.Fault == fault.UsageRepeated {
			out.Event("", last)
		}
	}
	out.Event("", "[DONE]")
	if c.Fault == fault.DoubleFinal {
		out.Event("", "[DONE]")
	}
}

// tokens is what the prompt costs.
func (r *ChatRequest) tokens() int64 {
	n := int64(3)
	for _, m := range r.Messages {
		n += 4 + count(m.Text())
		for _, t := range m.ToolCalls {
			n += 3 + count(t.Function.Name, t.Function.Arguments)
		}
	}
	for i, t := range r.Tools {
		if i == 0 {
			n += 12
		}
		n += 7 + count(t.Function.Name, t.Function.Description, string(t.Function.Parameters))
	}
	return n
}

// count is how many tokens texts are.
func count(texts ...string) (n int64) {
	for _, s := range texts {
		n += sandbox.OpenAITokens.Count(s)
	}
	return n
}
