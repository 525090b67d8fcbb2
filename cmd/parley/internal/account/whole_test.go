package account

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/parley-go/parley/metrics"
)

// TestAnyGroupingAddsUpToTheWhole has random sessions, of which there are a ledger, a report, both, or
// both with a ledger that has lost something. However they are told apart, the rows have together what the
// sessions used, and the costs of their reports.
func TestAnyGroupingAddsUpToTheWhole(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		want, costs := make(lines), make(map[string]metrics.Amount)
		var kept []*call
		for i := range rapid.IntRange(1, 4).Draw(rt, "sessions") {
			c := drawCall(rt, fmt.Sprint("s", i))
			all := c.report().Usage
			for _, m := range all.Models {
				n := countsOf(m)
				want.add(m.Key(), &n)
			}
			for _, m := range all.Cost(c.start, book).Totals {
				costs[m.Currency] += m.Amount
			}
			how := rapid.SampledFrom([]string{"ledger", "report", "both", "lost", "old report"}).Draw(rt, "how")
			if how != "ledger" {
				var change func(map[string]any)
				if how == "old report" {
					change = version4
				}
				c.file(t, dir, change)
			}
			if how == "lost" {
				c.events = c.events[:len(c.events)/2]
			}
			if !strings.HasSuffix(how, "report") {
				kept = append(kept, c)
			}
		}
		write(t, filepath.Join(dir, "ledger"), kept...)

		var names []string
		for _, name := range DimensionNames {
			if rapid.IntRange(0, 3).Draw(rt, name) == 0 {
				names = append(names, strings.Replace(name, "KEY", "customer", 1))
			}
		}
		q := Query{By: by(t, names...), Books: []*metrics.PriceBook{book}}
		a := read(t, q, dir)
		var total, whole Counts
		for _, r := range a.Rows {
			total.Add(&r.Counts)
			sure := r.Estimated
			sure.Add(&r.Unstated)
			if !sure.within(&r.Counts) || r.Sessions == 0 || r.Sessions > a.Total.Sessions {
				rt.Fatalf("row %s of %d sessions", text(&r), r.Sessions)
			}
		}
		for _, c := range want {
			whole.Add(c)
		}
		if total != whole || a.Total.Counts != whole {
			rt.Fatalf("by %v the rows have %v, the total %v; used was %v", names, total, a.Total.Counts, whole)
		}
		if got := a.Total.Costs; !maps.Equal(got, costs) {
			rt.Fatalf("by %v it costs %v, the reports say %v", names, got, costs)
		}
		if !slices.IsSortedFunc(a.Rows, func(x, y Row) int {
			for i, d := range a.By {
				if c := d.compare(x.Values[i], y.Values[i]); c != 0 {
					return c
				}
			}
			return 0
		}) {
			rt.Fatal("the rows are in no order")
		}

		// What is asked for one by one adds up to it, too.
		var apart Counts
		for _, p := range []string{"acme", "voices", "nobody"} {
			q.Providers = []string{p}
			apart.Add(&read(t, q, dir).Total.Counts)
		}
		if apart != whole {
			rt.Fatalf("the providers have %v, together they have %v", apart, whole)
		}
	})
}

func drawCall(t *rapid.T, id string) *call {
	c := &call{id: id, start: noon.Add(time.Duration(rapid.IntRange(0, 24*60).Draw(t, "start")) * time.Minute), length: time.Hour}
	if rapid.Bool().Draw(t, "tagged") {
		c.tags = map[string]string{"customer": rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "customer")}
	}
	n := rapid.Int64Range(0, 1e6)
	for range rapid.IntRange(1, 12).Draw(t, "events") {
		h := c.head(rapid.IntRange(0, 59).Draw(t, "minute"), rapid.SampledFrom([]string{"acme", "voices"}).Draw(t, "provider"),
			rapid.SampledFrom([]string{"mind", "alto"}).Draw(t, "model"))
		h.Outcome = rapid.SampledFrom([]metrics.Outcome{"", metrics.Interrupted, metrics.Failed}).Draw(t, "outcome")
		h.Source = rapid.SampledFrom([]metrics.Source{"", metrics.Measured, metrics.Estimated}).Draw(t, "source")
		h.Tags.AgentID = rapid.SampledFrom([]string{"", "kelly", "bob"}).Draw(t, "agent")
		h.Tags.Tool = rapid.SampledFrom([]string{"", "weather"}).Draw(t, "tool")
		h.Tags.TurnID = rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "turn")
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			c.events = append(c.events, &metrics.TTS{Header: h, CharactersCount: n.Draw(t, "chars"), AudioDuration: time.Duration(n.Draw(t, "spoken"))})
		case 1:
			c.events = append(c.events, &metrics.STT{Header: h, AudioDuration: time.Duration(n.Draw(t, "heard"))})
		case 2:
			c.events = append(c.events, &metrics.Realtime{Header: h, InputTokens: n.Draw(t, "in"), OutputTokens: n.Draw(t, "out"),
				SessionDuration:   time.Duration(n.Draw(t, "connected")),
				InputTokenDetails: metrics.InputTokenDetails{AudioTokens: n.Draw(t, "audio"), CachedTokens: n.Draw(t, "cached")}})
		case 3:
			c.events = append(c.events, &metrics.EOT{Header: h, NumRequests: 1})
		default:
			c.events = append(c.events, &metrics.LLM{Header: h, PromptTokens: n.Draw(t, "in"), PromptCachedTokens: n.Draw(t, "cached"), CompletionTokens: n.Draw(t, "out")})
		}
	}
	return c
}

func FuzzReport(f *testing.F) {
	dir := f.TempDir()
	for i, change := range []func(map[string]any){nil, version4} {
		data, err := os.ReadFile(newCall(fmt.Sprint(i), noon, map[string]string{"k": "v"}).file(f, dir, change))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add([]byte(`{"session_id":"","usage":null}{"session_id":"s","usage":[]}`))
	f.Add([]byte(`{"session_id":"s","started_at":1e300,"usage":[{"type":"llm_usage","input_tokens":9223372036854775807,"output_tokens":-5}],"usage_by":{"tools":[{"key":"x","other":true,"usage":[]}],"later":7}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "r.json")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var totals []Counts
		for _, names := range [][]string{nil, {"tool"}, {"agent", "outcome", "day", "tag:k", "session"}} {
			a, err := Read([]string{filepath.Dir(path)}, Query{By: by(t, names...), Books: []*metrics.PriceBook{book}})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range a.Rows {
				for i, n := range r.Counts {
					if n < 0 || r.Estimated[i]+r.Unstated[i] > n || r.Unstated[i] < 0 {
						t.Fatalf("row %v has %v, estimated %v", r.Values, r.Counts, r.Estimated)
					}
				}
			}
			totals = append(totals, a.Total.Counts)
		}
		if totals[0] != totals[1] || totals[0] != totals[2] {
			t.Fatalf("totals differ: %v", totals)
		}
	})
}
