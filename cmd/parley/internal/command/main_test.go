package command

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
	"github.com/parley-go/parley/tts"
	ttsscripted "github.com/parley-go/parley/tts/scripted"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const prices = `{"format":1,"version":"2026-07","currency":"USD","prices":[
  {"provider":"acme","model":"mind","rates":{"input_tokens":{"price":"3","per":1000000},"output_tokens":{"price":"12","per":1000000}}}]}`

// folder has what three calls have left, as the code of sessions and ledgers writes it: of the first
// there are a ledger and a report, of the second a ledger, which ends in a torn record, and of the third a
// report of an older version. They begin at midnight of 2000-01-01, an hour and a day later.
func folder(t testing.TB) string {
	dir := t.TempDir()
	put(t, dir, "prices.json", prices)
	synctest.Test(t.(*testing.T), func(t *testing.T) {
		l, err := ledger.Open(filepath.Join(dir, "ledger"), ledger.Options{})
		if err != nil {
			t.Fatal(err)
		}
		rep := call(t, l, "acme")
		put(t, dir, "reports/one.json", rep)
		time.Sleep(time.Hour)
		call(t, l, "globex")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(23 * time.Hour)
		memory, err := ledger.Open("", ledger.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := json.Unmarshal([]byte(call(t, memory, "acme")), &doc); err != nil {
			t.Fatal(err)
		}
		doc["version"] = 4
		delete(doc, "tags")
		delete(doc, "usage_by")
		old, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		put(t, dir, "reports/old/three.json", string(old))
		if err := memory.Close(); err != nil {
			t.Fatal(err)
		}
	})
	f, err := os.OpenFile(filepath.Join(dir, "ledger"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("\xebPL1torn"); err != nil {
		t.Fatal(err)
	}
	return dir
}

func put(t testing.TB, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// call is a conversation of two turns, with a tool and a voice. It returns the report.
func call(t *testing.T, l *ledger.Ledger, customer string) string {
	t.Helper()
	mind := llm.New(scripted.New(&scripted.Options{Info: model.Info{Label: "acme.LLM", Provider: "acme", Model: "mind"}, Answers: []scripted.Answer{
		{Calls: []driver.ToolCall{{CallID: "call_1", Name: "weather", Arguments: "{}"}}, Usage: &driver.Usage{PromptTokens: 900, CompletionTokens: 20}},
		{Text: "It is sunny.", Usage: &driver.Usage{PromptTokens: 1000, PromptCachedTokens: 800, CompletionTokens: 30}},
		{Text: "You are welcome.", Usage: &driver.Usage{PromptTokens: 1100, PromptCachedTokens: 900, CompletionTokens: 40}},
	}}), nil)
	helper := llm.New(scripted.New(&scripted.Options{Info: model.Info{Label: "acme.LLM", Provider: "acme", Model: "helper"}, Answers: []scripted.Answer{
		{Text: "Sunny.", NoUsage: true}}}), nil)
	weather := llm.NewTool("weather", "The weather.", func(ctx context.Context, rc *agent.RunContext, _ struct{}) (string, error) {
		answer, _, err := helper.Chat(ctx, &llm.Request{Messages: rc.Session().History()}).Collect()
		return answer, err
	})
	voice := tts.New(ttsscripted.New(&ttsscripted.Options{Info: model.Info{Label: "voices.TTS", Provider: "voices", Model: "alto"}}), nil)
	s := session.New(session.Options{LLM: mind, TTS: voice, Recorder: l, Tags: map[string]string{"customer": customer}, Logger: slog.New(slog.DiscardHandler)})
	l.Begin(ledger.Start{SessionID: s.ID(), Room: "room of " + customer, Tags: s.Tags()})
	a := &agent.Agent{ID: "kelly", Instructions: "Be brief.", Tools: []llm.Tool{weather}}
	if err := s.Start(t.Context(), a, &sessiontest.Transport{Out: sessiontest.NewOutput(16000)}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"How is the weather?", "Thanks!"} {
		if _, err := s.Run(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	rep, err := s.Report()
	if err != nil {
		t.Fatal(err)
	}
	l.End(s.ID(), ledger.End{Reason: string(rep.CloseReason)})
	data, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// parley runs the command line in dir, whose name it takes out of what is printed.
func parley(t testing.TB, dir string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	status = Run(args, &out, &errs)
	clean := func(s string) string { return strings.ReplaceAll(s, dir+string(filepath.Separator), "") }
	return clean(out.String()), clean(errs.String()), status
}

// golden compares got with a golden file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (go test -update writes it)\ngot\n%s\nwant\n%s", path, got, want)
	}
}
