package observed

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const head = `# What is exported over OpenTelemetry

Made by ` + "`go run ./internal/observed/gen`" + ` of the list that a test in ` + "`telemetry/otlp`" + ` holds against what a
collector receives. How to switch it on is in the [README](README.md#opentelemetry).

Every resource has %s; the ids of the agent and the
deployment are ` + "`LIVEKIT_AGENT_ID`" + ` and ` + "`LIVEKIT_AGENT_DEPLOYMENT`" + `. What is not known is left out. The meter and the tracer
are named ` + "`livekit-agents`" + `.

`

// Page is docs/observability/opentelemetry.md.
func Page() string {
	var b strings.Builder
	fmt.Fprintf(&b, head, code(Resource))
	b.WriteString("## Metrics\n\nSeconds are `s`; counters without a unit count what their name says. Values that are not known, such as the time\n" +
		"to a first token that never came, are not recorded.\n\n")
	row(&b, "instrument", "kind", "unit", "attributes", "recorded when")
	row(&b, "---", "---", "---", "---", "---")
	for _, in := range Instruments {
		row(&b, "`"+in.Name+"`", in.Kind, in.Unit, code(in.Attributes), in.When)
	}
	b.WriteString("\n| boundaries of | |\n| --- | --- |\n")
	var done []string
	for _, in := range Instruments {
		list := numbers(in.Bounds)
		if in.Bounds == nil || slices.Contains(done, list) {
			continue
		}
		done = append(done, list)
		var names []string
		for _, other := range Instruments {
			if slices.Equal(other.Bounds, in.Bounds) {
				names = append(names, other.Name)
			}
		}
		row(&b, code(names), list)
	}
	fmt.Fprintf(&b, "\n## Spans\n\nEvery span has %s; one that failed also %s,\nand %s after a panic.\n\n", code(Always), code(Failed), code([]string{Stack}))
	row(&b, "span", "inside of", "attributes")
	row(&b, "---", "---", "---")
	for _, s := range Spans {
		row(&b, "`"+s.Name+"`", code(s.In), code(slices.Sorted(slices.Values(s.Attributes))))
	}
	b.WriteString("\n### Events of spans\n\nTexts are in them, so with `Redact` there are none but `exception`, and that tells the type alone.\n\n")
	row(&b, "event", "of", "attributes", "when")
	row(&b, "---", "---", "---", "---")
	for _, e := range Events {
		of := "any"
		if e.Span != "" {
			of = "`" + e.Span + "`"
		}
		row(&b, "`"+e.Name+"`", of, code(e.Attributes), e.When)
	}
	fmt.Fprintf(&b, "\n## Log records\n\nWhat is logged for a job has %s besides its own attributes, and errors as\n`exception.type`, `exception.message` and "+
		"`exception.stacktrace`. Sessions tell when they close:\n\n", code(slices.Concat(Logged, Always)))
	row(&b, "logger", "body", "attributes", "when")
	row(&b, "---", "---", "---", "---")
	for _, r := range Records {
		row(&b, "`"+r.Logger+"`", r.Body, code(r.Attributes), r.When)
	}
	fmt.Fprintf(&b, "\nThe scope of log records has %s. Severities are those of package slog, and more: trace (-8), debug (-4), info (0),\n"+
		"dev (1), warn (4), error (8), fatal (12).\n", code(Scope))
	return b.String()
}

func numbers(list []float64) string {
	var out []string
	for _, x := range list {
		out = append(out, strconv.FormatFloat(x, 'f', -1, 64))
	}
	return strings.Join(out, " ")
}

func row(b *strings.Builder, cells ...string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

// code is names as code.
func code(names []string) string {
	var out []string
	for _, n := range names {
		if n != "" {
			out = append(out, "`"+n+"`")
		}
	}
	return strings.Join(out, ", ")
}
