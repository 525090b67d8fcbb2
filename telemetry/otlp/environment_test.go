package otlp_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/parley-go/parley/telemetry"
	"github.com/parley-go/parley/telemetry/otlp"
)

// export has a job count, log and open a span, all over an exporter with o.
func export(t *testing.T, o otlp.Options) {
	t.Helper()
	exp, err := otlp.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	job := exp.Job(otlp.Identity{JobID: "AJ_1"})
	var to telemetry.Options
	job.Into(&to)
	ctx, end := telemetry.StartJob(t.Context(), to)
	counter, err := to.MeterProvider.Meter("test").Int64Counter("calls")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(ctx, 1)
	if err := telemetry.LogHandler("test", to).Handle(ctx, newRecord("hello")); err != nil {
		t.Fatal(err)
	}
	end(nil)
	if err := job.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := exp.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

func (c *collector) wantAll(t *testing.T) {
	t.Helper()
	if c.instruments()["calls"] == nil || len(c.spans()["job_entrypoint"]) != 1 || len(c.records()) != 1 {
		t.Errorf("metrics %v, spans %v, logs %v", c.instruments(), c.spans(), c.records())
	}
}

// What the options leave open, the standard variables say.
func TestEnvironment(t *testing.T) {
	t.Run("grpc", func(t *testing.T) {
		c := newGRPCCollector(t)
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.url)
		t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
		t.Setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative")
		t.Setenv("OTEL_SERVICE_NAME", "front desk")
		export(t, otlp.Options{})
		c.wantAll(t)
		if got := c.instruments()["calls"].GetSum().GetAggregationTemporality(); got != cumulative {
			t.Errorf("temporality %v", got)
		}
		if got := value(c.metrics[0].Resource.Attributes, "service.name"); got != "front desk" {
			t.Errorf("service %q", got)
		}
	})
	t.Run("http", func(t *testing.T) {
		c := newCollector(t)
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.url)
		t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
		t.Setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
		export(t, otlp.Options{})
		c.wantAll(t)
		if got := c.instruments()["calls"].GetSum().GetAggregationTemporality(); got != delta {
			t.Errorf("temporality %v", got)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
		if _, err := otlp.New(t.Context(), otlp.Options{}); err == nil {
			t.Error("a protocol was taken that there is none of")
		}
	})
}

// All that is sent is compressed and has the headers.
func TestRequestsAreCompressedAndHaveTheHeaders(t *testing.T) {
	c := &collector{}
	var mu sync.Mutex
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if n++; r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("X-Key") != "secret" {
			t.Errorf("%s has the header %v", r.URL.Path, r.Header)
		}
		c.ServeHTTP(w, r)
	}))
	defer srv.Close()
	export(t, otlp.Options{Endpoint: srv.URL + "/", Headers: map[string]string{"X-Key": "secret"}})
	if c.wantAll(t); n != 3 {
		t.Errorf("%d requests", n)
	}
}
