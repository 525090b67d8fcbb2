// Package anthropicbox is the sandbox of Anthropic's Messages API.
package anthropicbox

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/parley-go/parley/internal/sandbox"
)

// Request is the body of a request. It has the fields that the provider takes, of those that we send.
type Request struct {
	Model       string          `json:"model"`
	MaxTokens   int             `json:"max_tokens"`
	System      []Block         `json:"system"`
	Messages    []Turn          `json:"messages"`
	Tools       []Tool          `json:"tools"`
	ToolChoice  *Choice         `json:"tool_choice"`
	Stream      bool            `json:"stream"`
	Temperature *float64        `json:"temperature"`
	TopP        *float64        `json:"top_p"`
	TopK        *int            `json:"top_k"`
	Metadata    *metadata       `json:"metadata"`
	Thinking    json.RawMessage `json:"thinking"`
}

// Turn is a message.
type Turn struct {
	Role    string  `json:"role"`
	Content []Block `json:"content"`
}

// Block is a piece of a message.
type Block struct {
	Type      string          `json:"type"`
	Text      *string         `json:"text"`
	Source    *Source         `json:"source"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
	Content   json.RawMessage `json:"content"`
	IsError   bool            `json:"is_error"`
	Thinking  *string         `json:"thinking"`
	Signature string          `json:"signature"`
	Data      string          `json:"data"`
	Cache     *Cache          `json:"cache_control"`
}

// Source is where a picture is.
type Source struct {
	Type      string `json:"type"`
	MediaType string `json:"media_type"`
	Data      string `json:"data"`
	URL       string `json:"url"`
}

// Cache marks what is to be cached.
type Cache struct {
	Type string `json:"type"`
}

// Tool is a tool.
type Tool struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	InputSchema json.RawMessage `json:"input_schema"`
	Strict      *bool           `json:"strict"`
	Cache       *Cache          `json:"cache_control"`
}

// Choice is the choice of tools.
type Choice struct {
	Type       string `json:"type"`
	Name       string `json:"name"`
	OneAtATime bool   `json:"disable_parallel_tool_use"`
}

type metadata struct {
	UserID string `json:"user_id"`
}

var (
	toolName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,128}$`)
	toolID   = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	prefills = regexp.MustCompile(`^claude-(2|3|instant|(opus|sonnet|haiku)-4(-[0-5])?(-\d{8})?$)`)
)

// check refuses what the provider refuses.
func (r *Request) check() error {
	switch {
	case r.Model == "":
		return fmt.Errorf("model: field required")
	case r.MaxTokens <= 0:
		return fmt.Errorf("max_tokens: field required")
	case len(r.Messages) == 0:
		return fmt.Errorf("messages: at least one message is required")
	case !r.Stream:
		return fmt.Errorf("this sandbox only streams")
	case r.Messages[0].Role != "user":
		return fmt.Errorf("messages: first message must use the \"user\" role")
	case r.ToolChoice != nil && len(r.Tools) == 0:
		return fmt.Errorf("tool_choice may only be specified while providing tools")
	case r.marks() > 4:
		return fmt.Errorf("a maximum of 4 blocks with cache_control may be provided, found %d", r.marks())
	}
	for i, b := range r.System {
		if b.Type != "text" || blank(b.Text) {
			return fmt.Errorf("system.%d: text content blocks must contain non-whitespace text", i)
		}
	}
	for i, t := range r.Tools {
		var schema struct {
			Type string `json:"type"`
		}
		if !toolName.MatchString(t.Name) || json.Unmarshal(t.InputSchema, &schema) != nil || schema.Type != "object" {
			return fmt.Errorf("tools.%d: invalid", i)
		}
	}
	if err := r.checkChoice(); err != nil {
		return err
	}
	return r.checkTurns()
}

func (r *Request) checkChoice() error {
	c := r.ToolChoice
	if c == nil {
		return nil
	}
	switch c.Type {
	case "auto", "any":
	case "none":
		if c.OneAtATime {
			return fmt.Errorf("tool_choice.none.disable_parallel_tool_use: extra inputs are not permitted")
		}
	case "tool":
		for _, t := range r.Tools {
			if t.Name == c.Name {
				return nil
			}
		}
		return fmt.Errorf("tool_choice: tool %q not found in provided tools", c.Name)
	default:
		return fmt.Errorf("tool_choice: unknown type %q", c.Type)
	}
	return nil
}

// checkTurns refuses calls without answers, answers without calls, and a last turn of the model's where
// the model does not take one.
func (r *Request) checkTurns() error {
	open := map[string]bool{}
	for i, m := range r.Messages {
		if m.Role != "user" && m.Role != "assistant" {
			return fmt.Errorf("messages.%d: unexpected role %q", i, m.Role)
		}
		if i > 0 && m.Role == r.Messages[i-1].Role {
			return fmt.Errorf("messages.%d: roles must alternate", i)
		}
		if len(m.Content) == 0 {
			return fmt.Errorf("messages.%d: content is empty", i)
		}
		answers := true
		for j, b := range m.Content {
			if b.Type != "tool_result" {
				answers = false
			}
			if err := b.check(m.Role, open, answers); err != nil {
				return fmt.Errorf("messages.%d.content.%d: %w", i, j, err)
			}
		}
		if m.Role == "user" && len(open) > 0 {
			return fmt.Errorf("messages.%d: `tool_use` ids were found without `tool_result` blocks immediately after", i)
		}
	}
	last := r.Messages[len(r.Messages)-1]
	if last.Role != "assistant" {
		return nil
	}
	if !prefills.MatchString(r.Model) {
		return fmt.Errorf("this model does not support assistant message prefill")
	}
	if b := last.Content[len(last.Content)-1]; len(open) > 0 || b.Type == "text" && strings.TrimRight(*b.Text, " \n\t") != *b.Text {
		return fmt.Errorf("final assistant content cannot end with trailing whitespace or a call")
	}
	return nil
}

// check checks one block; open are the calls without an answer, and answers that only results came before.
func (b *Block) check(role string, open map[string]bool, answers bool) error {
	switch {
	case b.Type == "text" && !blank(b.Text):
	case b.Type == "image" && role == "user" && b.Source != nil:
		switch s := b.Source; {
		case s.Type == "url" && strings.HasPrefix(s.URL, "https://"):
		case s.Type == "base64" && s.Data != "" && strings.HasPrefix(s.MediaType, "image/"):
		default:
			return fmt.Errorf("source is invalid")
		}
	case b.Type == "tool_use" && role == "assistant":
		var input map[string]any
		if !toolID.MatchString(b.ID) || !toolName.MatchString(b.Name) || json.Unmarshal(b.Input, &input) != nil || input == nil {
			return fmt.Errorf("tool_use is invalid")
		}
		open[b.ID] = true
	case b.Type == "tool_result" && role == "user":
		if !answers {
			return fmt.Errorf("`tool_result` blocks must come first")
		}
		if !open[b.ToolUseID] {
			return fmt.Errorf("unexpected `tool_use_id` found in `tool_result` blocks: %q", b.ToolUseID)
		}
		delete(open, b.ToolUseID)
		var blocks []Block
		var text string
		if len(b.Content) > 0 && json.Unmarshal(b.Content, &text) != nil && json.Unmarshal(b.Content, &blocks) != nil {
			return fmt.Errorf("content is invalid")
		}
	case b.Type == "thinking" && role == "assistant" && b.Thinking != nil && b.Signature != "":
	case b.Type == "redacted_thinking" && role == "assistant" && b.Data != "":
	default:
		return fmt.Errorf("block of type %q is invalid for %s", b.Type, role)
	}
	return nil
}

func blank(s *string) bool { return s == nil || strings.TrimSpace(*s) == "" }

// marks is how many cache_control there are.
func (r *Request) marks() (n int) {
	for _, b := range r.System {
		n += one(b.Cache)
	}
	for _, t := range r.Tools {
		n += one(t.Cache)
	}
	for _, m := range r.Messages {
		for _, b := range m.Content {
			n += one(b.Cache)
		}
	}
	return n
}

func one(c *Cache) int {
	if c == nil {
		return 0
	}
	return 1
}

// toolPrompt is the instructions that come with tools, in tokens.
const toolPrompt = 313

// tokens is what the prompt costs.
func (r *Request) tokens() (n int64) {
	count := sandbox.AnthropicTokens.Count
	for _, b := range r.System {
		n += count(*b.Text)
	}
	for _, m := range r.Messages {
		n += 4
		for _, b := range m.Content {
			if b.Text != nil {
				n += count(*b.Text)
			}
			n += count(b.Name) + count(string(b.Input)) + count(string(b.Content))
		}
	}
	for i, t := range r.Tools {
		if i == 0 {
			n += toolPrompt
		}
		n += 8 + count(t.Name) + count(t.Description) + count(string(t.InputSchema))
	}
	return n
}
