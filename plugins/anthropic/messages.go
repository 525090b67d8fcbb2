package anthropic

import (
	"encoding/json"
	"strings"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
)

// turn is one message of a request.
type turn struct {
	Role    string   `json:"role"`
	Content []*block `json:"content"`
}

// block is a piece of a turn, or of the instructions.
type block struct {
	Type string `json:"type"`
	Text string `json:"text,omitempty"`

	Source *source `json:"source,omitempty"` // of an image

	ID    string          `json:"id,omitempty"` // of tool_use
	Name  string          `json:"name,omitempty"`
	Input json.RawMessage `json:"input,omitempty"`

	ToolUseID string `json:"tool_use_id,omitempty"` // of tool_result
	Content   any    `json:"content,omitempty"`     // string or json.RawMessage
	IsError   bool   `json:"is_error,omitempty"`

	// Of thinking, which has an empty text too, and of redacted_thinking.
	Thinking  *string `json:"thinking,omitempty"`
	Signature string  `json:"signature,omitempty"`
	Data      string  `json:"data,omitempty"`

	Cache *cacheControl `json:"cache_control,omitempty"`
}

type source struct {
	Type      string `json:"type"` // "base64" or "url"
	MediaType string `json:"media_type,omitempty"`
	Data      string `json:"data,omitempty"`
	URL       string `json:"url,omitempty"`
}

type cacheControl struct {
	Type string `json:"type"`
}

// thinkingKey is where a tool call keeps what the model thought before it, which the provider wants back
// when it gets the tool's answer.
const thinkingKey = "anthropic_thinking"

// conversation is the instructions, and the turns as the provider wants them: the user first, then in
// turns. mayContinue says that the model takes a last turn of its own.
func conversation(c *chat.Context, mayContinue bool) (system []*block, list []*turn) {
	instructions, rest := c.Preamble()
	if strings.TrimSpace(instructions) != "" {
		system = []*block{textBlock(instructions)}
	}
	add := func(role string, blocks ...*block) {
		if n := len(list); n > 0 && list[n-1].Role == role {
			list[n-1].Content = append(list[n-1].Content, blocks...)
		} else if len(blocks) > 0 {
			list = append(list, &turn{role, blocks})
		}
	}
	groups, _ := rest.Groups()
	for _, g := range groups {
		role, blocks := "assistant", []*block(nil)
		if g.Message != nil {
			if g.Message.Role == chat.User {
				role = "user"
			}
			blocks = contents(g.Message.Content)
		}
		for i, call := range g.Calls {
			if t := thoughts(call); i == 0 {
				blocks = append(t, blocks...) // they were before the text
			} else {
				blocks = append(blocks, t...)
			}
			blocks = append(blocks, toolUse(call))
		}
		add(role, blocks...)
		for _, out := range g.Outputs {
			add("user", toolResult(out))
		}
	}
	if len(list) == 0 || list[0].Role != "user" {
		list = append([]*turn{{"user", []*block{textBlock("(empty)")}}}, list...)
	}
	if last := list[len(list)-1]; last.Role == "assistant" {
		if !mayContinue {
			add("user", textBlock("."))
		} else if end := last.Content[len(last.Content)-1]; end.Type == "text" {
			end.Text = strings.TrimRight(end.Text, " \t\r\n") // else it is refused
		}
	}
	return system, list
}

func textBlock(text string) *block { return &block{Type: "text", Text: text} }

// contents leaves blank texts out, which the provider refuses.
func contents(parts []chat.Part) (blocks []*block) {
	text := func(t string) {
		if strings.TrimSpace(t) != "" {
			blocks = append(blocks, textBlock(t))
		}
	}
	for _, p := range parts {
		switch p := p.(type) {
		case chat.Text:
			text(string(p))
		case *chat.Audio:
			text(p.Transcript)
		case *chat.Image:
			blocks = append(blocks, &block{Type: "image", Source: imageSource(p)})
		}
	}
	return blocks
}

func imageSource(p *chat.Image) *source {
	mime, data, ok := wire.DataURL(p.URL)
	if !ok {
		return &source{Type: "url", URL: p.URL}
	}
	if p.MIMEType != "" {
		mime = p.MIMEType
	}
	return &source{Type: "base64", MediaType: mime, Data: data}
}

// thoughts come back from JSON as anything, when a conversation was stored.
func thoughts(call *chat.FunctionCall) (blocks []*block) {
	kept, err := json.Marshal(call.Extra[thinkingKey])
	if err != nil || json.Unmarshal(kept, &blocks) != nil {
		return nil
	}
	return blocks
}

func toolUse(call *chat.FunctionCall) *block {
	input := json.RawMessage(call.Arguments)
	var object map[string]json.RawMessage
	if json.Unmarshal(input, &object) != nil || object == nil {
		input = json.RawMessage("{}")
	}
	return &block{Type: "tool_use", ID: callID(call.CallID), Name: call.Name, Input: input}
}

func toolResult(out *chat.FunctionCallOutput) *block {
	b := &block{Type: "tool_result", ToolUseID: callID(out.CallID), IsError: out.IsError}
	if isContent(out.Output) {
		b.Content = json.RawMessage(out.Output)
	} else if out.Output != "" {
		b.Content = out.Output
	}
	return b
}

// isContent reports whether a tool answered with a list of blocks, e.g. with pictures. Other lists are
// text.
func isContent(output string) bool {
	var list []struct {
		Type string `json:"type"`
	}
	if !strings.HasPrefix(strings.TrimSpace(output), "[") || json.Unmarshal([]byte(output), &list) != nil {
		return false
	}
	for _, b := range list {
		switch b.Type {
		case "text", "image", "document", "search_result":
		default:
			return false
		}
	}
	return len(list) > 0
}

// callID makes an id that another provider's model gave one that this provider takes.
func callID(id string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '_'
	}, id)
}

type toolSpec struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	InputSchema json.RawMessage `json:"input_schema"`
	Strict      bool            `json:"strict,omitempty"`
	Cache       *cacheControl   `json:"cache_control,omitempty"`
}

func toolSpecs(specs []driver.ToolSpec, strict bool) (list []*toolSpec) {
	for _, t := range specs {
		list = append(list, &toolSpec{Name: t.Name, Description: t.Description, InputSchema: t.Parameters, Strict: strict})
	}
	return list
}

// choice is nil when the provider is to decide. With "none" the tools are sent all the same: they belong
// to the calls in the conversation, and to the prompt that is cached.
func choice(c driver.ToolChoice, oneAtATime bool) map[string]any {
	kind := map[driver.ToolMode]string{
		driver.ToolNone: "none", driver.ToolRequired: "any", driver.ToolFunction: "tool",
	}[c.Mode]
	switch {
	case kind == "" && !oneAtATime:
		return nil
	case kind == "":
		kind = "auto"
	case kind == "none":
		return map[string]any{"type": kind}
	}
	m := map[string]any{"type": kind}
	if kind == "tool" {
		m["name"] = c.Function
	}
	if oneAtATime {
		m["disable_parallel_tool_use"] = true
	}
	return m
}

// cache marks how far the prompt is worth keeping: the instructions, the tools, and the conversation to
// the last answer and to the user's turn before it. Four marks are the most that the provider takes.
func cache(system []*block, tools []*toolSpec, list []*turn) {
	mark := &cacheControl{"ephemeral"}
	if n := len(system); n > 0 {
		system[n-1].Cache = mark
	}
	if n := len(tools); n > 0 {
		tools[n-1].Cache = mark
	}
	answered := false
	for i := len(list) - 1; i >= 0; i-- {
		last := list[i].Content[len(list[i].Content)-1]
		switch {
		case list[i].Role == "assistant" && !answered:
			answered = true
			last.Cache = mark
		case list[i].Role == "user" && answered:
			last.Cache = mark
			return
		}
	}
}
