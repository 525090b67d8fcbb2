package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/session"
)

// openLedger opens the ledger of the worker, if it has one.
func (w *Worker) openLedger() (err error) {
	if w.opt.Ledger != "" {
		w.ledger, err = ledger.Open(w.opt.Ledger, ledger.Options{Logger: w.log})
	}
	return err
}

func (w *Worker) closeLedger() {
	if w.ledger == nil {
		return
	}
	if err := w.ledger.Close(); err != nil {
		w.log.Error("usage may be missing in the ledger", "err", err)
	}
}

// reportDead delivers the reports of sessions that died with their process, one after another. What ctx
// leaves is delivered after the next start.
func (w *Worker) reportDead(ctx context.Context) {
	if w.ledger == nil {
		return
	}
	for _, d := range w.ledger.Recover() {
		if ctx.Err() != nil {
			return
		}
		log := w.log.With("session_id", d.SessionID, "job_id", d.JobID, "room", d.Room)
		log.Warn("a session died with its process; its report is made from the ledger", "last_seen", d.Last)
		if err := w.hand(ctx, session.Recovered(d, w.opt.PriceBooks...)); err != nil {
			log.Error("the report of a dead session was not delivered, the next start tries again", "err", err)
			continue
		}
		w.ledger.Settle(d.SessionID)
	}
}

// hand gives a report to OnReport; a panic there is an error.
func (w *Worker) hand(ctx context.Context, rep *session.Report) error {
	if w.opt.OnReport == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	done := make(chan error, 1) // size 1: code that was left behind can still end
	go func() {
		defer func() {
			if p := recover(); p != nil {
				w.log.Error("delivering session report panicked", "panic", p, "stack", string(debug.Stack()))
				done <- fmt.Errorf("panic: %v", p)
			}
		}()
		done <- w.opt.OnReport(ctx, rep)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.New("it takes too long and is left behind")
	}
}

// enter has the ledger, if there is one, record s from now on.
func (j *Job) enter(s *session.Session, ends *session.IO) {
	l := j.w.ledger
	if l == nil {
		return
	}
	l.Begin(ledger.Start{SessionID: s.ID(), JobID: j.ID(), RoomID: j.info.GetRoom().GetSid(), Room: j.info.GetRoom().GetName(),
		AgentName: j.w.opt.AgentName, Tags: s.Tags()})
	ends.Recorder = l
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entered = append(j.entered, s)
}

// endEntries records how the sessions of the job ended.
func (j *Job) endEntries() {
	for _, s := range j.entries() {
		end := ledger.End{Reason: j.reason}
		if rep, err := s.Report(); err == nil {
			end.At, end.Reason = rep.EndedAt, string(rep.CloseReason)
			if rep.CloseError != nil {
				end.Error = rep.CloseError.Error()
			}
		}
		j.w.ledger.End(s.ID(), end)
	}
}

// settleEntries records that no report is missing any more. The one of the job's own session is, when it
// could not be delivered.
func (j *Job) settleEntries(delivered bool) {
	for _, s := range j.entries() {
		if delivered || s != j.Session() {
			j.w.ledger.Settle(s.ID())
		}
	}
}

func (j *Job) entries() []*session.Session {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.entered
}
