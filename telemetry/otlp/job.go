package otlp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/parley-go/parley/telemetry"
)

// shutdownLimit bounds the end of a job's telemetry.
const shutdownLimit = 10 * time.Second

// Identity is which job the telemetry is of. Empty fields are left out.
type Identity struct {
	JobID, RoomID, AgentName string
	// Service is service.name: default OTEL_SERVICE_NAME, or else "livekit-agents".
	Service string
	// Attributes are added to the resource.
	Attributes []attribute.KeyValue
}

// Job collects the telemetry of one job.
type Job struct {
	meters  *sdkmetric.MeterProvider // nil for none, as are the others
	tracers *sdktrace.TracerProvider
	loggers *sdklog.LoggerProvider
	scope   []attribute.KeyValue // of loggers
}

// Job makes the providers of a job. Shutdown ends them.
func (e *Exporter) Job(id Identity) *Job {
	res := id.resource()
	j := &Job{scope: known(attribute.String("room_id", id.RoomID), attribute.String("job_id", id.JobID))}
	if e.metrics != nil {
		reader := sdkmetric.NewPeriodicReader(keptMetrics{e.metrics}, sdkmetric.WithInterval(e.o.Interval))
		j.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(res))
	}
	if e.traces != nil {
		j.tracers = sdktrace.NewTracerProvider(sdktrace.WithBatcher(keptTraces{e.traces}), sdktrace.WithResource(res))
	}
	if e.logs != nil {
		j.loggers = sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(keptLogs{e.logs})), sdklog.WithResource(res))
	}
	return j
}

func (id Identity) resource() *resource.Resource {
	kvs := known(
		attribute.String("service.name", cmp.Or(id.Service, os.Getenv("OTEL_SERVICE_NAME"), "livekit-agents")),
		attribute.String("room_id", id.RoomID), attribute.String("job_id", id.JobID),
		attribute.String("lk.agent_name", id.AgentName),
		attribute.String("lk.cloud_agent_id", os.Getenv("LIVEKIT_AGENT_ID")),
		attribute.String("lk.deployment_id", os.Getenv("LIVEKIT_AGENT_DEPLOYMENT")),
	)
	return resource.NewSchemaless(append(kvs, id.Attributes...)...)
}

// known are those of kvs, which are strings, that are not empty.
func known(kvs ...attribute.KeyValue) (out []attribute.KeyValue) {
	for _, kv := range kvs {
		if kv.Value.AsString() != "" {
			out = append(out, kv)
		}
	}
	return out
}

// Into has o use the job.
func (j *Job) Into(o *telemetry.Options) {
	if j.meters != nil {
		o.MeterProvider = j.meters
	}
	if j.tracers != nil {
		o.TracerProvider = j.tracers
	}
	if j.loggers != nil {
		o.Logs = j.Handler
	}
}

// Shutdown sends what is left, all kinds at once, within 10 s or until ctx ends. The error says what was
// not delivered.
func (j *Job) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownLimit)
	defer cancel()
	var ends []func(context.Context) error
	if j.meters != nil {
		ends = append(ends, j.meters.Shutdown)
	}
	if j.tracers != nil {
		ends = append(ends, j.tracers.Shutdown)
	}
	if j.loggers != nil {
		ends = append(ends, j.loggers.Shutdown)
	}
	results := make(chan error, len(ends)) // size: each sends one
	for _, end := range ends {
		go func() { results <- end(ctx) }()
	}
	var errs []error
	for range ends {
		select {
		case err := <-results:
			errs = append(errs, err)
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("ending the telemetry of a job: %w", ctx.Err()))
		}
	}
	return errors.Join(errs...)
}

// keptMetrics is an exporter that outlives the provider of a job.
type keptMetrics struct{ sdkmetric.Exporter }

func (k keptMetrics) Shutdown(ctx context.Context) error { return k.ForceFlush(ctx) }

// keptTraces is likewise.
type keptTraces struct{ sdktrace.SpanExporter }

func (keptTraces) Shutdown(context.Context) error { return nil }

// keptLogs is likewise.
type keptLogs struct{ sdklog.Exporter }

func (k keptLogs) Shutdown(ctx context.Context) error { return k.ForceFlush(ctx) }
