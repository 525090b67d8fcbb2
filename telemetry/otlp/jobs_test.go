package otlp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	common "go.opentelemetry.io/proto/otlp/common/v1"

	"github.com/parley-go/parley/internal/observed"
	"github.com/parley-go/parley/telemetry"
	"github.com/parley-go/parley/telemetry/otlp"
)

// Two jobs that run at the same time in one process: what each exports carries its own ids, and nothing of
// the other.
func TestJobsInOneProcessAreToldApart(t *testing.T) {
	t.Setenv("LIVEKIT_AGENT_ID", "CA_1")
	t.Setenv("LIVEKIT_AGENT_DEPLOYMENT", "blue")
	c := newCollector(t)
	exporting(t, c, otlp.Options{}, func(t *testing.T, exp *otlp.Exporter) {
		var wg sync.WaitGroup
		for n := 1; n <= 2; n++ {
			wg.Go(func() {
				running(t, exp, n, telemetry.Options{}, func(ctx context.Context, o telemetry.Options) error { return call(t, ctx, o) })
			})
		}
		wg.Wait()
	})
	ids := func(what string, kvs []*common.KeyValue, names string) string {
		if got := keys(kvs); got != names {
			t.Errorf("resource of %s is %q, want %q", what, got, names)
		}
		job, room := value(kvs, "job_id"), value(kvs, "room_id")
		if (job != "AJ_1" || room != "RM_1") && (job != "AJ_2" || room != "RM_2") {
			t.Errorf("%s of job %q, room %q", what, job, room)
		}
		return job
	}
	resource := sorted(observed.Resource)
	count := map[string]int{}
	for _, rm := range c.metrics {
		job := ids("metrics", rm.Resource.Attributes, resource)
		for _, m := range rm.ScopeMetrics[0].Metrics {
			if h := m.GetHistogram(); h != nil && m.Name == "lk.agents.turn.e2e_latency" {
				count[job+" latencies"] += int(h.DataPoints[0].Count)
			}
		}
	}
	for _, rs := range c.traces {
		job := ids("spans", rs.Resource.Attributes, resource)
		for _, s := range rs.ScopeSpans[0].Spans {
			count[job+" "+s.Name]++
			for key, want := range map[string]string{"lk.job_id": job, "lk.cloud_agent_id": "CA_1", "lk.deployment_id": "blue"} {
				if got := value(s.Attributes, key); s.Name == "agent_session" && got != want {
					t.Errorf("session of job %s has %s %q", job, key, got)
				}
			}
		}
	}
	for _, r := range c.records() {
		job := ids("log records", r.resource.Attributes, resource)
		if scope := value(r.scope.Attributes, "job_id"); scope != job {
			t.Errorf("log record of job %s has the scope of %q", job, scope)
		}
		if own := value(r.Attributes, "job_id"); own != "" && own != job {
			t.Errorf("job %s has exported a log record of %s", job, own)
		}
		count[job+" "+text(r.Body)]++
	}
	for what, want := range map[string]int{"latencies": 2, "agent_session": 1, "user_turn": 4, "session report": 1, "hook failed": 1} {
		for n := 1; n <= 2; n++ {
			if got := count[fmt.Sprintf("AJ_%d %s", n, what)]; got != want {
				t.Errorf("job %d: %d %s, want %d", n, got, what, want)
			}
		}
	}
}

func TestExportsOverGRPC(t *testing.T) {
	c := newGRPCCollector(t)
	export(t, otlp.Options{Protocol: otlp.GRPC, Endpoint: c.url})
	c.wantAll(t)
}

// All kinds are sent at once: a collector that does not answer is asked for all of them.
func TestShutdownSendsAllKindsAtOnce(t *testing.T) {
	stop := make(chan struct{})
	asked := make(chan string, 10) // more than are asked
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		<-stop
	}))
	defer srv.Close()
	defer close(stop)
	exp, err := otlp.New(t.Context(), otlp.Options{Endpoint: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	job := exp.Job(otlp.Identity{JobID: "AJ_1"})
	var o telemetry.Options
	job.Into(&o)
	ctx, end := telemetry.StartJob(t.Context(), o)
	counter, err := o.MeterProvider.Meter("test").Int64Counter("calls")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(ctx, 1)
	if err := telemetry.LogHandler("test", o).Handle(ctx, newRecord("hello")); err != nil {
		t.Fatal(err)
	}
	end(nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var paths []string
	go func() {
		for range 3 {
			paths = append(paths, <-asked)
		}
		cancel()
	}()
	if err := job.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled once all were asked for", err)
	}
	if slices.Sort(paths); !slices.Equal(paths, []string{"/v1/logs", "/v1/metrics", "/v1/traces"}) {
		t.Errorf("asked for %q", paths)
	}
	_ = exp.Shutdown(t.Context())
}
