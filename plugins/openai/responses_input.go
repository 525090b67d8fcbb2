package openai

import (
	"encoding/json"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
)

// inputItem is one item of a conversation as Responses want it. Fields that are nil must not be sent.
type inputItem struct {
	Type      string      `json:"type"`
	Role      string      `json:"role,omitempty"`
	Content   []inputPart `json:"content,omitempty"`
	CallID    string      `json:"call_id,omitempty"`
	Name      string      `json:"name,omitempty"`
	Arguments *string     `json:"arguments,omitempty"`
	Output    *string     `json:"output,omitempty"`
}

type inputPart struct {
	Type     string `json:"type"`
	Text     string `json:"text,omitempty"`
	ImageURL string `json:"image_url,omitempty"`
	Detail   string `json:"detail,omitempty"`
}

// input is the conversation as the service wants it.
func (e *endpoint) input(c *chat.Context) []inputItem {
	list := []inputItem{}
	groups, _ := c.Groups()
	for _, g := range groups {
		if m := g.Message; m != nil {
			if parts := inputParts(m); len(parts) > 0 {
				list = append(list, inputItem{Type: "message", Role: e.role(m.Role), Content: parts})
			}
		}
		for _, call := range g.Calls {
			list = append(list, callItem(call.CallID, call.Name, call.Arguments))
		}
		for _, out := range g.Outputs {
			list = append(list, inputItem{Type: "function_call_output", CallID: out.CallID, Output: &out.Output})
		}
	}
	return list
}

func inputParts(m *chat.Message) (parts []inputPart) {
	kind := "input_text"
	if m.Role == chat.Assistant {
		kind = "output_text"
	}
	add := func(text string) {
		if text != "" {
			parts = append(parts, inputPart{Type: kind, Text: text})
		}
	}
	for _, p := range m.Content {
		switch p := p.(type) {
		case chat.Text:
			add(string(p))
		case *chat.Audio:
			add(p.Transcript)
		case *chat.Image:
			if m.Role != chat.Assistant {
				parts = append(parts, inputPart{Type: "input_image", ImageURL: p.URL, Detail: p.Detail})
			}
		}
	}
	return parts
}

func callItem(id, name, arguments string) inputItem {
	return inputItem{Type: "function_call", CallID: id, Name: name, Arguments: &arguments}
}

func assistantItem(text string) inputItem {
	return inputItem{Type: "message", Role: string(chat.Assistant), Content: []inputPart{{Type: "output_text", Text: text}}}
}

// responsesTool is a function of ours.
type responsesTool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      bool            `json:"strict"` // said, since the service would make our schemas strict otherwise
}

func (c *responsesLLM) tools(specs []driver.ToolSpec) (list []any) {
	for _, t := range specs {
		list = append(list, responsesTool{"function", t.Name, t.Description, t.Parameters, false})
	}
	for _, t := range c.o.ProviderTools {
		list = append(list, t)
	}
	return list
}

// responsesChoice is nil when the provider is to decide.
func responsesChoice(c driver.ToolChoice) any {
	switch c.Mode {
	case driver.ToolFunction:
		return map[string]any{"type": "function", "name": c.Function}
	case driver.ToolNone, driver.ToolRequired:
		return string(c.Mode)
	}
	return nil
}
