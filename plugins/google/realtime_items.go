package google

import (
	"github.com/parley-go/parley/llm/chat"
)

// past is what is not known yet of h.
func (c *liveConn) past(h *chat.Context) (turns []*content) {
	calls := map[string]*chat.FunctionCall{}
	for it := range h.All() {
		if call, ok := it.(*chat.FunctionCall); ok {
			calls[call.CallID] = call
		}
		if id := it.Head().ID; !c.known[id] {
			c.known[id] = true
			turns = appendTurn(turns, c.turnOf(it, calls))
		}
	}
	return turns
}

// response is the output of a tool as the provider takes it.
func (c *liveConn) response(out *chat.FunctionCallOutput, silent bool) *functionResponse {
	key := "output"
	if out.IsError {
		key = "error"
	}
	f := &functionResponse{Name: out.Name, Response: map[string]string{key: out.Output}}
	if c.d.tokens != nil {
		return f // Vertex AI goes by names, and knows no scheduling
	}
	f.ID = out.CallID
	if c.d.o.ToolBehavior == "NON_BLOCKING" {
		if f.Scheduling = c.d.o.ToolScheduling; silent || out.NoReply {
			f.Scheduling = "SILENT"
		}
	}
	return f
}

// can reports whether there is a form for it.
func (c *liveConn) can(it chat.Item) bool {
	switch it := it.(type) {
	case *chat.Message:
		return !c.d.fixed && c.turnOf(it, nil) != nil
	case *chat.FunctionCallOutput:
		return !c.d.fixed || c.calls[it.CallID] || !it.NoReply
	}
	return !c.d.fixed
}

// turnOf is an item as a turn of the conversation; nil for none. The provider takes calls that it made itself
// only, and only where it made them: others are told.
func (c *liveConn) turnOf(it chat.Item, calls map[string]*chat.FunctionCall) *content {
	switch it := it.(type) {
	case *chat.Message:
		parts := messageParts(it.Content)
		if len(parts) == 0 {
			return nil
		}
		t := &content{Role: "model", Parts: parts}
		switch it.Role {
		case chat.User:
			t.Role = "user"
		case chat.System, chat.Developer:
			t.Role = c.systemRole()
		}
		return t
	case *chat.FunctionCallOutput:
		what := it.Name
		if call := calls[it.CallID]; call != nil {
			what += " " + call.Arguments
		}
		return userTurn("[" + what + ": " + it.Output + "]")
	}
	return nil
}

func userTurn(text string) *content { return &content{Role: "user", Parts: []*part{{Text: text}}} }

// systemRole is who gives instructions in the midst of a conversation: Vertex AI knows users and models only,
// AI Studio takes nobody for it.
func (c *liveConn) systemRole() string {
	if c.d.tokens != nil {
		return "model"
	}
	return ""
}

// appendTurn joins turns of the same speaker.
func appendTurn(list []*content, t *content) []*content {
	if t == nil {
		return list
	}
	if n := len(list); n > 0 && list[n-1].Role == t.Role && t.Role != "" {
		last := *list[n-1]
		last.Parts = append(last.Parts[:len(last.Parts):len(last.Parts)], t.Parts...)
		return append(list[:n-1:n-1], &last)
	}
	return append(list, t)
}

func clientContent(turns []*content, answer bool) map[string]any {
	return map[string]any{"clientContent": map[string]any{"turns": turns, "turnComplete": answer}}
}
