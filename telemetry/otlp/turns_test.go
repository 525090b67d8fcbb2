package otlp_test

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
	"github.com/parley-go/parley/telemetry"
)

// counted is how often each histogram of turns was recorded so far.
func counted(t *testing.T, r sdkmetric.Reader) map[string]uint64 {
	var rm metricdata.ResourceMetrics
	if err := r.Collect(context.Background(), &rm); err != nil {
		t.Error(err)
	}
	out := map[string]uint64{}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			if h, ok := m.Data.(metricdata.Histogram[float64]); ok {
				for _, p := range h.DataPoints {
					out[m.Name] += p.Count
				}
			}
		}
	}
	return out
}

// A turn is measured when it is over, not with the call, and once.
func TestTurnsAreMeasuredWhenTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		early := make(chan map[string]uint64, 1) // one is sent
		go func() {
			time.Sleep(7 * time.Second) // the first turn is answered, the user has not interrupted yet
			early <- counted(t, reader)
		}()
		o := telemetry.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))}
		_ = call(t, context.Background(), o)
		check := func(when string, got, want map[string]uint64) {
			for name, n := range want {
				if got["lk.agents.turn."+name] != n {
					t.Errorf("%s: %d of %s, want %d", when, got["lk.agents.turn."+name], name, n)
				}
			}
		}
		check("in the call", <-early, map[string]uint64{"end_of_turn_delay": 1, "transcription_delay": 1, "on_user_turn_completed_delay": 1, "e2e_latency": 1})
		check("after the call", counted(t, reader), map[string]uint64{"end_of_turn_delay": 2, "transcription_delay": 2, "on_user_turn_completed_delay": 2, "e2e_latency": 2})
	})
}

// Somebody's own providers are told besides those of the job, each with its own redaction.
func TestTwoAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := session.New(session.Options{LLM: llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{answer("Hello")}}), nil)})
		var readers []sdkmetric.Reader
		var spans []*tracetest.InMemoryExporter
		for _, redact := range []bool{false, true} {
			r, x := sdkmetric.NewManualReader(), tracetest.NewInMemoryExporter()
			readers, spans = append(readers, r), append(spans, x)
			detach, err := telemetry.Attach(s, telemetry.Options{Redact: redact, MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(r)),
				TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSyncer(x))})
			if err != nil {
				t.Fatal(err)
			}
			defer detach()
		}
		if err := s.Start(context.Background(), &agent.Agent{}, sessiontest.New()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(context.Background(), canary); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		for i, r := range readers {
			if n := counted(t, r)["lk.agents.turn.llm_ttft"]; n != 1 {
				t.Errorf("%d: the answer was measured %d times", i, n)
			}
			names, told := map[string]int{}, false
			for _, x := range spans[i].GetSpans() {
				names[x.Name]++
				if x.Parent.IsValid() && !slices.ContainsFunc(spans[i].GetSpans(), func(p tracetest.SpanStub) bool { return p.SpanContext.SpanID() == x.Parent.SpanID() }) {
					t.Errorf("%d: %s is inside of a span of somebody else's", i, x.Name)
				}
				for _, kv := range x.Attributes {
					told = told || strings.Contains(kv.Value.String(), canary)
				}
			}
			if names["agent_turn"] != 1 || names["llm_request"] != 1 || told != (i == 0) {
				t.Errorf("%d: spans %v, with content: %v", i, names, told)
			}
		}
	})
}

// The application's own spans are where it opened them, around the session and inside of it.
func TestSpansOfTheApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := tracetest.NewInMemoryExporter()
		p := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
		mine := p.Tracer("mine")
		s := session.New(session.Options{LLM: llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{answer("Hello")}}), nil)})
		detach, err := telemetry.Attach(s, telemetry.Options{TracerProvider: p})
		if err != nil {
			t.Fatal(err)
		}
		defer detach()
		ctx, outer := mine.Start(context.Background(), "outer")
		a := &agent.Agent{LLMNode: func(ctx context.Context, r *llm.Request, next agent.LLMNode) iter.Seq2[*llm.Chunk, error] {
			return func(yield func(*llm.Chunk, error) bool) {
				ctx, inner := mine.Start(ctx, "inner")
				defer inner.End()
				next(ctx, r)(yield)
			}
		}}
		if err := s.Start(ctx, a, sessiontest.New()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(context.Background(), "Hi"); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		outer.End()
		parents := map[string]string{}
		for _, x := range spans.GetSpans() {
			for _, p := range spans.GetSpans() {
				if p.SpanContext.SpanID() == x.Parent.SpanID() {
					parents[x.Name] = p.Name
				}
			}
		}
		for name, want := range map[string]string{"agent_session": "outer", "inner": "llm_node", "llm_request": "inner", "agent_turn": "agent_session"} {
			if parents[name] != want {
				t.Errorf("%s is inside of %q, want %q", name, parents[name], want)
			}
		}
	})
}
