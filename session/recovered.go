package session

import (
	"errors"

	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
)

// Recovered is the report of a session that died with its process, as far as its ledger knows it: what it
// spent until less than 250 ms before the end, and its tags, but no conversation, options or events. With
// books it has the cost, by the prices that were valid when the session started. EndedAt is when it
// last recorded something. A session that had ended, and only its report was not delivered, has the reason
// of its end; else that is ReasonProcessDied.
func Recovered(d *ledger.Session, books ...*metrics.PriceBook) *Report {
	rep := &Report{JobID: d.JobID, RoomID: d.RoomID, Room: d.Room, SessionID: d.SessionID, Tags: d.Tags, Recovered: true,
		StartedAt: d.At, EndedAt: d.Last, Timestamp: now(), CloseReason: ReasonProcessDied,
		History: &chat.Context{}}
	rep.account(d.Collector(), d.At, books)
	if d.End != nil {
		rep.EndedAt, rep.CloseReason = d.End.At, CloseReason(d.End.Reason)
		if d.End.Error != "" {
			rep.CloseError = errors.New(d.End.Error)
		}
	}
	return rep
}
