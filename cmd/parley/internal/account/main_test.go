package account

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	live "github.com/parley-go/parley/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is the first of July 2026 at 12:00.
var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// call is a session of a test, with what it used.
type call struct {
	id     string
	start  time.Time
	length time.Duration
	tags   map[string]string
	events []metrics.Event
}

// head is that of an event of the call, some minutes after its start.
func (c *call) head(minutes int, provider, model string) metrics.Header {
	return metrics.Header{ID: fmt.Sprintf("%s.%d", c.id, len(c.events)), Timestamp: c.start.Add(time.Duration(minutes) * time.Minute),
		Metadata: metrics.Metadata{ModelProvider: provider, ModelName: model}, Tags: metrics.Tags{SessionID: c.id, AgentID: "kelly"}}
}

// newCall uses a bit of everything.
func newCall(id string, start time.Time, tags map[string]string) *call {
	c := &call{id: id, start: start, length: 10 * time.Minute, tags: tags}
	add := func(e metrics.Event) *metrics.Header { c.events = append(c.events, e); return e.Head() }
	add(&metrics.LLM{Header: c.head(1, "acme", "mind"), PromptTokens: 100, PromptCachedTokens: 40, CompletionTokens: 10})
	h := add(&metrics.LLM{Header: c.head(2, "acme", "mind"), PromptTokens: 200, CompletionTokens: 7})
	h.Outcome, h.Source, h.Tags.Tool = metrics.Interrupted, metrics.Estimated, "weather"
	h = add(&metrics.LLM{Header: c.head(3, "acme", "mind-2"), PromptTokens: 50, CompletionTokens: 5})
	h.Outcome, h.Tags.AgentID = metrics.Discarded, "bob"
	h = add(&metrics.TTS{Header: c.head(3, "voices", "alto"), CharactersCount: 33, AudioDuration: 2500 * time.Millisecond})
	h.Source = metrics.Measured
	add(&metrics.STT{Header: c.head(4, "ears", "one"), AudioDuration: time.Minute})
	return c
}

// write puts the calls in a ledger; ended ones are settled.
func write(t testing.TB, path string, calls ...*call) {
	t.Helper()
	l, err := ledger.Open(path, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range calls {
		l.Begin(ledger.Start{SessionID: c.id, At: c.start, JobID: "J" + c.id, Room: "room " + c.id, Tags: c.tags})
		for _, e := range c.events {
			l.Record(t.Context(), e)
		}
		if c.length > 0 {
			l.End(c.id, ledger.End{At: c.start.Add(c.length)})
			l.Settle(c.id)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// report is that of the call; with a length of zero it still runs.
func (c *call) report() *live.Report {
	var all metrics.Collector
	for _, e := range c.events {
		all.Add(e)
	}
	r := &live.Report{SessionID: c.id, JobID: "J" + c.id, Room: "room " + c.id, Tags: c.tags, StartedAt: c.start,
		Timestamp: c.start.Add(c.length), History: &chat.Context{}}
	r.Usage, r.UsageBy = all.Account()
	if c.length > 0 {
		r.EndedAt = c.start.Add(c.length)
	}
	return r
}

// file writes the report of a call to dir, as change, if there is one, makes it.
func (c *call) file(t testing.TB, dir string, change func(map[string]any)) string {
	t.Helper()
	return file(t, dir, c.id, c.report(), change)
}

func file(t testing.TB, dir, name string, r *live.Report, change func(map[string]any)) string {
	t.Helper()
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		var doc map[string]any
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		change(doc)
		if data, err = json.Marshal(doc); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, name+".json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// version4 makes a report what it was before it told tags and attribution.
func version4(doc map[string]any) {
	doc["version"] = 4
	delete(doc, "tags")
	delete(doc, "usage_by")
}

func by(t testing.TB, names ...string) (all []Dimension) {
	t.Helper()
	for _, name := range names {
		d, err := ParseDimension(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

func read(t testing.TB, q Query, paths ...string) *Account {
	t.Helper()
	a, err := Read(paths, q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// text is a row as "kelly,-: 100 in, 10 out, 33 chars, 2.5 s spoken, 60 s heard".
func text(r *Row) string {
	var key, used []string
	for _, v := range r.Values {
		switch {
		case v.Unknown:
			v.Text = "?" + v.Text
		case v.Text == "":
			v.Text = "-"
		}
		key = append(key, v.Text)
	}
	for q, what := range map[Quantity]string{InputTokens: "1in", OutputTokens: "2out", CharactersCount: "3chars", STTAudioDuration: "4heard"} {
		if n := r.Counts[q]; n > 0 {
			if q == STTAudioDuration {
				n /= int64(time.Second)
			}
			approx := ""
			if r.Estimated[q] > 0 {
				approx = fmt.Sprintf("~%d/", r.Estimated[q])
			}
			used = append(used, fmt.Sprintf("%s %s%d", what, approx, n))
		}
	}
	slices.Sort(used)
	for i := range used {
		used[i] = used[i][1:]
	}
	if r.Unstated != (Counts{}) {
		used = append(used, "unstated")
	}
	return strings.Join(key, ",") + ": " + strings.Join(used, ", ")
}

func wantRows(t testing.TB, a *Account, want ...string) {
	t.Helper()
	var got []string
	for i := range a.Rows {
		got = append(got, text(&a.Rows[i]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func wantNotes(t testing.TB, got []string, parts ...string) {
	t.Helper()
	ok := len(got) == len(parts)
	for i := range got {
		ok = ok && strings.Contains(got[i], parts[i])
	}
	if !ok {
		t.Errorf("notes are %q, want %q", got, parts)
	}
}

var book = func() *metrics.PriceBook {
	b, err := metrics.ParsePriceBook([]byte(`{"format":1,"version":"v","currency":"USD","prices":[
		{"provider":"acme","model":"mind","rates":{"input_tokens":{"price":"3.0001","per":1000000},"input_cached_tokens":{"price":"0.7","per":3000000},"output_tokens":{"price":"7","per":1000000}}},
		{"provider":"voices","model":"*","rates":{"characters_count":{"price":"1","per":30000}}}]}`))
	if err != nil {
		panic(err)
	}
	return b
}()

func money(s *Sum) string { return fmt.Sprint(s.Totals(), slices.Sorted(maps.Keys(reasons(s)))) }

func reasons(s *Sum) map[string]bool {
	m := make(map[string]bool)
	for u := range s.Unpriced {
		m[u.Model+": "+u.Why] = true
	}
	return m
}
