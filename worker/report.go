package worker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/report"
	"github.com/parley-go/parley/session"
)

// recoverAtOnce is how many reports of dead sessions are delivered at once, so that a sink that hangs does
// not keep the others from theirs.
const recoverAtOnce = 8

// openReports opens the ledger of the worker, if it has one, and the sinks of reports. The caller calls
// closeReports.
func (w *Worker) openReports() (err error) {
	var l *ledger.Ledger
	if w.opt.Ledger != "" {
		if l, err = ledger.Open(w.opt.Ledger, ledger.Options{Logger: w.log}); err != nil {
			return err
		}
	}
	c, err := report.Open(w.log, w.opt.Reports...)
	if err != nil {
		if l != nil {
			_ = l.Close()
		}
		return err
	}
	w.mu.Lock() // for those who scrape
	defer w.mu.Unlock()
	w.ledger, w.courier = l, c
	return nil
}

func (w *Worker) ledgerStats() ledger.Stats {
	w.mu.Lock()
	l := w.ledger
	w.mu.Unlock()
	if l == nil {
		return ledger.Stats{}
	}
	return l.Stats()
}

func (w *Worker) reportStats() []report.Stats {
	w.mu.Lock()
	c := w.courier
	w.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.Stats()
}

func (w *Worker) closeReports() {
	if err := w.courier.Close(); err != nil {
		w.log.Error("closing report sinks failed", "err", err)
	}
	if w.ledger == nil {
		return
	}
	if err := w.ledger.Close(); err != nil {
		w.log.Error("usage may be missing in the ledger", "err", err)
	}
}

// deliver brings a report to the sinks that do not have it. That all have it is recorded.
func (w *Worker) deliver(ctx context.Context, rep *session.Report, have []string) error {
	id := report.ID(rep)
	var took func(string)
	if w.ledger != nil && len(w.opt.Reports) > 1 {
		took = func(sink string) { w.ledger.Delivered(id, sink) }
	}
	err := w.courier.Deliver(ctx, rep, have, took)
	if err == nil && w.ledger != nil {
		w.ledger.Settle(id)
	}
	return err
}

// reportDead delivers the reports of what died with its process. What ctx leaves is delivered after the
// next start.
func (w *Worker) reportDead(ctx context.Context) {
	if w.ledger == nil {
		return
	}
	slots := make(chan struct{}, recoverAtOnce) // size: those that run
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, d := range w.ledger.Recover() {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		wg.Go(func() {
			defer func() { <-slots }()
			log := w.log.With("session_id", d.SessionID, "job_id", d.JobID, "room", d.Room)
			log.Warn("a session died with its process; its report is made from the ledger", "last_seen", d.Last)
			if err := w.deliver(ctx, session.Recovered(d, w.opt.PriceBooks...), d.Delivered); err != nil {
				log.Error("the report of a dead session was not delivered, the next start tries again", "err", err)
			}
		})
	}
}

// begin records that the job began: should the process die before it has a session, it has a report all
// the same.
func (j *Job) begin() {
	if l := j.w.ledger; l != nil {
		l.Begin(j.start(""))
	}
}

func (j *Job) start(sessionID string) ledger.Start {
	r := j.info.GetRoom()
	return ledger.Start{SessionID: sessionID, JobID: j.ID(), RoomID: r.GetSid(), Room: r.GetName(), AgentName: j.w.opt.AgentName}
}

// record has the ledger, if there is one, record s from now on.
func (j *Job) record(s *session.Session, ends *session.IO) {
	if l := j.w.ledger; l != nil {
		start := j.start(s.ID())
		start.Tags = s.Tags()
		l.Begin(start)
		ends.Recorder = l
	}
}

// recordEnd records how the job and its sessions ended.
func (j *Job) recordEnd() {
	l := j.w.ledger
	if l == nil {
		return
	}
	for _, r := range j.reports() {
		end := ledger.End{At: r.EndedAt, Reason: string(r.CloseReason), JobReason: r.JobReason}
		if r.CloseError != nil {
			end.Error = r.CloseError.Error()
		}
		if r.JobError != nil {
			end.JobError = r.JobError.Error()
		}
		l.End(report.ID(r), end)
	}
}

// reports are those of the sessions of the job, that of its first one last, or that of the job alone.
func (j *Job) reports() (all []*session.Report) {
	j.mu.Lock()
	sessions, jobErr := slices.Clone(j.sessions), j.err
	j.mu.Unlock()
	for _, s := range slices.Backward(sessions) {
		r, err := s.Report()
		if err != nil { // it was started, or it would not be here
			j.log.Error("no session report", "err", err)
			continue
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		now := time.Now()
		all = append(all, &session.Report{StartedAt: j.began, EndedAt: now, Timestamp: now, History: &chat.Context{}})
	}
	for _, r := range all {
		r.JobID, r.RoomID, r.Room = j.ID(), j.info.GetRoom().GetSid(), j.info.GetRoom().GetName()
		r.JobReason, r.JobError = j.reason, jobErr
		r.JobRecording, r.JobRedaction = j.info.GetEnableRecording(), j.info.GetEnableRedaction()
		r.Standing.AgentJoinedAt, r.Standing.AgentLeftAt = j.room.times()
	}
	return all
}

// deliverReports delivers the reports of the job. One that fails is delivered again after the next start,
// from the ledger.
func (j *Job) deliverReports() {
	for _, r := range j.reports() {
		if r.SessionID != "" {
			j.w.figures.Ended(r)
		}
		if err := j.w.deliver(context.WithoutCancel(j.ctx), r, nil); err != nil {
			j.log.Error("delivering session report failed", "session_id", r.SessionID, "err", err)
		}
	}
}

// refuse fails a job that was assigned and is not run. It has a report all the same.
func (w *Worker) refuse(info *livekit.Job, why error) {
	j := w.newJob(info, &livekit.JobAssignment{}, "")
	j.cancel()
	j.end(reasonRefused, why)
	w.sendJobStatus(j.ID(), livekit.JobStatus_JS_FAILED, why.Error())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over { // Run has returned, or is about to
		return
	}
	w.works++
	go func() { // Run waits for it
		defer w.worked()
		j.deliverReports()
	}()
}

// worked tells Run that it has one less to wait for.
func (w *Worker) worked() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.works--
	w.wake()
}

// awaitWork waits until nothing is left to do.
func (w *Worker) awaitWork() {
	_ = w.await(context.Background(), func() bool { // all that is waited for has an end
		w.over = w.works == 0
		return w.over
	})
}

var errNotAwaited = errors.New("assignment timed out")
