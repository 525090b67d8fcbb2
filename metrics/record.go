// Package metrics has the events that models report, and what is made of them: usage per
// provider and model, log lines, and compatibility with older collectors.
package metrics

import (
	"cmp"
	"context"
	"time"
)

// Recorder receives events. Record is called from many goroutines; it must not block, must not
// fail and must not change or keep what it does not own: the event is immutable and may be kept.
type Recorder interface {
	Record(ctx context.Context, e Event)
}

type scope struct {
	rec  Recorder
	tags Tags
}

type scopeKey struct{}

func scopeOf(ctx context.Context) scope {
	s, _ := ctx.Value(scopeKey{}).(scope)
	return s
}

// WithRecorder returns a context whose events go to r and nowhere else.
func WithRecorder(ctx context.Context, r Recorder) context.Context {
	s := scopeOf(ctx)
	s.rec = r
	return context.WithValue(ctx, scopeKey{}, s)
}

// RecorderFrom is where the events of ctx go, nil for nowhere.
func RecorderFrom(ctx context.Context) Recorder { return scopeOf(ctx).rec }

// WithTags returns a context whose events carry the non-empty fields of t besides those that the
// context had.
func WithTags(ctx context.Context, t Tags) context.Context {
	s := scopeOf(ctx)
	s.tags = s.tags.merge(t)
	return context.WithValue(ctx, scopeKey{}, s)
}

// TagsFrom returns the tags of ctx.
func TagsFrom(ctx context.Context) Tags { return scopeOf(ctx).tags }

// merge returns t with the non-empty fields of o.
func (t Tags) merge(o Tags) Tags {
	return Tags{
		SessionID: cmp.Or(o.SessionID, t.SessionID),
		AgentID:   cmp.Or(o.AgentID, t.AgentID),
		TurnID:    cmp.Or(o.TurnID, t.TurnID),
		SpeechID:  cmp.Or(o.SpeechID, t.SpeechID),
		Tool:      cmp.Or(o.Tool, t.Tool),
	}
}

// Record completes e (id, time stamp, tags of ctx) and hands it to the recorder of ctx. Without a
// recorder it does nothing. The event must not be changed afterwards.
func Record(ctx context.Context, e Event) {
	s := scopeOf(ctx)
	if s.rec == nil {
		return
	}
	h := e.Head()
	if h.ID == "" {
		h.ID = newEventID()
	}
	if h.Timestamp.IsZero() {
		h.Timestamp = time.Now()
	}
	h.Tags = s.tags.merge(h.Tags)
	s.rec.Record(ctx, e)
}
