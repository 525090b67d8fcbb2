package model

import (
	"context"
	"log/slog"
	"net/http"
)

// Job says which job of a worker a call is made for, in LiveKit's ids. Any field may be empty.
type Job struct {
	ID      string // "AJ_…"
	RoomID  string // "RM_…"
	AgentID string // "PA_…": the agent as a participant, once it has joined the room
	// Header is added to every request to LiveKit's own services, and replaces what models were told.
	Header http.Header
	// Logger is where what is done for the job is logged; nil is unknown.
	Logger *slog.Logger
}

type jobKey struct{}

// WithJob returns a context whose calls are made for the job that job tells. It is asked anew for each
// request, since not all is known from the start, must return quickly and may be called concurrently.
func WithJob(ctx context.Context, job func() Job) context.Context {
	return context.WithValue(ctx, jobKey{}, job)
}

// JobOf returns what tells the job of ctx; nil when there is none.
func JobOf(ctx context.Context) func() Job {
	f, _ := ctx.Value(jobKey{}).(func() Job)
	return f
}
