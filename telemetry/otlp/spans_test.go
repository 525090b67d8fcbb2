package otlp_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/parley-go/parley/internal/observed"
	"github.com/parley-go/parley/telemetry"
	"github.com/parley-go/parley/telemetry/otlp"
)

// seen is what there was of the spans of one name.
type seen struct{ in, attributes map[string]bool }

// lookAt notes what the spans of each name had, and complains of what no span may have.
func lookAt(t *testing.T, spans map[string][]*tracepb.Span) map[string]seen {
	names := map[string]string{}
	for name, all := range spans {
		for _, s := range all {
			names[string(s.SpanId)] = name
		}
	}
	out := map[string]seen{}
	for name, all := range spans {
		x := seen{map[string]bool{}, map[string]bool{}}
		out[name] = x
		for _, s := range all {
			x.in[names[string(s.ParentSpanId)]] = true
			if s.EndTimeUnixNano < s.StartTimeUnixNano {
				t.Errorf("%s ends before it begins", name)
			}
			for _, kv := range s.Attributes {
				x.attributes[kv.Key] = true
			}
			for _, k := range observed.Always {
				if value(s.Attributes, k) == "" {
					t.Errorf("%s has no %s", name, k)
				}
			}
			failed := s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR
			if has := value(s.Attributes, "exception.type") != ""; has != failed {
				t.Errorf("%s has failed: %v, and has an exception: %v", name, failed, has)
			}
		}
		for _, k := range slices.Concat(observed.Always, observed.Failed, []string{observed.Stack}) {
			delete(x.attributes, k)
		}
	}
	return out
}

func sorted(names []string) string {
	return strings.Join(slices.Sorted(slices.Values(names)), " ")
}

func sortedKeys(m map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(m)), " ") }

func TestSpansReachACollector(t *testing.T) {
	c := newCollector(t)
	converse(t, c, otlp.Options{NoMetrics: true}, telemetry.Options{})
	spans := c.spans()
	got := lookAt(t, spans)
	for _, want := range observed.Spans {
		x, ok := got[want.Name]
		if !ok {
			t.Errorf("no span %s", want.Name)
			continue
		}
		delete(got, want.Name)
		if in := sortedKeys(x.in); in != sorted(want.In) {
			t.Errorf("%s is inside of %q, want %q", want.Name, in, sorted(want.In))
		}
		if attrs := sortedKeys(x.attributes); attrs != sorted(want.Attributes) {
			t.Errorf("%s has\n%s, want\n%s", want.Name, attrs, sorted(want.Attributes))
		}
	}
	for name := range got {
		t.Errorf("%s is not in the list", name)
	}
	for name, code := range map[string]tracepb.Status_StatusCode{
		"job_entrypoint": tracepb.Status_STATUS_CODE_ERROR, "on_exit": tracepb.Status_STATUS_CODE_ERROR, "agent_session": tracepb.Status_STATUS_CODE_UNSET,
	} {
		if s := spans[name][0].Status; s.GetCode() != code {
			t.Errorf("%s: status %v, want %v", name, s, code)
		}
	}
}

func TestEventsOfSpansReachACollector(t *testing.T) {
	c := newCollector(t)
	converse(t, c, otlp.Options{NoMetrics: true}, telemetry.Options{})
	got := map[string]bool{}
	for name, all := range c.spans() {
		for _, s := range all {
			for _, e := range s.Events {
				on, attrs := name, keys(e.Attributes)
				if e.Name == "exception" {
					on = ""
				}
				if e.Name == "gen_ai.choice" {
					attrs = "content role tool_calls" // as far as there are
				}
				got[on+" "+e.Name+" "+attrs] = true
			}
		}
	}
	want := map[string]bool{}
	for _, e := range observed.Events {
		want[e.Span+" "+e.Name+" "+strings.Join(e.Attributes, " ")] = true
	}
	if g, w := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(g, w) {
		t.Errorf("events\n%s\nwant\n%s", strings.Join(g, "\n"), strings.Join(w, "\n"))
	}
}
