package otlp_test

import (
	"slices"
	"strings"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/parley-go/parley/telemetry"
	"github.com/parley-go/parley/telemetry/otlp"
)

// forest is spans as a collector sees them, in the order of their starts.
type forest []*tracepb.Span

func grow(c *collector) (f forest) {
	for _, list := range c.spans() {
		f = append(f, list...)
	}
	slices.SortFunc(f, func(a, b *tracepb.Span) int {
		if a.StartTimeUnixNano != b.StartTimeUnixNano {
			return int(int64(a.StartTimeUnixNano) - int64(b.StartTimeUnixNano))
		}
		return strings.Compare(a.Name, b.Name)
	})
	return f
}

// steps are those of the first speech of which one has the attribute.
func (f forest) steps(attribute string) (out []*tracepb.Span) {
	i := slices.IndexFunc(f, func(s *tracepb.Span) bool { return s.Name == "agent_turn" && value(s.Attributes, attribute) != "" })
	if i < 0 {
		return nil
	}
	speech := value(f[i].Attributes, "lk.speech_id")
	for _, s := range f {
		if s.Name == "agent_turn" && value(s.Attributes, "lk.speech_id") == speech {
			out = append(out, s)
		}
	}
	return out
}

// below are the names of spans and of those inside of them.
func (f forest) below(spans []*tracepb.Span, depth int) (out string) {
	for _, s := range spans {
		var inside []*tracepb.Span
		for _, x := range f {
			if string(x.ParentSpanId) == string(s.SpanId) {
				inside = append(inside, x)
			}
		}
		out += strings.Repeat("  ", depth) + s.Name + "\n" + f.below(inside, depth+1)
	}
	return out
}

func (f forest) want(t *testing.T, steps []*tracepb.Span, want string) {
	t.Helper()
	if got := f.below(steps, 0); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// The tree of a turn with a tool: the request that calls it, the tool, and the answer to its result.
func TestTreeOfATurnWithATool(t *testing.T) {
	c := newCollector(t)
	converse(t, c, otlp.Options{NoMetrics: true, NoLogs: true}, telemetry.Options{})
	f := grow(c)
	steps := f.steps("lk.generation_id")
	node := func(kind string) string {
		return "  " + kind + "_node\n    " + kind + "_request\n      " + kind + "_request_run\n"
	}
	f.want(t, steps, "agent_turn\n"+node("llm")+"  function_tool\n"+node("tts")+"  agent_speaking\n"+
		"agent_turn\n"+node("llm")+node("tts")+"  agent_speaking\n")
	tool := c.spans()["function_tool"][0]
	if string(tool.ParentSpanId) != string(steps[0].SpanId) || value(tool.Attributes, "lk.function_tool.name") != "weather" {
		t.Errorf("the tool is not in the step that called it: %v", tool)
	}
	if p := value(steps[1].Attributes, "lk.parent_generation_id"); p != value(steps[0].Attributes, "lk.generation_id") || p == "" {
		t.Errorf("the second step's parent is %q", p)
	}
}

// A realtime model's turn with a tool, each step with its own usage, and one whose usage came when it was over.
func TestTreesOfRealtimeTurns(t *testing.T) {
	c := newCollector(t)
	converse(t, c, otlp.Options{NoMetrics: true, NoLogs: true}, telemetry.Options{})
	f := grow(c)
	steps := f.steps("lk.realtime_model_metrics")
	f.want(t, steps, "agent_turn\n  agent_speaking\n  function_tool\nagent_turn\n  agent_speaking\n")
	for i, s := range steps {
		m := value(s.Attributes, "lk.realtime_model_metrics")
		if n := value(s.Attributes, "gen_ai.usage.output_tokens"); !strings.HasPrefix(n, "int_value:") || !strings.Contains(m, `"output_tokens":`+strings.TrimPrefix(n, "int_value:")+",") {
			t.Errorf("step %d has used %s, or %s", i, n, m)
		}
		if ttft := value(s.Attributes, "lk.response.ttft"); ttft != "double_value:0.1" {
			t.Errorf("step %d: first output after %s", i, ttft)
		}
		if e2e := value(s.Attributes, "lk.e2e_latency"); (e2e != "") != (i == 0) {
			t.Errorf("step %d: the user waited %q", i, e2e)
		}
	}
	if first, second := value(steps[0].Attributes, "lk.realtime_model_metrics"), value(steps[1].Attributes, "lk.realtime_model_metrics"); first == second {
		t.Errorf("both steps have used the same: %s", first)
	}
	var late []*tracepb.Span
	for _, s := range f {
		if s.Name == "agent_turn" && strings.Contains(f.below([]*tracepb.Span{s}, 0), "realtime_metrics") {
			late = append(late, s)
		}
	}
	f.want(t, late, "agent_turn\n  agent_speaking\n  realtime_metrics\n")
}
