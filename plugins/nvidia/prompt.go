package nvidia

import (
	"slices"
	"strings"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/realtime/driver"
)

// prompt is what the model is told before it converses: the instructions, and the newest of what was said, at
// most so many characters of it.
func prompt(s *driver.Setup, most int) string {
	p := strings.TrimSpace(s.Instructions)
	if p == "" {
		p = smallTalk
	}
	var lines []string
	for _, it := range slices.Backward(s.History.Items()) {
		l := line(it)
		if l == "" {
			continue
		}
		if most -= len([]rune(l)); most < 0 {
			break
		}
		lines = append(lines, l)
	}
	if len(lines) == 0 {
		return p
	}
	slices.Reverse(lines)
	return p + " The conversation so far: " + strings.Join(lines, " ")
}

// line is what the model is told of an item; "" for nothing.
func line(it chat.Item) string {
	m, ok := it.(*chat.Message)
	if !ok {
		return ""
	}
	text := strings.Join(strings.Fields(m.Text()), " ")
	switch {
	case text == "":
		return ""
	case m.Role == chat.User:
		return "User: " + text
	case m.Role == chat.Assistant:
		return "You: " + text
	}
	return text
}
