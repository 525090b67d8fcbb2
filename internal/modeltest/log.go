// Package modeltest has what tests of model fronts share: a log of everything that a call reported
// through its context.
package modeltest

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

// Log keeps what calls report. The zero value is ready; it is safe for concurrent use.
type Log struct {
	mu     sync.Mutex
	events []metrics.Event
	errors []model.ErrorEvent
	spans  []*Span
	turns  []string
}

// Span is a tracing span that was started.
type Span struct {
	Name  string
	Attrs map[string]string // of start and end, printed
	Err   error
	Ends  int // how often it was ended
}

// Context returns a context whose calls report to l.
func (l *Log) Context(ctx context.Context) context.Context {
	ctx = metrics.WithRecorder(ctx, l)
	return model.WithHooks(ctx, &model.Hooks{OnError: l.onError, OnAvailability: l.onAvailability, StartSpan: l.startSpan})
}

// Record implements metrics.Recorder.
func (l *Log) Record(_ context.Context, e metrics.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *Log) onError(_ context.Context, e model.ErrorEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors = append(l.errors, e)
}

func (l *Log) onAvailability(_ context.Context, e model.AvailabilityEvent) {
	s := e.Kind + " " + e.Info.Provider + " fails"
	if e.Available {
		s = e.Kind + " " + e.Info.Provider + " works"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turns = append(l.turns, s)
}

// Availability is what was told about models behind a fallback until now: "llm openai fails".
func (l *Log) Availability() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.turns...)
}

func (l *Log) startSpan(ctx context.Context, name string, attrs ...slog.Attr) (context.Context, func(error, ...slog.Attr)) {
	s := &Span{Name: name, Attrs: map[string]string{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.add(attrs)
	l.spans = append(l.spans, s)
	return ctx, func(err error, attrs ...slog.Attr) {
		l.mu.Lock()
		defer l.mu.Unlock()
		s.add(attrs)
		s.Err = err
		s.Ends++
	}
}

func (s *Span) add(attrs []slog.Attr) {
	for _, a := range attrs {
		s.Attrs[a.Key] = fmt.Sprint(a.Value.Any())
	}
}

// Errors returns the error events until now.
func (l *Log) Errors() []model.ErrorEvent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]model.ErrorEvent(nil), l.errors...)
}

// Recoverable returns for each error event whether it was recoverable.
func (l *Log) Recoverable() []bool {
	var out []bool
	for _, e := range l.Errors() {
		out = append(out, e.Recoverable)
	}
	return out
}

// Spans returns copies of the spans that were started until now.
func (l *Log) Spans() []Span {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Span
	for _, s := range l.spans {
		out = append(out, *s)
	}
	return out
}

// Events returns the metrics events of type T until now.
func Events[T metrics.Event](l *Log) []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []T
	for _, e := range l.events {
		if t, ok := e.(T); ok {
			out = append(out, t)
		}
	}
	return out
}
