package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
)

// Errors of JobRequest.Accept and Reject.
var (
	ErrAnswered      = errors.New("the job request was answered before")
	ErrTooLate       = errors.New("the job request was not answered in time")
	ErrNotAssigned   = errors.New("the server did not assign the accepted job in time")
	ErrStopping      = errors.New("the worker is stopping")
	ErrNotRegistered = errors.New("the connection to the server was lost before the job was assigned")
)

// JobRequest is a job that the server offers. Answer it once, by Accept or Reject.
type JobRequest struct {
	// Job is what the server offers. It must not be changed.
	Job *livekit.Job

	w        *Worker
	c        *conn
	accept   AcceptOptions
	assigned chan *livekit.JobAssignment // size 1: one assignment per request
	lost     chan struct{}               // closed when the connection is lost

	mu       sync.Mutex
	answered bool
	expired  bool
}

// AcceptOptions say as whom the agent joins the room.
type AcceptOptions struct {
	Identity   string // default "agent-" and the job's id; must be unique in the room
	Name       string
	Metadata   string
	Attributes map[string]string // added to lk.agent.name
}

// claim makes sure that there is one answer.
func (r *JobRequest) claim() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.expired:
		return ErrTooLate
	case r.answered:
		return ErrAnswered
	}
	r.answered = true
	return nil
}

func (r *JobRequest) expire() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expired = !r.answered
	return r.expired
}

func (r *JobRequest) answer(a *livekit.AvailabilityResponse) error {
	a.JobId = r.Job.GetId()
	return r.c.send(&livekit.WorkerMessage{Message: &livekit.WorkerMessage_Availability{Availability: a}})
}

// Reject declines the job. With terminate nobody else is asked; without, the server asks other
// workers.
func (r *JobRequest) Reject(terminate bool) error {
	if err := r.claim(); err != nil {
		return err
	}
	r.w.figures.JobDeclined()
	return r.answer(&livekit.AvailabilityResponse{Available: false, Terminate: terminate})
}

// Accept takes the job and returns when it was launched.
func (r *JobRequest) Accept(ctx context.Context, o *AcceptOptions) error {
	if err := r.claim(); err != nil {
		return err
	}
	if o != nil {
		r.accept = *o
	}
	if r.accept.Identity == "" {
		r.accept.Identity = "agent-" + r.Job.GetId()
	}
	attrs := map[string]string{"lk.agent.name": r.w.opt.AgentName}
	for k, v := range r.accept.Attributes {
		attrs[k] = v
	}
	r.w.mu.Lock()
	r.w.pending[r.Job.GetId()] = r
	r.w.mu.Unlock()
	defer func() {
		r.w.mu.Lock()
		delete(r.w.pending, r.Job.GetId())
		r.w.mu.Unlock()
	}()
	err := r.answer(&livekit.AvailabilityResponse{Available: true, ParticipantIdentity: r.accept.Identity,
		ParticipantName: r.accept.Name, ParticipantMetadata: r.accept.Metadata, ParticipantAttributes: attrs})
	if err != nil {
		return err
	}
	t := time.NewTimer(assignmentWait)
	defer t.Stop()
	select {
	case a := <-r.assigned:
		return r.w.launch(a, r)
	case <-r.lost:
		return ErrNotRegistered
	case <-t.C:
		return ErrNotAssigned
	case <-ctx.Done():
		return ctx.Err()
	}
}

// offer decides about a job that the server offers.
func (w *Worker) offer(ctx context.Context, c *conn, job *livekit.Job) {
	r := &JobRequest{Job: job, w: w, c: c, assigned: make(chan *livekit.JobAssignment, 1), lost: make(chan struct{})}
	w.mu.Lock()
	room := w.hasRoom()
	if room {
		w.reserved++
	}
	w.mu.Unlock()
	if !room {
		w.log.Info("job declined, the worker is full or draining", "job_id", job.GetId())
		_ = r.Reject(false)
		return
	}
	defer func() {
		w.mu.Lock()
		w.reserved--
		w.wake()
		w.mu.Unlock()
	}()
	decided := make(chan error, 1) // size 1: the handler never waits for us
	go func() { decided <- w.decide(ctx, r) }()
	t := time.NewTimer(answerWait)
	defer t.Stop()
	var err error
	select {
	case err = <-decided:
	case <-t.C:
		if r.expire() {
			w.log.Warn("job declined, OnRequest did not answer in time", "job_id", job.GetId())
			w.figures.JobDeclined()
			_ = r.answer(&livekit.AvailabilityResponse{})
			return
		}
		err = <-decided
	}
	if err != nil {
		w.log.Warn("job not taken", "job_id", job.GetId(), "err", err)
	}
	if r.expire() {
		w.figures.JobDeclined()
		_ = r.answer(&livekit.AvailabilityResponse{})
	}
}

func (w *Worker) decide(ctx context.Context, r *JobRequest) (err error) {
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("OnRequest panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic in OnRequest: %v", p)
		}
	}()
	if w.opt.OnRequest == nil {
		return r.Accept(ctx, nil)
	}
	return w.opt.OnRequest(ctx, r)
}
