package llm

import (
	"context"
	"encoding/xml"
	"fmt"
	"strings"
	"time"

	"github.com/parley-go/parley/llm/chat"
)

const summaryInstructions = `Sum up the conversation that follows, for an assistant who has to go on with it.
Keep what the user wants, what was agreed, names, numbers and other facts, what tools found out, and what is still open.
Leave out greetings and small talk. Answer with the summary alone, in the language of the conversation.`

// summaryMark is in Extra of a message that is a summary.
const summaryMark = "is_summary"

// Summarize returns a copy of c in which all but the last turns (two messages each, of user and
// assistant) is one message of the assistant with a summary by m, in front of the rest. Instructions,
// handoffs and changes of configuration stay; an earlier summary goes into the new one. If there is
// nothing to sum up, or m has nothing to say, the copy is like c. turns of zero or less sums up
// everything. With an error of m or ctx comes a copy like c, too. Give the result to agent.Session.UpdateChatContext; what
// was said while m was thinking is not in it.
func Summarize(ctx context.Context, m *Model, c *chat.Context, turns int) (*chat.Context, error) {
	out := c.Copy(nil)
	items := out.Items()
	start := tailStart(items, turns)
	gone, text := condense(items, start)
	if text == "" {
		return out, nil
	}
	said, err := sumUp(ctx, m, text)
	if err != nil || said == "" {
		return out, err
	}
	s := chat.NewMessage(chat.Assistant, "<chat_history_summary>\n"+said+"\n</chat_history_summary>")
	s.Extra = map[string]any{summaryMark: true}
	if start < len(items) {
		s.CreatedAt = items[start].Head().CreatedAt.Add(-time.Microsecond)
	}
	for _, it := range gone {
		if start == len(items) {
			s.CreatedAt = it.Head().CreatedAt.Add(time.Microsecond) // behind the last one
		}
		if err := out.Remove(it.Head().ID); err != nil {
			return nil, fmt.Errorf("summing up a conversation: %w", err)
		}
	}
	out.Insert(s)
	return out, nil
}

// condense is the items whose place a summary takes, and what they say; nothing if nobody said anything.
// The tail begins at start, but an output in it goes with its call.
func condense(items []chat.Item, start int) (gone []chat.Item, text string) {
	var b strings.Builder
	calls, worth := map[string]bool{}, false
	for i, it := range items {
		if o, ok := it.(*chat.FunctionCallOutput); i >= start && (!ok || !calls[o.CallID]) || !summable(it) {
			continue
		}
		if f, ok := it.(*chat.FunctionCall); ok {
			calls[f.CallID] = true
		}
		gone = append(gone, it)
		worth = worth || talk(it)
		writeElement(&b, it)
	}
	if !worth {
		return nil, ""
	}
	return gone, b.String()
}

// sumUp asks m for a summary of text.
func sumUp(ctx context.Context, m *Model, text string) (string, error) {
	q := &chat.Context{}
	q.Add(chat.NewMessage(chat.System, summaryInstructions), chat.NewMessage(chat.User, text))
	var b strings.Builder
	for chunk, err := range m.Chat(ctx, &Request{Messages: q}).All() {
		if err != nil {
			return "", fmt.Errorf("summing up a conversation: %w", err)
		}
		b.WriteString(chunk.Text)
	}
	return strings.TrimSpace(b.String()), nil
}

// tailStart is where the last turns begin; 0 if there are no more than those.
func tailStart(items []chat.Item, turns int) int {
	left := 2 * max(turns, 0)
	i := len(items)
	for ; i > 0 && left > 0; i-- {
		if talk(items[i-1]) {
			left--
		}
	}
	return i
}

// talk reports whether it is something that one side has said to the other.
func talk(it chat.Item) bool {
	m, ok := it.(*chat.Message)
	return ok && (m.Role == chat.User || m.Role == chat.Assistant) && !isSummary(m) && strings.TrimSpace(m.Text()) != ""
}

func isSummary(m *chat.Message) bool {
	is, _ := m.Extra[summaryMark].(bool)
	return is
}

// summable reports whether a summary takes the place of it.
func summable(it chat.Item) bool {
	switch it := it.(type) {
	case *chat.Message:
		return it.Role == chat.User || it.Role == chat.Assistant
	case *chat.FunctionCall, *chat.FunctionCallOutput:
		return true
	}
	return false
}

func writeElement(b *strings.Builder, it chat.Item) {
	name, text, tool := it.Type(), "", ""
	switch it := it.(type) {
	case *chat.Message:
		name, text = string(it.Role), strings.TrimSpace(it.Text())
		if text == "" {
			return
		}
		if isSummary(it) {
			name = "earlier_summary"
		}
	case *chat.FunctionCall:
		tool, text = it.Name, it.Arguments
	case *chat.FunctionCallOutput:
		tool, text = it.Name, it.Output
	}
	b.WriteString("<" + name)
	if tool != "" {
		b.WriteString(` name="`)
		_ = xml.EscapeText(b, []byte(tool)) // a Builder does not fail
		b.WriteString(`"`)
	}
	b.WriteString(">")
	_ = xml.EscapeText(b, []byte(text))
	b.WriteString("</" + name + ">\n")
}
