// Package otlp exports the telemetry of sessions over OTLP, by HTTP or gRPC. An Exporter is one per
// process and has the connections; each job has providers of its own, whose resource says which job it
// is, although many jobs share the process. The standard OTEL_EXPORTER_OTLP_* variables are heeded.
package otlp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Protocol is how telemetry travels.
type Protocol string

// The protocols.
const (
	HTTP Protocol = "http/protobuf"
	GRPC Protocol = "grpc"
)

// Options say where telemetry goes. What is not set is taken from the OTEL_EXPORTER_OTLP_* variables, or
// their defaults.
type Options struct {
	Protocol Protocol          // default OTEL_EXPORTER_OTLP_PROTOCOL, or else HTTP
	Endpoint string            // e.g. "https://collector:4318", without path; "http" is without TLS
	Headers  map[string]string // e.g. for authentication
	// Cumulative has sums and histograms exported since the start of the job. The default is delta, what
	// came since the last export: jobs are many and short, and cumulative series would reset all the time. So has
	// OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative.
	Cumulative bool
	Interval   time.Duration // of metrics; default OTEL_METRIC_EXPORT_INTERVAL, in ms, or else 30 s
	NoMetrics  bool
	NoTraces   bool
	NoLogs     bool

	client *http.Client             // nil for the exporters' own; only over HTTP, as is url
	url    func(kind string) string // of "metrics", "traces" or "logs"; nil for the usual ones
}

// Exporter sends what the providers of jobs have collected. All methods may be called from any goroutine.
type Exporter struct {
	o       Options
	metrics sdkmetric.Exporter    // nil for none
	traces  sdktrace.SpanExporter // nil for none
	logs    sdklog.Exporter       // nil for none
}

// New makes an exporter. It does not wait for the collector; what cannot be delivered is retried for a
// while and then dropped, and never holds up a call. Shutdown ends it.
func New(ctx context.Context, o Options) (*Exporter, error) {
	o.complete()
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
		_ = e.Shutdown(ctx)
		return nil, fmt.Errorf("making an OTLP exporter: %w", err)
	}
	return e, nil
}

// complete sets what is open to what the environment says, or the defaults.
func (o *Options) complete() {
	if o.Interval <= 0 {
		o.Interval = 30 * time.Second
		if ms, err := strconv.Atoi(os.Getenv("OTEL_METRIC_EXPORT_INTERVAL")); err == nil && ms > 0 {
			o.Interval = time.Duration(ms) * time.Millisecond
		}
	}
	if o.client != nil {
		o.Protocol, o.Endpoint, o.Headers = HTTP, "", map[string]string{} // none of the environment either
	}
	if end := strings.TrimRight(o.Endpoint, "/"); end != "" {
		o.url = func(kind string) string { return end + "/v1/" + kind }
	}
	o.Protocol = cmp.Or(o.Protocol, Protocol(os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")), HTTP)
	o.Cumulative = o.Cumulative || strings.EqualFold(os.Getenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"), "cumulative")
}

func (e *Exporter) http(ctx context.Context) error {
	mo := []otlpmetrichttp.Option{otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression), otlpmetrichttp.WithTemporalitySelector(e.temporality)}
	to := []otlptracehttp.Option{otlptracehttp.WithCompression(otlptracehttp.GzipCompression)}
	lo := []otlploghttp.Option{otlploghttp.WithCompression(otlploghttp.GzipCompression)}
	if url := e.o.url; url != nil {
		mo = append(mo, otlpmetrichttp.WithEndpointURL(url("metrics")))
		to = append(to, otlptracehttp.WithEndpointURL(url("traces")))
		lo = append(lo, otlploghttp.WithEndpointURL(url("logs")))
	}
	if c := e.o.client; c != nil {
		mo, to, lo = append(mo, otlpmetrichttp.WithHTTPClient(c)), append(to, otlptracehttp.WithHTTPClient(c)), append(lo, otlploghttp.WithHTTPClient(c))
	}
	if h := e.o.Headers; h != nil {
		mo, to, lo = append(mo, otlpmetrichttp.WithHeaders(h)), append(to, otlptracehttp.WithHeaders(h)), append(lo, otlploghttp.WithHeaders(h))
	}
	return e.open(
		func() error { return set(&e.metrics)(otlpmetrichttp.New(ctx, mo...)) },
		func() error { return set(&e.traces)(otlptracehttp.New(ctx, to...)) },
		func() error { return set(&e.logs)(otlploghttp.New(ctx, lo...)) })
}

func (e *Exporter) grpc(ctx context.Context) error {
	mo := []otlpmetricgrpc.Option{otlpmetricgrpc.WithCompressor("gzip"), otlpmetricgrpc.WithTemporalitySelector(e.temporality)}
	to := []otlptracegrpc.Option{otlptracegrpc.WithCompressor("gzip")}
	lo := []otlploggrpc.Option{otlploggrpc.WithCompressor("gzip")}
	if url := e.o.Endpoint; url != "" {
		mo = append(mo, otlpmetricgrpc.WithEndpointURL(url))
		to = append(to, otlptracegrpc.WithEndpointURL(url))
		lo = append(lo, otlploggrpc.WithEndpointURL(url))
	}
	if h := e.o.Headers; h != nil {
		mo, to, lo = append(mo, otlpmetricgrpc.WithHeaders(h)), append(to, otlptracegrpc.WithHeaders(h)), append(lo, otlploggrpc.WithHeaders(h))
	}
	return e.open(
		func() error { return set(&e.metrics)(otlpmetricgrpc.New(ctx, mo...)) },
		func() error { return set(&e.traces)(otlptracegrpc.New(ctx, to...)) },
		func() error { return set(&e.logs)(otlploggrpc.New(ctx, lo...)) })
}

// open makes the exporters that are wanted.
func (e *Exporter) open(metrics, traces, logs func() error) error {
	var errs []error
	for _, x := range []struct {
		off  bool
		make func() error
	}{{e.o.NoMetrics, metrics}, {e.o.NoTraces, traces}, {e.o.NoLogs, logs}} {
		if !x.off {
			errs = append(errs, x.make())
		}
	}
	return errors.Join(errs...)
}

// set returns what puts a result where to points, unless it is an error.
func set[T any](to *T) func(T, error) error {
	return func(x T, err error) error {
		if err == nil {
			*to = x
		}
		return err
	}
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
	if e.logs != nil {
		errs = append(errs, e.logs.Shutdown(ctx))
	}
	if e.o.client != nil {
		e.o.client.CloseIdleConnections()
	}
	return errors.Join(errs...)
}
