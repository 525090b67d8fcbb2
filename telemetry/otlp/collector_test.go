package otlp_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // what is sent is compressed
	"google.golang.org/protobuf/proto"
)

// collector receives what is exported, over HTTP or gRPC.
type collector struct {
	url string

	mu      sync.Mutex
	raw     []byte // as it came
	metrics []*metricspb.ResourceMetrics
	traces  []*tracepb.ResourceSpans
	logs    []*logspb.ResourceLogs
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	srv := httptest.NewUnstartedServer(c)
	srv.Config.SetKeepAlivesEnabled(false)
	srv.Start()
	t.Cleanup(srv.Close)
	c.url = srv.URL
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	data, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch r.URL.Path {
	case "/v1/metrics":
		err = receive(c, data, &colmetrics.ExportMetricsServiceRequest{})
	case "/v1/traces":
		err = receive(c, data, &coltrace.ExportTraceServiceRequest{})
	case "/v1/logs":
		err = receive(c, data, &collogs.ExportLogsServiceRequest{})
	default:
		err = fmt.Errorf("unknown path %s", r.URL.Path)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func receive(c *collector, data []byte, m proto.Message) error {
	if err := proto.Unmarshal(data, m); err != nil {
		return err
	}
	c.take(data, m)
	return nil
}

func (c *collector) take(data []byte, m proto.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, data...)
	switch m := m.(type) {
	case *colmetrics.ExportMetricsServiceRequest:
		c.metrics = append(c.metrics, m.ResourceMetrics...)
	case *coltrace.ExportTraceServiceRequest:
		c.traces = append(c.traces, m.ResourceSpans...)
	case *collogs.ExportLogsServiceRequest:
		c.logs = append(c.logs, m.ResourceLogs...)
	}
}

// The services of gRPC.
type (
	metricsService struct {
		colmetrics.UnimplementedMetricsServiceServer
		c *collector
	}
	tracesService struct {
		coltrace.UnimplementedTraceServiceServer
		c *collector
	}
	logsService struct {
		collogs.UnimplementedLogsServiceServer
		c *collector
	}
)

func (s metricsService) Export(_ context.Context, m *colmetrics.ExportMetricsServiceRequest) (*colmetrics.ExportMetricsServiceResponse, error) {
	s.c.take(nil, m)
	return &colmetrics.ExportMetricsServiceResponse{}, nil
}

func (s tracesService) Export(_ context.Context, m *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	s.c.take(nil, m)
	return &coltrace.ExportTraceServiceResponse{}, nil
}

func (s logsService) Export(_ context.Context, m *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	s.c.take(nil, m)
	return &collogs.ExportLogsServiceResponse{}, nil
}

func newGRPCCollector(t *testing.T) *collector {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{url: "http://" + l.Addr().String()}
	srv := grpc.NewServer()
	colmetrics.RegisterMetricsServiceServer(srv, metricsService{c: c})
	coltrace.RegisterTraceServiceServer(srv, tracesService{c: c})
	collogs.RegisterLogsServiceServer(srv, logsService{c: c})
	go func() { _ = srv.Serve(l) }() // ends with Stop
	t.Cleanup(srv.Stop)
	return c
}

// instruments are the last exports of all metrics, by name.
func (c *collector) instruments() map[string]*metricspb.Metric {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]*metricspb.Metric{}
	for _, rm := range c.metrics {
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				out[m.Name] = m
			}
		}
	}
	return out
}

// spans are all spans by their names.
func (c *collector) spans() map[string][]*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string][]*tracepb.Span{}
	for _, rs := range c.traces {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				out[s.Name] = append(out[s.Name], s)
			}
		}
	}
	return out
}

// record is a log record and where it came from.
type record struct {
	*logspb.LogRecord
	scope    *common.InstrumentationScope
	resource *resourcepb.Resource
}

func (c *collector) records() (out []record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rl := range c.logs {
		for _, sl := range rl.ScopeLogs {
			for _, r := range sl.LogRecords {
				out = append(out, record{r, sl.Scope, rl.Resource})
			}
		}
	}
	return out
}

// keys are the names of attributes, sorted.
func keys(kvs []*common.KeyValue) string {
	var names []string
	for _, kv := range kvs {
		names = append(names, kv.Key)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func value(kvs []*common.KeyValue, key string) string {
	for _, kv := range kvs {
		if kv.Key == key {
			return text(kv.Value)
		}
	}
	return ""
}

func text(v *common.AnyValue) string {
	if s, ok := v.GetValue().(*common.AnyValue_StringValue); ok {
		return s.StringValue
	}
	return v.String()
}
