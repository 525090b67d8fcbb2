package otlp

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// stuck is an exporter that never ends and heeds nobody.
type stuck struct{ free chan struct{} }

func (s stuck) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { <-s.free; return nil }
func (s stuck) Shutdown(context.Context) error                             { return nil }

func TestShutdownHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stuck{make(chan struct{})}
		defer close(s.free)
		j := &Job{tracers: sdktrace.NewTracerProvider(sdktrace.WithBatcher(s))}
		_, span := j.tracers.Tracer("test").Start(t.Context(), "span")
		span.End()
		began := time.Now()
		if err := j.Shutdown(context.Background()); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != shutdownLimit {
			t.Errorf("ended with %v after %v, want %v", err, time.Since(began), shutdownLimit)
		}
	})
}
