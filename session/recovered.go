package session

import (
	"errors"

	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
)

// jobDied is the JobReason of a report that was made from a ledger.
const jobDied = "process died"

// Recovered is the report of a session, or of a job without one, that died with its process, as far as its
// ledger knows it: what it spent until less than 250 ms before the end, and its tags, but no conversation,
// options or events. With books it has the cost, by the prices that were valid when the session started.
// EndedAt is when it last recorded something. A session that had ended, and only its report was not
// delivered, has the reason of its end; else that is ReasonProcessDied.
func Recovered(d *ledger.Session, books ...*metrics.PriceBook) *Report {
	rep := &Report{JobID: d.JobID, RoomID: d.RoomID, Room: d.Room, SessionID: d.SessionID, Tags: d.Tags, Recovered: true,
		StartedAt: d.At, EndedAt: d.Last, Timestamp: now(), JobReason: jobDied, History: &chat.Context{}}
	rep.account(d.Collector(), d.At, books)
	if d.SessionID != "" {
		rep.CloseReason = ReasonProcessDied
	}
	if e := d.End; e != nil {
		rep.EndedAt, rep.CloseReason, rep.CloseError = e.At, CloseReason(e.Reason), orNil(e.Error)
		rep.JobReason, rep.JobError = e.JobReason, orNil(e.JobError)
	}
	return rep
}

func orNil(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}
