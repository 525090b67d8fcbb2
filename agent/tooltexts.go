package agent

import "cmp"

// ToolTexts is what the model is told about tools that run in the background. Fields that are empty have
// a default; those of an agent come before those of its session. In the texts {name} stands for the
// tool and {call_id} for the call that is meant.
type ToolTexts struct {
	// Update goes around a text that a tool gives to RunContext.Update, which is {message}.
	Update string
	// News asks for a reply about the calls {call_ids}, of which nobody knows yet.
	News string
	// OldNews does so when the conversation went on since; the model may have said it all by then.
	OldNews string
	// Duplicate is the output of a call that was not made because of llm.RejectDuplicates.
	Duplicate string
	// Confirm is the output of a call that was not made because of llm.ConfirmDuplicates; {argument} is
	// what the model has to set.
	Confirm string
}

// Over is t, with what it leaves empty taken from o.
func (t ToolTexts) Over(o ToolTexts) ToolTexts {
	return ToolTexts{
		Update: cmp.Or(t.Update, o.Update), News: cmp.Or(t.News, o.News), OldNews: cmp.Or(t.OldNews, o.OldNews),
		Duplicate: cmp.Or(t.Duplicate, o.Duplicate), Confirm: cmp.Or(t.Confirm, o.Confirm),
	}
}
