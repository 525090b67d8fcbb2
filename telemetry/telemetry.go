// Package telemetry tells OpenTelemetry what a session does: measurements of turns, usage, connections
// and errors, spans of turns, requests and tools, and log records. It needs the API of OpenTelemetry alone; whoever
// uses it brings the providers, his own or those of package telemetry/otlp. Nothing is global: each
// session has what it was given.
package telemetry

import (
	"errors"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-go/parley/session"
)

// ScopeName is the name of the meter and of the tracer.
const ScopeName = "livekit-agents"

// Options say where a session's telemetry goes, and what it may contain.
type Options struct {
	MeterProvider  metric.MeterProvider // nil: no measurements
	TracerProvider trace.TracerProvider // nil: no spans
	// Logs makes the handler that exports the log records of the logger of that name, about which scope
	// tells more; nil: none are. It takes records of every level; those below LevelTrace have no severity.
	Logs func(logger string, scope ...slog.Attr) slog.Handler

	// Attributes go along with every measurement, span and log record. They are for providers that many jobs
	// share: with providers of each job's own, as telemetry/otlp makes them, the resource says whose
	// they are, and no measurement needs to.
	Attributes []attribute.KeyValue

	// AgentName and RoomName are of the job, RoomName only for spans; "" is unknown. The job's id comes by itself.
	AgentName, RoomName string
	// AgentIdentity is as whom the agent is in the room; "" is unknown.
	AgentIdentity string
	// Simulation says that the user is no human.
	Simulation bool

	// Redact keeps out of the telemetry what was said, asked and answered, who it was, and what errors
	// say: attributes with such content, which all have "pii" in their name, are left out, and an
	// exception has its type alone.
	Redact bool
	// GenAI also records the measurements of the GenAI conventions: gen_ai.client.token.usage,
	// gen_ai.client.operation.duration and gen_ai.client.operation.time_to_first_chunk.
	GenAI bool
}

// Attach has s record from now on: measurements at once, spans from the next Start on, so call it
// before that. When s closes, its report and the items of its conversation are exported as log records;
// what it logs is not, see LogHandler. It may be called more than once, with other providers. detach ends it; what was begun is
// recorded to its end. The providers are not shut down.
func Attach(s *session.Session, o Options) (detach func(), err error) {
	if s == nil {
		return nil, errors.New("attaching telemetry: no session")
	}
	var undo []func()
	detach = func() {
		for _, f := range undo {
			f()
		}
	}
	if o.MeterProvider != nil {
		m, err := newMeter(o)
		if err != nil {
			return nil, err
		}
		undo = append(undo, m.listen(s))
	}
	if o.TracerProvider != nil {
		t := newTracer(s, o)
		undo = append(undo, t.listen(), s.Trace(t.start))
	}
	if o.Logs != nil {
		undo = append(undo, closing(s, o))
	}
	return detach, nil
}
