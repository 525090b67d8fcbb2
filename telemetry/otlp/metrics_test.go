package otlp_test

import (
	"slices"
	"strings"
	"testing"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"github.com/parley-go/parley/internal/observed"
	"github.com/parley-go/parley/telemetry"
	"github.com/parley-go/parley/telemetry/otlp"
)

const (
	delta      = metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA
	cumulative = metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE
)

// described is what a collector sees of a metric.
func described(t *testing.T, m *metricspb.Metric, temporality metricspb.AggregationTemporality) (in observed.Instrument) {
	in = observed.Instrument{Name: m.Name, Unit: m.Unit}
	var attrs []string
	var got metricspb.AggregationTemporality
	switch d := m.Data.(type) {
	case *metricspb.Metric_Histogram:
		in.Kind, in.Bounds, got = observed.Histogram, d.Histogram.DataPoints[0].ExplicitBounds, d.Histogram.AggregationTemporality
		for _, p := range d.Histogram.DataPoints {
			attrs = append(attrs, keys(p.Attributes))
			if p.GetMin() < 0 {
				t.Errorf("%s: %v was recorded", m.Name, p.GetMin())
			}
		}
	case *metricspb.Metric_Sum:
		in.Kind, got = observed.Counter, d.Sum.AggregationTemporality
		for _, p := range d.Sum.DataPoints {
			attrs = append(attrs, keys(p.Attributes))
		}
		if !d.Sum.IsMonotonic {
			t.Errorf("%s can fall", m.Name)
		}
	}
	if got != temporality {
		t.Errorf("%s is %v, want %v", m.Name, got, temporality)
	}
	if m.Description == "" {
		t.Errorf("%s has no description", m.Name)
	}
	if all := slices.Compact(attrs); len(all) != 1 {
		t.Errorf("%s has points with the attributes %q", m.Name, all)
	}
	in.Attributes = strings.Fields(attrs[0])
	return in
}

// wantInstruments compares what was exported with the list.
func wantInstruments(t *testing.T, c *collector, temporality metricspb.AggregationTemporality, genAI bool) {
	t.Helper()
	got := c.instruments()
	for _, want := range observed.Instruments {
		if !genAI && strings.HasPrefix(want.Name, "gen_ai.") {
			continue
		}
		m := got[want.Name]
		if m == nil {
			t.Errorf("no %s", want.Name)
			continue
		}
		delete(got, want.Name)
		in := described(t, m, temporality)
		if in.Kind != want.Kind || in.Unit != want.Unit || !slices.Equal(in.Attributes, want.Attributes) || !slices.Equal(in.Bounds, want.Bounds) {
			t.Errorf("got  %+v\nwant %+v", in, want)
		}
	}
	for name := range got {
		t.Errorf("%s is not in the list", name)
	}
}

func TestMetricsReachACollector(t *testing.T) {
	c := newCollector(t)
	converse(t, c, otlp.Options{}, telemetry.Options{GenAI: true})
	wantInstruments(t, c, delta, true)
	for _, m := range c.metrics {
		if n := m.ScopeMetrics[0].Scope.Name; n != "livekit-agents" {
			t.Errorf("scope %s", n)
		}
	}
	for _, reused := range []string{"true", "false"} {
		if !slices.ContainsFunc(c.instruments()["lk.agents.connection.acquire_time"].GetHistogram().DataPoints, func(p *metricspb.HistogramDataPoint) bool {
			return value(p.Attributes, "connection_reused") == reused
		}) {
			t.Errorf("no acquisition with connection_reused %s", reused)
		}
	}
}

func TestCumulative(t *testing.T) {
	c := newCollector(t)
	converse(t, c, otlp.Options{Cumulative: true, NoTraces: true, NoLogs: true}, telemetry.Options{})
	wantInstruments(t, c, cumulative, false)
	if spans, logs := len(c.spans()), len(c.records()); spans+logs != 0 {
		t.Errorf("%d spans and %d log records", spans, logs)
	}
}
