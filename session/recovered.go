package session

import (
	"errors"

	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/llm/chat"
)

// Recovered is the report of a session that died with its process, as far as its ledger knows it: what it
// spent until less than 250 ms before the end, but no conversation, options or events. EndedAt is when it
// last recorded something. A session that had ended, and only its report was not delivered, has the reason
// of its end; else that is ReasonProcessDied.
func Recovered(d *ledger.Session) *Report {
	rep := &Report{JobID: d.JobID, RoomID: d.RoomID, Room: d.Room, SessionID: d.SessionID, Recovered: true,
		StartedAt: d.At, EndedAt: d.Last, Timestamp: now(), CloseReason: ReasonProcessDied,
		History: &chat.Context{}, Usage: d.Usage()}
	if d.End != nil {
		rep.EndedAt, rep.CloseReason = d.End.At, CloseReason(d.End.Reason)
		if d.End.Error != "" {
			rep.CloseError = errors.New(d.End.Error)
		}
	}
	return rep
}
