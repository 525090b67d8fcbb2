package session

import (
	"strings"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
)

var defaultToolTexts = agent.ToolTexts{
	Update: "{name} is still running, and tells so far: {message}\nDo not call it again for the same; its result will come by itself.",
	News:   "Tools that run in the background have told something new (call ids: {call_ids}). Tell the user about it, briefly.",
	OldNews: "Tools that run in the background have told something (call ids: {call_ids}), and the conversation went on since. " +
		"Tell the user briefly what he does not know yet. If you have said all of it already, answer with nothing.",
	Duplicate: "This was not done: a call of {name} is still running (call id {call_id}), and one is enough.",
	Confirm: "This was not done: a call of {name} is still running (call id {call_id}). If the user wants one more all the same, " +
		"call again with {argument} set to true.",
}

// toolTexts is what the model of act is told.
func (act *activity) toolTexts() agent.ToolTexts {
	return act.agent.ToolTexts.Over(act.r.opt.ToolTexts).Over(defaultToolTexts)
}

// fill is one of the texts, for a call and with more that it may name.
func (k *toolCall) fill(text string, more ...string) string {
	more = append(more, "{name}", k.item.Name, "{call_id}", k.item.CallID, "{argument}", llm.ConfirmDuplicate)
	return strings.NewReplacer(more...).Replace(text)
}
