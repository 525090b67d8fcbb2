package model

import (
	"context"
	"log/slog"
	"time"
)

// ErrorEvent tells the owner of a call that an attempt failed.
type ErrorEvent struct {
	Kind        string // "llm", "stt", "tts", "vad", "realtime"
	Info        Info
	Err         error
	Recoverable bool // true when the call is tried again or goes on
	Attempt     int  // 0 for the first
	Time        time.Time
}

// AvailabilityEvent tells that a model behind a fallback is from now on passed over, because it failed,
// or asked again, because it works.
type AvailabilityEvent struct {
	Kind      string // as in ErrorEvent
	Info      Info
	Available bool
	Time      time.Time
}

// Hooks travel in a context with a call, so that what happens inside it reaches the session that
// made the call and no other. Every field may be nil. Hooks are called from the goroutine that
// runs the call, must return quickly and may be called concurrently.
type Hooks struct {
	// OnError is told about every failed attempt.
	OnError func(ctx context.Context, e ErrorEvent)
	// OnAvailability is told when a call finds out that a model behind a fallback fails, or works again.
	OnAvailability func(ctx context.Context, e AvailabilityEvent)
	// StartSpan opens a tracing span.
	StartSpan SpanStarter
}

// SpanStarter opens a tracing span of that name, which is in the context that it returns; end is called
// exactly once.
type SpanStarter = func(ctx context.Context, name string, attrs ...slog.Attr) (_ context.Context, end func(err error, attrs ...slog.Attr))

// JoinSpans returns what opens a span with each of starters; nil without any.
func JoinSpans(starters ...SpanStarter) SpanStarter {
	switch len(starters) {
	case 0:
		return nil
	case 1:
		return starters[0]
	}
	return func(ctx context.Context, name string, attrs ...slog.Attr) (context.Context, func(error, ...slog.Attr)) {
		var ends []func(error, ...slog.Attr)
		for _, start := range starters {
			next, end := start(ctx, name, attrs...)
			ctx, ends = next, append(ends, end)
		}
		return ctx, func(err error, attrs ...slog.Attr) {
			for _, end := range ends {
				end(err, attrs...)
			}
		}
	}
}

type hooksKey struct{}

// WithHooks returns a context whose calls report to h.
func WithHooks(ctx context.Context, h *Hooks) context.Context {
	return context.WithValue(ctx, hooksKey{}, h)
}

// WithSpans returns a context whose calls have start open their spans, besides whoever does already.
func WithSpans(ctx context.Context, start SpanStarter) context.Context {
	var h Hooks
	if before, _ := ctx.Value(hooksKey{}).(*Hooks); before != nil {
		h = *before
	}
	if h.StartSpan != nil {
		start = JoinSpans(h.StartSpan, start)
	}
	h.StartSpan = start
	return WithHooks(ctx, &h)
}

// WithFallback returns a context whose calls report their errors as recoverable, since somebody else will
// do what failed.
func WithFallback(ctx context.Context) context.Context {
	h, _ := ctx.Value(hooksKey{}).(*Hooks)
	if h == nil || h.OnError == nil {
		return ctx
	}
	soft := *h
	soft.OnError = func(ctx context.Context, e ErrorEvent) {
		e.Recoverable = true
		h.OnError(ctx, e)
	}
	return WithHooks(ctx, &soft)
}

// ReportError hands e to the hooks of ctx, if there are any.
func ReportError(ctx context.Context, e ErrorEvent) {
	if h, _ := ctx.Value(hooksKey{}).(*Hooks); h != nil && h.OnError != nil {
		h.OnError(ctx, e)
	}
}

// ReportAvailability hands e to the hooks of ctx, if there are any.
func ReportAvailability(ctx context.Context, e AvailabilityEvent) {
	if h, _ := ctx.Value(hooksKey{}).(*Hooks); h != nil && h.OnAvailability != nil {
		h.OnAvailability(ctx, e)
	}
}

// The keys of attributes that are not of the span, but say when it began and ended.
const (
	SpanStart = "start_time"
	SpanEnd   = "end_time"
)

// StartedAt is an attribute for the start of a span that began at t rather than now.
func StartedAt(t time.Time) slog.Attr { return slog.Time(SpanStart, t) }

// EndedAt is an attribute for the end of a span that ended at t rather than now.
func EndedAt(t time.Time) slog.Attr { return slog.Time(SpanEnd, t) }

// StartSpan opens a span with the hooks of ctx. Without hooks it returns ctx and an end that does
// nothing.
func StartSpan(ctx context.Context, name string, attrs ...slog.Attr) (context.Context, func(err error, attrs ...slog.Attr)) {
	if h, _ := ctx.Value(hooksKey{}).(*Hooks); h != nil && h.StartSpan != nil {
		return h.StartSpan(ctx, name, attrs...)
	}
	return ctx, func(error, ...slog.Attr) {}
}
