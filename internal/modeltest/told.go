package modeltest

import (
	"fmt"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/realtime/driver"
)

// Told is what the events of a realtime connection say, a line for each. Ids are letters in the order in which they
// came up, so that those which a driver made up can be compared.
func Told(events []driver.Event) (lines []string) {
	names := map[string]string{"": "-"}
	name := func(id string) string {
		if names[id] == "" {
			names[id] = string(rune('a' + len(names) - 1))
		}
		return names[id]
	}
	for _, e := range events {
		line := ""
		switch e := e.(type) {
		case *driver.SpeechStarted:
			line = "speech started"
		case *driver.SpeechStopped:
			line = "speech stopped " + name(e.ItemID)
		case *driver.Interrupted:
			line = "interrupted " + name(e.ResponseID)
		case *driver.Transcript:
			line = fmt.Sprintf("heard %s %q %s final=%v", name(e.ItemID), e.Text, e.Language, e.Final)
		case *driver.ItemAdded:
			line = "added " + e.Item.Head().ID + " after " + e.After
			if m, ok := e.Item.(*chat.Message); ok {
				line += fmt.Sprintf(" %q", m.Text())
			}
		case *driver.Updated:
			line = "updated " + e.ID
		case *driver.ResponseCreated:
			line = "created " + name(e.ResponseID) + " for " + e.RequestID
		case *driver.MessageStarted:
			line = fmt.Sprintf("message %s of %s text=%v", name(e.ItemID), name(e.ResponseID), e.TextOnly)
		case *driver.Text:
			line = fmt.Sprintf("text %s %q", name(e.ItemID), e.Delta)
		case *driver.Audio:
			line = fmt.Sprintf("audio %s %v", name(e.ItemID), e.Frame.Duration())
		case *driver.MessageDone:
			line = "whole " + name(e.ItemID)
		case *driver.ToolCall:
			line = fmt.Sprintf("call of %s: %s %s(%s)", name(e.ResponseID), e.Call.CallID, e.Call.Name, e.Call.Arguments)
		case *driver.ToolCallsCancelled:
			line = fmt.Sprintf("calls cancelled %v", e.CallIDs)
		case *driver.ResponseDone:
			line = fmt.Sprintf("done %s for %s %s", name(e.ResponseID), e.RequestID, e.Status)
		case *driver.GoAway:
			line = fmt.Sprintf("go away in %v", e.In)
		case *driver.Error:
			line = fmt.Sprintf("error of %s: %v", e.RequestID, e.Err)
		default:
			line = fmt.Sprintf("%T", e)
		}
		lines = append(lines, line)
	}
	return lines
}
