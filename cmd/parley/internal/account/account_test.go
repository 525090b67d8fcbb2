package account

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/metrics"
	live "github.com/parley-go/parley/session"
)

func TestRowsOfALedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	write(t, path, newCall("a", noon, map[string]string{"customer": "x"}), newCall("b", noon.Add(11*time.Hour+58*time.Minute), nil))
	for _, c := range []struct {
		by   string
		want []string
	}{
		{"model", []string{"alto: chars 66", "mind: in ~400/600, out ~14/34", "mind-2: in 100, out 10", "one: heard 120"}},
		{"type,provider", []string{"llm_usage,acme: in ~400/700, out ~14/44", "tts_usage,voices: chars 66", "stt_usage,ears: heard 120"}},
		{"day,provider", []string{"2026-07-01,acme: in ~200/450, out ~7/32", "2026-07-01,ears: heard 60", "2026-07-01,voices: chars 33",
			"2026-07-02,acme: in ~200/250, out ~7/12", "2026-07-02,ears: heard 60", "2026-07-02,voices: chars 33"}},
		{"month", []string{"2026-07: in ~400/700, out ~14/44, chars 66, heard 120"}},
		{"agent", []string{"bob: in 100, out 10", "kelly: in ~400/600, out ~14/34, chars 66, heard 120"}},
		{"tool", []string{"-: in 300, out 30, chars 66, heard 120", "weather: in ~400/400, out ~14/14"}},
		{"outcome,model", []string{"delivered,alto: chars 66", "delivered,mind: in 200, out 20", "delivered,one: heard 120",
			"discarded,mind-2: in 100, out 10", "interrupted,mind: in ~400/400, out ~14/14"}},
		{"source", []string{"estimated: in ~400/400, out ~14/14", "measured: chars 66", "provider: in 300, out 30, heard 120"}},
		{"tag:customer", []string{"-: in ~200/350, out ~7/22, chars 33, heard 60", "x: in ~200/350, out ~7/22, chars 33, heard 60"}},
		{"session,job,room", []string{"a,Ja,room a: in ~200/350, out ~7/22, chars 33, heard 60", "b,Jb,room b: in ~200/350, out ~7/22, chars 33, heard 60"}},
	} {
		t.Run(c.by, func(t *testing.T) {
			a := read(t, Query{By: by(t, strings.Split(c.by, ",")...)}, path)
			wantRows(t, a, c.want...)
			if a.Total.Sessions != 2 || a.Total.Counts[InputTokens] != 700 || len(a.Notes.Damage)+len(a.Notes.Remarks) > 0 {
				t.Errorf("total is %s of %d sessions, notes are %v", text(&a.Total), a.Total.Sessions, a.Notes)
			}
		})
	}
}

func TestWhatIsAskedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	write(t, path, newCall("a", noon, map[string]string{"customer": "x"}), newCall("b", noon.Add(11*time.Hour+58*time.Minute), map[string]string{"customer": "y"}))
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones here")
	}
	all := "llm_usage: in ~400/700, out ~14/44"
	for name, c := range map[string]struct {
		q    Query
		want []string
	}{
		"type":     {Query{Types: []string{"llm_usage"}}, []string{all}},
		"provider": {Query{Providers: []string{"nobody", "ac*"}}, []string{all}},
		"model":    {Query{Models: []string{"mind"}}, []string{"llm_usage: in ~400/600, out ~14/34"}},
		"models":   {Query{Models: []string{"mind*"}}, []string{all}},
		"tag":      {Query{Tags: map[string]string{"customer": "x"}, Types: []string{"stt_usage"}}, []string{"stt_usage: heard 60"}},
		"no tag":   {Query{Tags: map[string]string{"customer": ""}}, nil},
		"since":    {Query{Since: noon.Add(3 * time.Minute), Types: []string{"llm_usage"}}, []string{"llm_usage: in ~200/400, out ~7/27"}},
		"until":    {Query{Until: noon.Add(3 * time.Minute)}, []string{"llm_usage: in ~200/300, out ~7/17"}},
		"zone":     {Query{Zone: berlin, By: by(t, "day"), Types: []string{"stt_usage"}}, []string{"2026-07-01: heard 60", "2026-07-02: heard 60"}},
	} {
		if c.q.By == nil {
			c.q.By = by(t, "type")
		}
		t.Run(name, func(t *testing.T) { wantRows(t, read(t, c.q, path), c.want...) })
	}
}

func TestASessionCountsOnce(t *testing.T) {
	a, b, c := newCall("a", noon, nil), newCall("b", noon, nil), newCall("c", noon, nil)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ledger"), a, b)
	b.file(t, dir, nil)
	c.file(t, dir, nil)
	file(t, dir, "c again", c.report(), func(doc map[string]any) { doc["timestamp"] = 1.8e9 })
	early := c.report()
	early.EndedAt, early.Timestamp, early.Usage.Models = time.Time{}, noon.Add(time.Minute), early.Usage.Models[:1]
	file(t, dir, "c early", early, nil)
	recovered := c.report() // delivered once more after a kill, as the ledger had it
	recovered.Recovered, recovered.StartedAt = true, noon.Add(-3*time.Millisecond)
	file(t, dir, "c recovered", recovered, nil)
	later := *c
	later.start = noon.Add(time.Hour) // was started again
	file(t, dir, "c later", later.report(), nil)
	got := read(t, Query{By: by(t, "session")}, dir, filepath.Join(dir, "ledger"), filepath.Join(dir, "b.json"))
	wantRows(t, got, "a: in ~200/350, out ~7/22, chars 33, heard 60", "b: in ~200/350, out ~7/22, chars 33, heard 60",
		"c: in ~400/700, out ~14/44, chars 66, heard 120")
	wantNotes(t, got.Notes.Remarks)
}

func TestEventsCountOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "one"), newCall("a", noon, nil))
	data, err := os.ReadFile(filepath.Join(dir, "one"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "copy"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRows(t, read(t, Query{By: by(t, "type")}, dir), "llm_usage: in ~200/350, out ~7/22", "tts_usage: chars 33", "stt_usage: heard 60")
}

func TestReportOrLedger(t *testing.T) {
	whole, half := newCall("a", noon, nil), newCall("a", noon, nil)
	half.events = half.events[:1]
	running := newCall("a", noon, nil)
	running.length = 0
	halfRunning := *half
	halfRunning.length = 0
	other := *whole
	other.start = noon.Add(24 * time.Hour)
	// By tool and outcome a report does not tell all, so that it shows which side counted.
	const fromLedger, fromReport = "in ~200/350, out ~7/22, chars 33, heard 60", "in 350, out 22, chars 33, heard 60, unstated"
	for name, c := range map[string]struct {
		ledger, report *call
		want           string
		notes          []string
	}{
		"equal":                        {whole, whole, fromLedger, nil},
		"the ledger has lost some":     {half, whole, fromReport, []string{"differ", "does not tell all", "estimated"}},
		"the final report has less":    {whole, half, "in 100, out 10", []string{"differ"}},
		"a report on the way":          {whole, &halfRunning, fromLedger, nil},
		"a report on the way has more": {half, running, fromReport, []string{"differ", "before the end", "does not tell all", "estimated"}},
		"two runs":                     {half, &other, "in 450, out 32, chars 33, heard 60, unstated", []string{"does not tell all", "estimated"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "ledger"), c.ledger)
			c.report.file(t, dir, nil)
			a := read(t, Query{By: by(t, "tool", "outcome")}, dir)
			if got := strings.TrimPrefix(text(&a.Total), ": "); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			wantNotes(t, a.Notes.Remarks, c.notes...)
		})
	}
}

func TestAReportMadeFromALedger(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger")
	l, err := ledger.Open(path, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, again := newCall("a", noon, nil), newCall("a", noon.Add(time.Hour), nil)
	for _, e := range again.events {
		e.Head().ID += "again"
	}
	for _, c := range []*call{a, again} { // it was started twice, and then killed
		l.Begin(ledger.Start{SessionID: "a", At: c.start})
		for _, e := range c.events {
			l.Record(t.Context(), e)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dead, err := ledger.Recover(path)
	if err != nil || len(dead) != 1 {
		t.Fatalf("recovered %v, %v", dead, err)
	}
	file(t, dir, "recovered", live.Recovered(dead[0]), nil)
	for _, paths := range [][]string{{path}, {filepath.Join(dir, "recovered.json")}, {dir}} {
		if got := read(t, Query{By: by(t, "source")}, paths...); got.Total.Counts[InputTokens] != 700 || len(got.Notes.Remarks) > 0 {
			t.Errorf("%v: %s, %v", paths, text(&got.Total), got.Notes)
		}
	}
	// It may also have been delivered whole before the kill.
	file(t, dir, "whole", again.report(), nil)
	file(t, dir, "whole 1", a.report(), nil)
	if got := read(t, Query{By: by(t, "outcome")}, dir); got.Total.Counts[InputTokens] != 700 {
		t.Errorf("with both reports: %s", text(&got.Total))
	}
}

func TestWhatAReportAloneTells(t *testing.T) {
	dir := t.TempDir()
	newCall("a", noon, map[string]string{"customer": "x"}).file(t, dir, nil)
	for _, c := range []struct {
		by   string
		want []string
	}{
		{"tag:customer", []string{"x: in ~200/350, out ~7/22, chars 33, heard 60"}},
		{"source", []string{"estimated: in ~200/200, out ~7/7", "measured: chars 33", "provider: in 150, out 15, heard 60"}},
		{"agent", []string{"bob: in 50, out 5", "kelly: in ~200/300, out ~7/17, chars 33, heard 60"}},
		{"tool", []string{"-: in 150, out 15, chars 33, heard 60, unstated", "weather: in 200, out 7, unstated"}},
		// Every model but one did all for one agent, with one outcome, in no tool; so they are known together.
		{"model,agent,outcome,tool", []string{"alto,kelly,delivered,-: chars 33", "mind,kelly,?,?: in 300, out 17, unstated",
			"mind-2,bob,discarded,-: in 50, out 5", "one,kelly,delivered,-: heard 60"}},
	} {
		t.Run(c.by, func(t *testing.T) {
			a := read(t, Query{By: by(t, strings.Split(c.by, ",")...)}, dir)
			wantRows(t, a, c.want...)
			if a.Total.Counts[InputTokens] != 350 {
				t.Errorf("total is %s", text(&a.Total))
			}
		})
	}
}

func TestAnOldReportDoesNotTell(t *testing.T) {
	dir := t.TempDir()
	newCall("a", noon, map[string]string{"customer": "x"}).file(t, dir, version4)
	a := read(t, Query{By: by(t, "agent", "tag:customer")}, dir)
	wantRows(t, a, "?,?: in 350, out 22, chars 33, heard 60, unstated")
	wantNotes(t, a.Notes.Remarks, "which does not tell all that was asked", "which does not tell what of it is estimated")
	a = read(t, Query{Tags: map[string]string{"customer": "x"}}, dir)
	wantRows(t, a)
	wantNotes(t, a.Notes.Remarks, "left out: their tags are not known")
}

func TestAReportOverMidnight(t *testing.T) {
	dir := t.TempDir()
	newCall("a", noon.Add(11*time.Hour+58*time.Minute), nil).file(t, dir, nil)
	a := read(t, Query{By: by(t, "day")}, dir)
	wantRows(t, a, "2026-07-01: in ~200/350, out ~7/22, chars 33, heard 60")
	wantNotes(t, a.Notes.Remarks, "1 session over midnight")
	wantNotes(t, read(t, Query{By: by(t, "model")}, dir).Notes.Remarks)
}

func TestAReportWithoutASession(t *testing.T) {
	dir := t.TempDir()
	l, err := ledger.Open(filepath.Join(dir, "ledger"), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l.Record(t.Context(), &metrics.LLM{Header: metrics.Header{ID: "1", Timestamp: noon}, PromptTokens: 5}) // of no session
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, job := range []string{"1", "2"} { // nobody came
		file(t, dir, job, &live.Report{JobID: job, StartedAt: noon, EndedAt: noon.Add(time.Minute), Timestamp: noon.Add(time.Minute)}, nil)
	}
	a := read(t, Query{By: by(t, "session")}, dir)
	wantRows(t, a, "-: in 5")
	wantNotes(t, a.Notes.Remarks)
	if a.Total.Sessions != 0 {
		t.Errorf("%d sessions", a.Total.Sessions)
	}
}

func TestDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger")
	write(t, path, newCall("a", noon, nil))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, []byte(`"a.1"`))+1] = 'X'
	for name, content := range map[string]string{
		"ledger": string(data[:len(data)-3]), "torn.json": `{"session_id":"t","usage":[{"type":"llm_us`, "other.json": `{"a":1}`,
		"list.json":    `[1]`,
		"unknown.json": `{"session_id":"u","usage":[{"type":"smell_usage","model":"m"},{"type":"llm_usage","input_tokens":5}]}`,
		"minus.json":   `{"session_id":"w","usage":[{"type":"llm_usage","model":"m","input_tokens":-5,"output_tokens":7}]}`,
		"notes.txt":    "nothing", ".hidden.json": "{",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := read(t, Query{By: by(t, "session")}, dir)
	wantRows(t, a, "a: in 150, out 15, chars 33, heard 60", "u: in 5, unstated", "w: out 7, unstated")
	wantNotes(t, a.Notes.Damage, "are damaged", "input_tokens of session w is negative and counts as zero", "torn.json: unexpected EOF", `unknown.json: usage of session u is not counted: metrics: decode usage: line 0: unknown type "smell_usage"`)
	wantNotes(t, a.Notes.Remarks, "bytes at its end", "list.json is passed over", "other.json is passed over", "before the end", "does not tell what of it is estimated")

	for _, name := range []string{"torn.json", "other.json", "none"} { // by their names they are errors
		if _, err := Read([]string{filepath.Join(dir, name)}, Query{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMuchDamageIsToldInShort(t *testing.T) {
	dir := t.TempDir()
	for i := range 50 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i, ".json")), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if d := read(t, Query{}, dir).Notes.Damage; len(d) != maxNotes+1 || d[maxNotes] != "and 30 more of the kind" {
		t.Errorf("%d lines: %q", len(d), d)
	}
}

func TestOlderFilesOfALedger(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "ledger")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(path, ledger.Options{MaxSize: 400})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		l.Record(t.Context(), &metrics.LLM{Header: metrics.Header{ID: fmt.Sprint(i)}, PromptTokens: 1})
		if err := l.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	old, _ := filepath.Glob(path + ".0*")
	if len(old) < 2 {
		t.Fatalf("older files: %v", old)
	}
	for _, paths := range [][]string{{dir}, {path}, {path, dir}} {
		if got := read(t, Query{}, paths...).Total.Counts[InputTokens]; got != 10 {
			t.Errorf("%v: %d", paths, got)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for _, paths := range [][]string{{dir}, {path}} {
		if got := read(t, Query{}, paths...).Total.Counts[InputTokens]; got < 2 || got > 10 {
			t.Errorf("%v without the newest: %d", paths, got)
		}
	}
}

func TestCostIsThatOfTheReports(t *testing.T) {
	a, b := newCall("a", noon, nil), newCall("b", noon, nil)
	var want metrics.Amount
	for _, c := range []*call{a, b} {
		r := c.report()
		want += r.Usage.Cost(noon, book).Total("USD")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ledger"), a)
	b.file(t, dir, nil)
	for _, d := range [][]string{nil, {"model"}, {"agent"}, {"tool", "outcome"}, {"source"}, {"session"}, {"turn"}, {"day"}} {
		got := read(t, Query{By: by(t, d...), Books: []*metrics.PriceBook{book}}, dir)
		if s := money(&got.Total.Sum); s != fmt.Sprintf("[%s USD] [mind-2: no price for the model one: no price for the model]", want) {
			t.Errorf("by %v: %s, want %s", d, s, want)
		}
		var sum metrics.Amount
		for _, r := range got.Rows {
			sum += r.Costs["USD"]
		}
		if sum != want {
			t.Errorf("by %v the rows add up to %s, want %s", d, sum, want)
		}
	}
	rows := read(t, Query{By: by(t, "model"), Books: []*metrics.PriceBook{book}}, dir).Rows
	for i, want := range []string{"[0.0022 USD] []", "", "[] [mind-2: no price for the model]", "[] [one: no price for the model]"} {
		if got := money(&rows[i].Sum); want != "" && got != want {
			t.Errorf("row %s costs %s, want %s", text(&rows[i]), got, want)
		}
	}
	if !rows[1].CostEstimated || rows[0].CostEstimated {
		t.Error("what is estimated of the costs is not told")
	}
}

func TestEveryNumberOfUsageIsCounted(t *testing.T) {
	for _, m := range []metrics.ModelUsage{metrics.LLMUsage{}, metrics.TTSUsage{}, metrics.STTUsage{}, metrics.InterruptionUsage{}, metrics.EOTUsage{}} {
		v := reflect.New(reflect.TypeOf(m)).Elem()
		numbers := 0
		for i := range v.NumField() {
			if f := v.Field(i); f.Kind() == reflect.String {
				f.SetString("name")
			} else {
				numbers++
				f.SetInt(int64(i))
			}
		}
		line := v.Interface().(metrics.ModelUsage)
		c := countsOf(line)
		for _, n := range c {
			if n > 0 {
				numbers--
			}
		}
		if back := c.usage(line.Key()); numbers != 0 || back != line {
			t.Errorf("%v became %v", line, back)
		}
	}
}
