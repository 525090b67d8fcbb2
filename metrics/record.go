// Package metrics has the events that models report, and what is made of them: usage per
// provider and model, log lines, and compatibility with older collectors.
package metrics

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"
)

// Recorder receives events. Record is called from many goroutines; it must not block, must not
// fail and must not change or keep what it does not own: the event is immutable and may be kept.
type Recorder interface {
	Record(ctx context.Context, e Event)
}

// Expecter is implemented by recorders that wait for what is still to come.
type Expecter interface {
	// Expect is told of work whose event may come after its caller has left. done is called once: after
	// the event was recorded, or when there will be none. Both may be called from any goroutine, and
	// under locks.
	Expect() (done func())
}

// Expect tells the recorder of ctx of work whose event may come after its caller has left, such as a
// request that was cut and still waits for its usage. Call done when the event was recorded, or there
// will be none; it must come, within seconds of the end of ctx.
func Expect(ctx context.Context) (done func()) {
	if x, ok := scopeOf(ctx).rec.(Expecter); ok {
		return x.Expect()
	}
	return func() {}
}

// scope is what a context knows. It is never changed.
type scope struct {
	rec  Recorder
	tags Tags
	live *LiveTags // nil for none
}

type scopeKey struct{}

var noScope scope

func scopeOf(ctx context.Context) *scope {
	if s, ok := ctx.Value(scopeKey{}).(*scope); ok {
		return s
	}
	return &noScope
}

// WithRecorder returns a context whose events go to r and nowhere else.
func WithRecorder(ctx context.Context, r Recorder) context.Context {
	s := *scopeOf(ctx)
	s.rec = r
	return context.WithValue(ctx, scopeKey{}, &s)
}

// RecorderFrom is where the events of ctx go, nil for nowhere.
func RecorderFrom(ctx context.Context) Recorder { return scopeOf(ctx).rec }

// WithTags returns a context whose events carry the non-empty fields of t besides those that the
// context had.
func WithTags(ctx context.Context, t Tags) context.Context {
	s := *scopeOf(ctx)
	s.tags = s.tags.merge(t)
	return context.WithValue(ctx, scopeKey{}, &s)
}

// WithoutTags returns a context that has none.
func WithoutTags(ctx context.Context) context.Context {
	return context.WithValue(ctx, scopeKey{}, &scope{rec: scopeOf(ctx).rec})
}

// LiveTags are tags that change: of work that goes on while it becomes somebody else's. The zero value is
// empty. It may be used from any goroutine.
type LiveTags struct{ now atomic.Pointer[Tags] }

// Set makes t the tags of all that happens from now on.
func (l *LiveTags) Set(t Tags) { l.now.Store(&t) }

// WithLiveTags returns a context whose events carry, as WithTags has it, what l has when they are
// recorded. Fields that WithTags sets, before or later, win.
func WithLiveTags(ctx context.Context, l *LiveTags) context.Context {
	s := *scopeOf(ctx)
	s.live = l
	return context.WithValue(ctx, scopeKey{}, &s)
}

// TagsFrom returns the tags of ctx.
func TagsFrom(ctx context.Context) Tags { return scopeOf(ctx).current() }

func (s *scope) current() Tags {
	if s.live != nil {
		if t := s.live.now.Load(); t != nil {
			return t.merge(s.tags)
		}
	}
	return s.tags
}

// merge returns t with the non-empty fields of o.
func (t *Tags) merge(o Tags) Tags {
	return Tags{
		SessionID: cmp.Or(o.SessionID, t.SessionID),
		AgentID:   cmp.Or(o.AgentID, t.AgentID),
		Task:      cmp.Or(o.Task, t.Task),
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
	if s.live == nil && h.Tags == (Tags{}) {
		h.Tags = s.tags
	} else {
		t := s.current()
		h.Tags = t.merge(h.Tags)
	}
	s.rec.Record(ctx, e)
}
