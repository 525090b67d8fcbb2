package openai

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
)

// chatMessage is one message of chat completions.
type chatMessage struct {
	Role       string         `json:"role"`
	Content    any            `json:"content,omitempty"` // string or []chatPart
	ToolCalls  []chatToolCall `json:"tool_calls,omitempty"`
	ToolCallID string         `json:"tool_call_id,omitempty"`
}

type chatPart struct {
	Type     string     `json:"type"`
	Text     string     `json:"text,omitempty"`
	ImageURL *chatImage `json:"image_url,omitempty"`
}

type chatImage struct {
	URL    string `json:"url"`
	Detail string `json:"detail,omitempty"`
}

type chatToolCall struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"`
	Function chatFunction `json:"function"`
	Extra    any          `json:"extra_content,omitempty"` // e.g. Gemini's thought signatures
}

type chatFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// messages is the conversation as the service wants it.
func (e *endpoint) messages(c *chat.Context) []chatMessage {
	list := []chatMessage{}
	groups, _ := c.Groups()
	for _, g := range groups {
		m := chatMessage{Role: string(chat.Assistant)}
		if g.Message != nil {
			m.Role, m.Content = e.role(g.Message.Role), chatContent(g.Message.Content)
		}
		for _, call := range g.Calls {
			m.ToolCalls = append(m.ToolCalls, chatToolCall{
				ID: e.callID(call.CallID), Type: "function", Function: chatFunction{call.Name, call.Arguments}, Extra: call.Extra["extra_content"],
			})
		}
		if m.Content != nil || len(m.ToolCalls) > 0 {
			list = append(list, m)
		}
		for _, out := range g.Outputs {
			list = append(list, chatMessage{Role: "tool", Content: out.Output, ToolCallID: e.callID(out.CallID)})
		}
	}
	return list
}

// role is the service's name of a role.
func (e *endpoint) role(r chat.Role) string {
	if r == chat.Developer && !e.developer {
		r = chat.System
	}
	return string(r)
}

// callID is an id as the service takes it: ids of other providers come with a conversation, and
// Mistral refuses them.
func (e *endpoint) callID(id string) string {
	if !e.shortIDs || len(id) == shortID && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])[:shortID]
}

// shortID is how long Mistral's ids are.
const shortID = 9

// chatContent is a string when there is only text, as not every server takes parts; nil for nothing.
func chatContent(parts []chat.Part) any {
	var texts []string
	var list []chatPart
	pictures := false
	add := func(t string) {
		if t != "" {
			texts = append(texts, t)
			list = append(list, chatPart{Type: "text", Text: t})
		}
	}
	for _, p := range parts {
		switch p := p.(type) {
		case chat.Text:
			add(string(p))
		case *chat.Audio:
			add(p.Transcript)
		case *chat.Image:
			pictures = true
			list = append(list, chatPart{Type: "image_url", ImageURL: &chatImage{p.URL, p.Detail}})
		}
	}
	switch {
	case pictures:
		return list
	case len(texts) > 0:
		return strings.Join(texts, "\n")
	}
	return nil
}

type chatTool struct {
	Type     string       `json:"type"`
	Function chatToolSpec `json:"function"`
}

type chatToolSpec struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
}

func chatTools(specs []driver.ToolSpec) []chatTool {
	var list []chatTool
	for _, t := range specs {
		list = append(list, chatTool{"function", chatToolSpec{t.Name, t.Description, t.Parameters}})
	}
	return list
}

// chatChoice is nil when the provider is to decide.
func chatChoice(c driver.ToolChoice) any {
	switch c.Mode {
	case driver.ToolFunction:
		return map[string]any{"type": "function", "function": map[string]any{"name": c.Function}}
	case driver.ToolNone, driver.ToolRequired:
		return string(c.Mode)
	}
	return nil
}
