package phonic

import (
	"strings"

	"github.com/parley-go/parley/llm/chat"
)

// before begins what was said before a connection, which Phonic takes as a part of the instructions only.
const before = "The conversation with the user is under way. You are the assistant. This was said until now:"

// past is what was said before, a line each; "" for nothing.
func past(c *chat.Context) string {
	calls := map[string]*chat.FunctionCall{}
	var lines []string
	for it := range c.All() {
		switch it := it.(type) {
		case *chat.Message:
			if text := line(it.Text()); text != "" {
				lines = append(lines, string(it.Role)+": "+text)
			}
		case *chat.FunctionCall:
			calls[it.CallID] = it
		case *chat.FunctionCallOutput:
			if f := calls[it.CallID]; f != nil {
				lines = append(lines, "tool: "+f.Name+line(f.Arguments)+" returned "+line(it.Output))
			}
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return before + "\n" + strings.Join(lines, "\n")
}

// line is text on one line.
func line(text string) string { return strings.Join(strings.Fields(text), " ") }
