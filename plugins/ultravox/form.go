package ultravox

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
)

// about tells the model what instruction makes.
const about = "Text in <instruction> tags is from the application, not from the user: follow it, and do not mention it."

func prompt(instructions string) string { return strings.TrimSpace(instructions + "\n\n" + about) }

// instruction is what the application says, where the provider knows words of the user only.
func instruction(text string) string { return "<instruction>" + text + "</instruction>" }

// written is a message that is not the assistant's as a text of the user; "" if it has none.
func written(m *chat.Message) string {
	text := strings.TrimSpace(m.Text())
	if text != "" && m.Role != chat.User {
		return instruction(text)
	}
	return text
}

// message is a message of the past.
type message struct {
	Role       string `json:"role"`
	Text       string `json:"text"`
	Invocation string `json:"invocationId,omitempty"`
	Tool       string `json:"toolName,omitempty"`
}

// history is what was said before. Calls without an output are left out, and outputs without a call.
func history(c *chat.Context) (list []message) {
	answered, called := map[string]bool{}, map[string]string{}
	for it := range c.All() {
		if o, ok := it.(*chat.FunctionCallOutput); ok {
			answered[o.CallID] = true
		}
	}
	for it := range c.All() {
		switch it := it.(type) {
		case *chat.Message:
			if text := strings.TrimSpace(it.Text()); text != "" && it.Role == chat.Assistant {
				list = append(list, message{Role: "MESSAGE_ROLE_AGENT", Text: text})
			} else if text := written(it); text != "" {
				list = append(list, message{Role: "MESSAGE_ROLE_USER", Text: text})
			}
		case *chat.FunctionCall:
			if answered[it.CallID] {
				called[it.CallID] = it.Name
				list = append(list, message{"MESSAGE_ROLE_TOOL_CALL", it.Arguments, it.CallID, it.Name})
			}
		case *chat.FunctionCallOutput:
			if name, ok := called[it.CallID]; ok {
				list = append(list, message{"MESSAGE_ROLE_TOOL_RESULT", it.Output, it.CallID, name})
			}
		}
	}
	return list
}

// parameter is a parameter of a tool.
type parameter struct {
	Name     string         `json:"name"`
	Location string         `json:"location"`
	Schema   map[string]any `json:"schema"`
	Required bool           `json:"required"`
}

// tools are the tools that may be called, which we carry out.
func (d *converser) tools(specs []llm.ToolSpec, choice llm.ToolChoice) (list []any) {
	for _, t := range specs {
		if choice.Mode == llm.ToolNone || choice.Mode == llm.ToolFunction && choice.Function != t.Name {
			continue
		}
		list = append(list, map[string]any{"temporaryTool": map[string]any{
			"modelToolName": t.Name, "description": t.Description, "dynamicParameters": parameters(t.Parameters),
			"timeout": seconds(d.o.ToolTimeout), "client": map[string]any{},
		}})
	}
	return list
}

// parameters are those of a JSON schema, in the order of their names. Each has a schema of its own, so what
// that refers to goes along.
func parameters(schema json.RawMessage) []parameter {
	var s struct {
		Properties map[string]map[string]any `json:"properties"`
		Required   []string                  `json:"required"`
		Defs       map[string]any            `json:"$defs"`
	}
	_ = json.Unmarshal(schema, &s) // a tool without a schema has no parameters
	list := []parameter{}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		if raw, err := json.Marshal(p); err == nil && len(s.Defs) > 0 && strings.Contains(string(raw), `"#/$defs/`) {
			p["$defs"] = s.Defs
		}
		list = append(list, parameter{name, "PARAMETER_LOCATION_BODY", p, slices.Contains(s.Required, name)})
	}
	return list
}
