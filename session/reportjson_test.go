package session_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
)

var update = flag.Bool("update", false, "write the golden files")

// goldenPrices has a price of some of what is spent.
func goldenPrices(t *testing.T) []*metrics.PriceBook {
	b, err := metrics.ParsePriceBook([]byte(`{"format":1,"version":"golden-1","currency":"EUR","prices":[
		{"provider":"acme","model":"mind-1","rates":{"input_tokens":{"price":"3","per":1000000},"output_tokens":{"price":"12","per":1000000}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return []*metrics.PriceBook{b}
}

// spent are events with everything in them that usage tells.
func spent() []metrics.Event {
	head := func(id, provider, name string) metrics.Header {
		return metrics.Header{ID: id, Metadata: metrics.Metadata{ModelProvider: provider, ModelName: name},
			Tags: metrics.Tags{SessionID: "session_X", AgentID: "desk", Task: "address", TurnID: "turn_1", Tool: "lookup"}}
	}
	return []metrics.Event{
		&metrics.LLM{Header: head("me_1", "acme", "mind-1"), PromptTokens: 120, PromptCachedTokens: 40, CacheCreationTokens: 10, CompletionTokens: 30},
		&metrics.Realtime{Header: head("me_2", "acme", "live-1"), InputTokens: 60, OutputTokens: 30, SessionDuration: time.Minute,
			InputTokenDetails: metrics.InputTokenDetails{AudioTokens: 10, TextTokens: 20, ImageTokens: 30, CachedTokens: 6,
				CachedTokensDetails: &metrics.CachedTokenDetails{AudioTokens: 1, TextTokens: 2, ImageTokens: 3}},
			OutputTokenDetails: metrics.OutputTokenDetails{TextTokens: 10, AudioTokens: 20}},
		&metrics.TTS{Header: head("me_3", "acme", "voice-1"), CharactersCount: 42, AudioDuration: 3 * time.Second, InputTokens: 8, OutputTokens: 9},
		&metrics.STT{Header: head("me_4", "other", "ears-1"), AudioDuration: 2500 * time.Millisecond, InputTokens: 5, OutputTokens: 6},
		&metrics.Interruption{Header: head("me_5", "livekit", "barge"), NumRequests: 3},
		&metrics.EOT{Header: head("me_6", "livekit", "turns"), NumRequests: 1},
	}
}

// fullReport is a report with everything in it that there can be.
func fullReport(t *testing.T) *session.Report {
	at := func(sec float64) time.Time {
		return time.Unix(1785000000, 0).Add(time.Duration(sec * float64(time.Second))).UTC()
	}
	when := func(sec float64) session.At { return session.At{CreatedAt: at(sec)} }
	d := func(sec float64) *time.Duration { x := time.Duration(sec * float64(time.Second)); return &x }
	info := model.Info{Label: "acme.LLM", Provider: "acme", Model: "mind-1"}
	md := func(name string) metrics.Metadata { return metrics.Metadata{ModelProvider: "acme", ModelName: name} }

	call := &chat.FunctionCall{Header: chat.Header{ID: "item_3", CreatedAt: at(6)}, CallID: "call_1", Name: "lookup", Arguments: `{"q":1}`, GroupID: "group_1", Extra: map[string]any{"sig": "x"}}
	output := &chat.FunctionCallOutput{Header: chat.Header{ID: "item_4", CreatedAt: at(7)}, CallID: "call_1", Name: "lookup", Output: "found", IsError: true, NoReply: true}
	user := &chat.Message{Header: chat.Header{ID: "item_2", CreatedAt: at(5)}, Role: chat.User, Confidence: 0.9,
		Content: []chat.Part{chat.Text("Look at this."), &chat.Image{URL: "https://example.com/a.png", MIMEType: "image/png", Detail: "low"},
			&chat.Audio{Data: []int16{1, -1}, Rate: 16000, Transcript: "Look at this."}},
		Metrics: chat.TurnMetrics{StartedSpeakingAt: at(2), StoppedSpeakingAt: at(4), TranscriptionDelay: d(.2), EndOfTurnDelay: d(.5), OnUserTurnCompletedDelay: d(.1), STT: md("ears-1")}}
	answer := &chat.Message{Header: chat.Header{ID: "item_5", CreatedAt: at(8)}, Role: chat.Assistant, Content: []chat.Part{chat.Text("I see.")}, Interrupted: true,
		Extra: map[string]any{"note": "y"},
		Metrics: chat.TurnMetrics{StartedSpeakingAt: at(8), StoppedSpeakingAt: at(9), LLMNodeTTFT: d(.3), LLMNodeTPS: 40, LLMNodeTTFS: d(.4), TTSNodeTTFB: d(.2), PlaybackLatency: d(.01),
			E2ELatency: d(1), AudioPlayed: d(.9), ProviderRequestIDs: []string{"req_1"}, LLM: md("mind-1"), TTS: md("voice-1")}}
	h := &chat.Context{}
	for _, it := range []chat.Item{&chat.Handoff{Header: chat.Header{ID: "item_1", CreatedAt: at(0)}, OldAgentID: "door", NewAgentID: "desk"}, user, call, output, answer,
		&chat.ConfigUpdate{Header: chat.Header{ID: "item_6", CreatedAt: at(9)}, Instructions: "Be brief.", ToolsAdded: []string{"a"}, ToolsRemoved: []string{"b"}}} {
		h.Add(it)
	}
	budget := session.Budget{Money: metrics.Money{Amount: metrics.Unit / 2, Currency: "EUR"}, Tokens: 1000, Duration: time.Minute}
	latency := session.TurnLatency{TurnID: "turn_1", Total: time.Second, Stages: []session.Stage{{Name: session.StageTranscript, Duration: 400 * time.Millisecond}, {Name: session.StageDecision, Duration: 600 * time.Millisecond}}}
	speech, _ := agent.NewSpeech("speech_1", false, nil)

	var c metrics.Collector
	for _, e := range spent() {
		c.Add(e)
	}
	usage, by := c.Account()
	books := goldenPrices(t)
	for _, groups := range by {
		metrics.Price(groups, at(0), books...)
	}
	by[metrics.ByTool] = append(by[metrics.ByTool], metrics.Group{Other: true, Usage: metrics.Usage{Models: usage.Models[:1]}})
	cost := usage.Cost(at(0), books...)
	return &session.Report{
		JobID: "AJ_X", RoomID: "RM_X", Room: "room", JobReason: "job crashed", JobError: errors.New("no disk"),
		SessionID: "session_X", Tags: map[string]string{"customer": "c1"}, StartedAt: at(0), EndedAt: at(60), Timestamp: at(61),
		CloseReason: session.ReasonError, CloseError: &model.Error{Kind: model.KindTimeout},
		Options: session.Options{SoftBudget: budget, HardBudget: budget, Recording: session.Recording{Transcript: opt.Some(true), Redact: true}},
		Events: []session.Event{
			session.UserStateChanged{At: when(1), Old: agent.UserListening, New: agent.UserSpeaking},
			session.AgentStateChanged{At: when(1), Old: agent.Listening, New: agent.Thinking},
			session.UserInputTranscribed{At: when(4.2), Transcript: "Look at this.", Final: true, Language: "en", SpeakerID: "s1"},
			session.UserTranscriptionTimeout{At: when(4), SpeechDuration: time.Second, SpeechStartedAt: at(2)},
			session.ConversationItemAdded{At: when(5), Item: user},
			session.SpeechCreated{At: when(5), Speech: speech, UserInitiated: true, Source: "say"},
			session.OverlappingSpeech{At: when(6), Interruption: true, AgentEnded: true, StartedAt: at(5.5), Duration: 300 * time.Millisecond},
			session.AgentFalseInterruption{At: when(6), Resumed: true},
			session.FunctionToolsExecuted{At: when(7), Calls: []*chat.FunctionCall{call}, Outputs: []*chat.FunctionCallOutput{output}},
			session.ToolExecutionUpdated{At: when(7), Call: call, ID: "call_1", Status: session.ToolDone, Message: "found"},
			session.ToolReplyUpdated{At: when(7), UpdateIDs: []string{"call_1"}, SpeechID: "speech_1", Status: session.ReplyCompleted},
			session.TurnCompleted{At: when(8), TurnLatency: latency},
			session.ErrorOccurred{At: when(8), ErrorEvent: model.ErrorEvent{Kind: "llm", Info: info, Err: errors.New("overloaded"), Recoverable: true}},
			session.ModelAvailabilityChanged{At: when(8), AvailabilityEvent: model.AvailabilityEvent{Kind: "llm", Info: info}},
			session.BudgetExceeded{At: when(9), Hard: true, Limit: session.LimitMoney, Budget: budget, Money: budget.Money, Tokens: 500, Duration: 9 * time.Second},
			session.Closed{At: when(60), Reason: session.ReasonError, Err: &model.Error{Kind: model.KindTimeout}},
		},
		History: h, Turns: []session.TurnLatency{latency}, Usage: usage, UsageBy: by, Cost: &cost,
		Standing: session.Standing{AgentJoinedAt: at(-1), AgentLeftAt: at(61), AudibleAt: at(1), CallerJoinedAt: at(0), CallerLeftAt: at(59), CallerPresent: 59 * time.Second,
			AgentSpoke: 20 * time.Second, CallerSpoke: 10 * time.Second},
	}
}

// goldenReports are the reports whose JSON is fixed, by the names of their files.
func goldenReports(t *testing.T) map[string]*session.Report {
	wordless := fullReport(t)
	wordless.Options.Recording = session.Recording{Transcript: opt.Off[bool]()}
	start := time.Unix(1785000000, 0).UTC()
	jobOnly := &session.Report{JobID: "AJ_X", RoomID: "RM_X", Room: "room", JobReason: "job crashed", JobError: errors.New("panic in entrypoint: oops"),
		StartedAt: start, EndedAt: start.Add(time.Second), Timestamp: start.Add(time.Second), Standing: session.Standing{AgentJoinedAt: start, AgentLeftAt: start.Add(time.Second)}}
	recovered := session.Recovered(&ledger.Session{Start: ledger.Start{SessionID: "session_X", JobID: "AJ_X", RoomID: "RM_X", Room: "room", At: start, Tags: map[string]string{"customer": "c1"}},
		Events: spent(), Last: start.Add(30 * time.Second)}, goldenPrices(t)...)
	recovered.Timestamp = start.Add(time.Hour)
	return map[string]*session.Report{"full": fullReport(t), "without_transcript": wordless, "without_session": jobOnly, "recovered": recovered}
}

func TestReportGolden(t *testing.T) {
	for name, r := range goldenReports(t) {
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := json.Indent(&got, data, "", "  "); err != nil {
			t.Fatal(err)
		}
		got.WriteByte('\n')
		path := filepath.Join("testdata", "report_"+name+".json")
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s is not what is made now; if readers of reports can live with that, raise ReportVersion and run with -update:\n%s", path, &got)
		}
	}
}

// TestReportWithoutTranscriptHasNoWords looks for what was said in the whole report.
func TestReportWithoutTranscriptHasNoWords(t *testing.T) {
	words := []string{"Look at this", "I see", "found", `\"q\"`, "Be brief", "example.com"}
	for name, want := range map[string]bool{"full": true, "without_transcript": false} {
		data, err := os.ReadFile(filepath.Join("testdata", "report_"+name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range words {
			if strings.Contains(string(data), w) != want {
				t.Errorf("%s: that %q is in it should be %t", name, w, want)
			}
		}
	}
}

// TestGoldenReportHasEveryEvent keeps the full report full.
func TestGoldenReportHasEveryEvent(t *testing.T) {
	have := map[string]bool{"MetricsCollected": true, "UsageUpdated": true} // which no report has
	for _, e := range fullReport(t).Events {
		have[reflect.TypeOf(e).Name()] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`func \((?:\w+ )?(\w+)\) EventType\(\)`).FindAllStringSubmatch(string(src), -1) {
			if n++; !have[m[1]] {
				t.Errorf("the full report has no %s", m[1])
			}
		}
	}
	if n != len(have) {
		t.Errorf("%d types of events, %d in the report", n, len(have))
	}
}

// fields are the fields of reports: "group type: field", as docs/report.md has them in tables.
type fields map[string]bool

// elsewhere says which group the value of a field is of.
var elsewhere = map[string]string{
	"report: options": "options", "report: standing": "standing", "report: turns": "turn", "report: usage": "usage", "report: usage_by": "usage_by",
	"report: cost": "cost", "report: chat_history": "history", "report: events": "event", "report: tags": "leaf",
	"options: soft_budget": "budget", "options: hard_budget": "budget", "budget: money": "money",
	"usage_by: usage": "usage", "usage_by: cost": "cost", "history: items": "item",
	"item message: content": "content", "item message: extra": "leaf", "item function_call: extra": "leaf",
	"event conversation_item_added: item": "item", "event function_tools_executed: function_calls": "item",
	"event function_tools_executed: function_call_outputs": "item", "event turn_completed: turn": "turn",
	"event error: error": "error", "event close: error": "error", "event budget_exceeded: budget": "budget", "event budget_exceeded: money": "money",
}

// byType are the groups whose objects say of which type they are.
var byType = map[string]bool{"usage": true, "item": true, "content": true, "event": true}

// take adds the fields of v, which is of a group. prefix is of nested objects that have no group of their own.
func (f fields) take(group, prefix string, v any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			f.take(group, prefix, x)
		}
	case map[string]any:
		if kind, ok := v["type"].(string); ok && byType[group] && prefix == "" {
			group += " " + kind
		}
		for k, x := range v {
			if group == "usage_by" && prefix == "" && k != "key" && k != "other" && k != "usage" && k != "cost" { // a dimension
				f[group+": "+k] = true
				f.take(group, "", x)
				continue
			}
			name := group + ": " + prefix + k
			to, ok := elsewhere[name]
			switch {
			case to == "leaf":
				f[name] = true
			case ok:
				f[name] = true
				f.take(to, "", x)
			default:
				switch x := x.(type) {
				case map[string]any:
					f.take(group, prefix+k+".", x)
				case []any:
					if len(x) > 0 && reflect.TypeOf(x[0]) == reflect.TypeFor[map[string]any]() {
						f.take(group, prefix+k+"[].", x)
					} else {
						f[name] = true
					}
				default:
					f[name] = true
				}
			}
		}
	}
}

var (
	quoted    = regexp.MustCompile("`([^`]+)`")
	tableMark = regexp.MustCompile(`^<!-- fields of (\w+) -->$`)
)

// documentedFields reads the tables behind "<!-- fields of group -->": the names in the first column are fields,
// those in the second, if the group has types, the types that have them; "all" is all of them.
func documentedFields(t *testing.T, path string) fields {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out, group := fields{}, ""
	ofAll, types := map[string][]string{}, map[string]map[string]bool{}
	add := func(name string) {
		if out[name] {
			t.Errorf("%s has %q twice", path, name)
		}
		out[name] = true
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if m := tableMark.FindStringSubmatch(line); m != nil {
			group = m[1]
			types[group] = map[string]bool{}
			continue
		}
		if !strings.HasPrefix(line, "|") {
			if line != "" {
				group = ""
			}
			continue
		}
		cells := strings.Split(line, "|")
		if group == "" || len(cells) < 4 {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
			switch {
			case !byType[group]:
				add(group + ": " + m[1])
			case strings.TrimSpace(cells[2]) == "all":
				ofAll[group] = append(ofAll[group], m[1])
			default:
				for _, kind := range quoted.FindAllStringSubmatch(cells[2], -1) {
					types[group][kind[1]] = true
					add(group + " " + kind[1] + ": " + m[1])
				}
			}
		}
	}
	for group, names := range ofAll {
		for kind := range types[group] {
			for _, name := range names {
				add(group + " " + kind + ": " + name)
			}
		}
	}
	return out
}

// TestEveryFieldIsDocumented compares the tables of the documents with the golden reports, both ways, and with
// the report of a real session.
func TestEveryFieldIsDocumented(t *testing.T) {
	documented := documentedFields(t, "../docs/report.md")
	maps.Copy(documented, documentedFields(t, "../docs/usage.md"))
	golden := fields{}
	for name := range goldenReports(t) {
		data, err := os.ReadFile(filepath.Join("testdata", "report_"+name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		golden.add(t, data)
	}
	for _, f := range slices.Sorted(maps.Keys(golden)) {
		if !documented[f] {
			t.Errorf("not documented: %s", f)
		}
	}
	for _, f := range slices.Sorted(maps.Keys(documented)) {
		if !golden[f] {
			t.Errorf("documented, but in no report: %s", f)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("weather", `{"location":"Paris"}`)}, scripted.Answer{Text: "Sunny"})
		c.opt.PriceBooks = priced(t)
		c.start(&agent.Agent{Tools: []llm.Tool{weather(0)}})
		c.says(0.5, 2.5, "Weather?")
		c.until(10)
		data, err := json.Marshal(c.close())
		if err != nil {
			t.Fatal(err)
		}
		real := fields{}
		real.add(t, data)
		for _, f := range slices.Sorted(maps.Keys(real)) {
			if !golden[f] {
				t.Errorf("a session has %s, the golden reports have not", f)
			}
		}
		if len(real) < 80 {
			t.Errorf("the session has only %d fields", len(real))
		}
	})
}

func (f fields) add(t *testing.T, report []byte) {
	t.Helper()
	var doc any
	if err := json.Unmarshal(report, &doc); err != nil {
		t.Fatal(err)
	}
	f.take("report", "", doc)
}
