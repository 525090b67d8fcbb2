package session

import (
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/opt"
)

// Recording says whether what is said in a session may be kept. Audio never is.
type Recording struct {
	// Transcript says whether the conversation is in the written report: its history, and the words in its
	// events. By default it is, and is uploaded to LiveKit Cloud if the job says so (report.LiveKit).
	// True: it is uploaded whatever the job says. Off or false: it is nowhere but in the process.
	Transcript opt.Value[bool]
	// Redact has LiveKit Cloud redact what is uploaded. It does so in any case where the project wants it.
	Redact bool
}

// Words tells whether the report may be written with what was said.
func (r *Report) Words() bool {
	return r.Options.Recording.Transcript.Default(true)
}

// conversation is the history as it may be written.
func (r *Report) conversation() *chat.Context {
	if r.History == nil || !r.Words() {
		return &chat.Context{}
	}
	return r.History
}

// report is nil where nobody has decided.
func (o Recording) report() map[string]any {
	var transcript any
	if !o.Transcript.IsUnset() {
		transcript = o.Transcript.Default(false)
	}
	return map[string]any{"transcript": transcript, "redaction": o.Redact}
}
