package worker

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/parley-go/parley/metrics/prom"
	"github.com/parley-go/parley/session"
)

// How long the steps of a job's end may take.
const (
	entrypointGrace = 15 * time.Second
	sessionGrace    = 60 * time.Second
	leaveTimeout    = 5 * time.Second
	reportTimeout   = 30 * time.Second
)

// run is the life of a job. The order of its end matters: the session closes first, so that all
// figures are final; the status is sent before the room is left, since the server takes a job whose
// agent is gone for failed; callbacks run when nothing can change any more; then comes the report.
func (j *Job) run() {
	j.log.Info("job started", "identity", j.ident)
	returned := make(chan struct{})
	go func() { // ends when j.ctx does, or is reported as stuck
		defer close(returned)
		j.runEntrypoint()
	}()
	<-j.ending
	j.log.Info("job ends", "reason", j.reason)

	j.closeSession()
	j.endEntries()
	j.awaitEntrypoint(returned)
	j.finalStatus()
	j.leaveRoom()
	j.runCallbacks()
	j.deliverReport()
	j.log.Info("job ended", "reason", j.reason)
}

// awaitEntrypoint gives the entrypoint time to return by itself, then tells it to.
func (j *Job) awaitEntrypoint(returned <-chan struct{}) {
	t := time.NewTimer(entrypointGrace)
	defer t.Stop()
	if j.reason != reasonSessionClosed && j.reason != reasonDisconnected {
		j.cancel() // nothing is left that it could do
	}
	select {
	case <-returned:
		j.cancel()
		return
	case <-t.C:
	}
	j.cancel()
	t.Reset(leaveTimeout)
	select {
	case <-returned:
	case <-t.C:
		j.log.Error("entrypoint does not return although its context has ended")
	}
}

func (j *Job) closeSession() {
	s := j.Session()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(j.ctx), sessionGrace)
	defer cancel()
	reason := session.ReasonJobShutdown
	if j.reason == reasonDisconnected {
		reason = session.ReasonParticipantDisconnected
	}
	if err := s.CloseFor(ctx, reason); err != nil {
		j.log.Error("session did not close in time", "err", err)
	}
}

// result is how the job ended, once it has.
func (j *Job) result() prom.Result {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return prom.Failed
	}
	return prom.Success
}

// finalStatus tells the server how the job ended, once.
func (j *Job) finalStatus() {
	j.mu.Lock()
	sent := j.statusSent
	j.statusSent = true
	err := j.err
	j.mu.Unlock()
	switch {
	case sent:
	case err != nil:
		j.w.sendJobStatus(j.ID(), livekit.JobStatus_JS_FAILED, err.Error())
	default:
		j.w.sendJobStatus(j.ID(), livekit.JobStatus_JS_SUCCESS, "")
	}
}

func (j *Job) leaveRoom() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(j.ctx), leaveTimeout)
	defer cancel()
	if err := j.room.leave(ctx); err != nil {
		j.log.Warn("leaving room failed", "err", err)
	}
}

// runCallbacks runs what was registered, in order, also what is registered meanwhile.
func (j *Job) runCallbacks() {
	for {
		j.mu.Lock()
		if len(j.callbacks) == 0 {
			j.closed = true
			j.mu.Unlock()
			return
		}
		f := j.callbacks[0]
		j.callbacks = j.callbacks[1:]
		j.mu.Unlock()
		j.callback(f, j.reason)
	}
}

func (j *Job) callback(f func(context.Context, string) error, reason string) {
	j.bounded("shutdown callback", j.w.opt.ShutdownTimeout, func(ctx context.Context) error { return f(ctx, reason) })
}

// bounded runs user code with a deadline; one that ignores it is left behind, and the log says so. Its
// context does not come from the job's, which has ended.
func (j *Job) bounded(what string, limit time.Duration, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(j.ctx), limit)
	defer cancel()
	done := make(chan error, 1) // size 1: code that was left behind can still end
	go func() {
		defer func() {
			if p := recover(); p != nil {
				j.log.Error(what+" panicked", "panic", p, "stack", string(debug.Stack()))
				done <- fmt.Errorf("panic: %v", p)
			}
		}()
		done <- f(ctx)
	}()
	select {
	case err := <-done:
		if err != nil {
			j.log.Error(what+" failed", "err", err)
		}
	case <-ctx.Done():
		j.log.Error(what+" takes too long and is left behind", "limit", limit)
	}
}

// deliverReport gives the report to OnReport. One that fails is delivered again after the next start, from the
// ledger.
func (j *Job) deliverReport() {
	j.settleEntries(j.tryReport())
}

// tryReport reports whether no report is missing.
func (j *Job) tryReport() bool {
	s := j.Session()
	if s == nil {
		return true
	}
	rep, err := s.Report()
	if err != nil {
		j.log.Error("no session report", "err", err)
		return true
	}
	rep.Standing.AgentJoinedAt, rep.Standing.AgentLeftAt = j.room.times()
	rep.JobID, rep.RoomID, rep.Room = j.ID(), j.info.GetRoom().GetSid(), j.info.GetRoom().GetName()
	j.w.figures.Ended(rep)
	if j.w.opt.OnReport == nil {
		return true
	}
	if err := j.w.hand(context.WithoutCancel(j.ctx), rep); err != nil {
		j.log.Error("delivering session report failed", "err", err)
		return false
	}
	return true
}
