package worker

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
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
)

// run is the life of a job. The order of its end matters: the session closes first, so that all
// figures are final, and an entrypoint that waits for that returns; the status is sent before the room is
// left, since the server takes a job whose agent is gone for failed; the report tells when that was;
// callbacks come last, as they may take their time. Every step has a limit, and none is left out because
// another one failed. docs/report.md has the table of it.
func (j *Job) run() {
	j.log.Info("job started", "identity", j.ident)
	j.begin()
	returned := make(chan struct{})
	go func() { // ends when j.ctx does, or is reported as stuck
		defer close(returned)
		j.runEntrypoint()
	}()
	<-j.ending
	j.log.Info("job ends", "reason", j.reason)

	j.closeSessions()
	j.recordEnd()
	if j.awaitEntrypoint(returned); j.result() == prom.Failed {
		j.recordEnd() // the error may be new
	}
	j.sessionEnd()
	j.runBefore()
	j.finalStatus()
	j.leaveRoom()
	j.deliverReports()
	j.after.run(j.callback)
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

// closeSessions closes all sessions that were started in the room: no other can be, now that the end has
// begun.
func (j *Job) closeSessions() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(j.ctx), sessionGrace)
	defer cancel()
	reason := session.ReasonJobShutdown
	if j.reason == reasonDisconnected {
		reason = session.ReasonParticipantDisconnected
	}
	j.mu.Lock()
	sessions := j.sessions
	j.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range sessions {
		wg.Go(func() {
			if err := s.CloseFor(ctx, reason); err != nil {
				j.log.Error("session did not close in time", "err", err)
			}
		})
	}
	wg.Wait()
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
