// Package otlp exports the telemetry of sessions over OTLP, by HTTP or gRPC. An Exporter is one per
// process and has the connections; each job has providers of its own, whose resource says which job it
// is, although many jobs share the process. The standard OTEL_EXPORTER_OTLP_* variables are heeded.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/parley-go/parley/telemetry"
)

// Protocol is how telemetry travels.
type Protocol string

// The protocols.
const (
	HTTP Protocol = "http/protobuf"
	GRPC Protocol = "grpc"
)

// shutdownLimit bounds the end of a job's telemetry.
const shutdownLimit = 10 * time.Second

// Options say where telemetry goes. What is not set is taken from the OTEL_EXPORTER_OTLP_* variables, or
// their defaults.
type Options struct {
	Protocol Protocol          // default HTTP
	Endpoint string            // e.g. "https://collector:4318", without path; "http" is without TLS
	Headers  map[string]string // e.g. for authentication
	// Cumulative has sums and histograms exported since the start of the job. The default is delta, what
	// came since the last export: jobs are many and short, and cumulative series would reset all the time.
	Cumulative bool
	Interval   time.Duration // of metrics; default 30 s
	NoMetrics  bool
	NoTraces   bool
}

// Exporter sends what the providers of jobs have collected. All methods may be called from any goroutine.
type Exporter struct {
	o       Options
	metrics sdkmetric.Exporter    // nil for none
	traces  sdktrace.SpanExporter // nil for none
}

// New makes an exporter. It does not wait for the collector; what cannot be delivered is retried for a
// while and then dropped, and never holds up a call. Shutdown ends it.
func New(ctx context.Context, o Options) (*Exporter, error) {
	if o.Interval <= 0 {
		o.Interval = 30 * time.Second
	}
	if o.Protocol == "" {
		o.Protocol = HTTP
	}
	e := &Exporter{o: o}
	var err error
	switch o.Protocol {
	case HTTP:
		err = e.http(ctx)
	case GRPC:
		err = e.grpc(ctx)
	default:
		err = fmt.Errorf("unknown protocol %q", o.Protocol)
	}
	if err != nil {
		return nil, fmt.Errorf("making an OTLP exporter: %w", err)
	}
	return e, nil
}

func (e *Exporter) http(ctx context.Context) (err error) {
	mo := []otlpmetrichttp.Option{otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression), otlpmetrichttp.WithTemporalitySelector(e.temporality)}
	to := []otlptracehttp.Option{otlptracehttp.WithCompression(otlptracehttp.GzipCompression)}
	if url := strings.TrimRight(e.o.Endpoint, "/"); url != "" {
		mo = append(mo, otlpmetrichttp.WithEndpointURL(url+"/v1/metrics"))
		to = append(to, otlptracehttp.WithEndpointURL(url+"/v1/traces"))
	}
	if e.o.Headers != nil {
		mo, to = append(mo, otlpmetrichttp.WithHeaders(e.o.Headers)), append(to, otlptracehttp.WithHeaders(e.o.Headers))
	}
	if !e.o.NoMetrics {
		if e.metrics, err = otlpmetrichttp.New(ctx, mo...); err != nil {
			return err
		}
	}
	if !e.o.NoTraces {
		e.traces, err = otlptracehttp.New(ctx, to...)
	}
	return err
}

func (e *Exporter) grpc(ctx context.Context) (err error) {
	mo := []otlpmetricgrpc.Option{otlpmetricgrpc.WithCompressor("gzip"), otlpmetricgrpc.WithTemporalitySelector(e.temporality)}
	to := []otlptracegrpc.Option{otlptracegrpc.WithCompressor("gzip")}
	if e.o.Endpoint != "" {
		mo = append(mo, otlpmetricgrpc.WithEndpointURL(e.o.Endpoint))
		to = append(to, otlptracegrpc.WithEndpointURL(e.o.Endpoint))
	}
	if e.o.Headers != nil {
		mo, to = append(mo, otlpmetricgrpc.WithHeaders(e.o.Headers)), append(to, otlptracegrpc.WithHeaders(e.o.Headers))
	}
	if !e.o.NoMetrics {
		if e.metrics, err = otlpmetricgrpc.New(ctx, mo...); err != nil {
			return err
		}
	}
	if !e.o.NoTraces {
		e.traces, err = otlptracegrpc.New(ctx, to...)
	}
	return err
}

func (e *Exporter) temporality(sdkmetric.InstrumentKind) metricdata.Temporality {
	if e.o.Cumulative {
		return metricdata.CumulativeTemporality
	}
	return metricdata.DeltaTemporality
}

// Shutdown closes the connections. End the jobs before.
func (e *Exporter) Shutdown(ctx context.Context) error {
	var errs []error
	if e.metrics != nil {
		errs = append(errs, e.metrics.Shutdown(ctx))
	}
	if e.traces != nil {
		errs = append(errs, e.traces.Shutdown(ctx))
	}
	return errors.Join(errs...)
}

// Identity is which job the telemetry is of. Empty fields are left out.
type Identity struct {
	JobID, RoomID, AgentName string
	// Service is service.name: default "livekit-agents".
	Service string
	// Attributes are added to the resource.
	Attributes []attribute.KeyValue
}

// Job collects the telemetry of one job.
type Job struct {
	meters  *sdkmetric.MeterProvider
	tracers *sdktrace.TracerProvider
}

// Job makes the providers of a job. Shutdown ends them.
func (e *Exporter) Job(id Identity) *Job {
	res := id.resource()
	j := &Job{}
	if e.metrics != nil {
		reader := sdkmetric.NewPeriodicReader(keptMetrics{e.metrics}, sdkmetric.WithInterval(e.o.Interval))
		j.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(res))
	}
	if e.traces != nil {
		j.tracers = sdktrace.NewTracerProvider(sdktrace.WithBatcher(keptTraces{e.traces}), sdktrace.WithResource(res))
	}
	return j
}

func (id Identity) resource() *resource.Resource {
	service := id.Service
	if service == "" {
		service = "livekit-agents"
	}
	kvs := []attribute.KeyValue{attribute.String("service.name", service)}
	for _, kv := range []attribute.KeyValue{
		attribute.String("room_id", id.RoomID), attribute.String("job_id", id.JobID),
		attribute.String("lk.agent_name", id.AgentName),
		attribute.String("lk.cloud_agent_id", os.Getenv("LIVEKIT_AGENT_ID")),
		attribute.String("lk.deployment_id", os.Getenv("LIVEKIT_AGENT_DEPLOYMENT")),
	} {
		if kv.Value.AsString() != "" {
			kvs = append(kvs, kv)
		}
	}
	return resource.NewSchemaless(append(kvs, id.Attributes...)...)
}

// Into sets the providers of o to those of the job.
func (j *Job) Into(o *telemetry.Options) {
	if j.meters != nil {
		o.MeterProvider = j.meters
	}
	if j.tracers != nil {
		o.TracerProvider = j.tracers
	}
}

// Shutdown sends what is left, both kinds at once, within 10 s or until ctx ends.
func (j *Job) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownLimit)
	defer cancel()
	ends := make(chan error, 2)
	n := 0
	if j.meters != nil {
		n++
		go func() { ends <- j.meters.Shutdown(ctx) }()
	}
	if j.tracers != nil {
		n++
		go func() { ends <- j.tracers.Shutdown(ctx) }()
	}
	var errs []error
	for range n {
		errs = append(errs, <-ends)
	}
	return errors.Join(errs...)
}

// keptMetrics is an exporter that outlives the provider of a job.
type keptMetrics struct{ sdkmetric.Exporter }

func (k keptMetrics) Shutdown(ctx context.Context) error { return k.ForceFlush(ctx) }

// keptTraces is likewise.
type keptTraces struct{ sdktrace.SpanExporter }

func (keptTraces) Shutdown(context.Context) error { return nil }
