package session_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/session"
)

func TestReportEqualsWhatTheModelsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("weather", `{"location":"Paris"}`)}, scripted.Answer{Text: "Sunny"}, scripted.Answer{Text: "Bye now"})
		c.start(&agent.Agent{Tools: []llm.Tool{weather(0)}})
		c.says(0.5, 2.5, "Weather?")
		c.says(8, 9, "Bye")
		c.until(20)
		rep := c.close()

		model, _ := rep.Usage.LLM("scripted", "scripted")
		if stated := c.llm.Stated(); model.InputTokens != stated.PromptTokens || model.OutputTokens != stated.CompletionTokens || model.OutputTokens == 0 {
			t.Errorf("LLM usage %+v, the model served %+v", model, stated)
		}
		voice, _ := rep.Usage.TTS("script", "tts")
		if voice.CharactersCount != c.tts.chars || voice.CharactersCount == 0 {
			t.Errorf("TTS usage %+v, the model was sent %d characters", voice, c.tts.chars)
		}
		ears, _ := rep.Usage.STT("script", "stt")
		if ears.AudioDuration != c.stt.heard || ears.AudioDuration == 0 {
			t.Errorf("STT usage %+v, the model was sent %v", ears, c.stt.heard)
		}
		// The report is the sum of the events.
		var sum metrics.Collector
		for _, e := range c.spent {
			sum.Add(e)
		}
		a, _ := json.Marshal(sum.Usage())
		b, _ := json.Marshal(rep.Usage)
		if string(a) != string(b) {
			t.Errorf("usage in the report %s, sum of the events %s", b, a)
		}
	})
}

func TestReportJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.until(7)
		rep := c.close()
		data, err := json.Marshal(rep)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Version     int     `json:"version"`
			Duration    float64 `json:"duration"`
			CloseReason string  `json:"close_reason"`
			Usage       []struct {
				Type     string `json:"type"`
				Provider string `json:"provider"`
			} `json:"usage"`
			Events []struct {
				Type      string  `json:"type"`
				CreatedAt float64 `json:"created_at"`
			} `json:"events"`
			History struct {
				Items []struct {
					Type string `json:"type"`
					Role string `json:"role"`
				} `json:"items"`
			} `json:"chat_history"`
			Turns []struct {
				Total   float64 `json:"total"`
				Slowest string  `json:"slowest"`
			} `json:"turns"`
		}
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		if doc.Version != session.ReportVersion || doc.Duration != 7 || doc.CloseReason != "user_initiated" {
			t.Errorf("head of the report: %+v", doc)
		}
		var kinds []string
		for _, u := range doc.Usage {
			kinds = append(kinds, u.Type)
		}
		if len(kinds) != 3 || kinds[0] != "llm_usage" || kinds[1] != "tts_usage" || kinds[2] != "stt_usage" {
			t.Errorf("usage lines %v", kinds)
		}
		if n := len(doc.Events); n == 0 || doc.Events[n-1].Type != "close" || doc.Events[0].CreatedAt == 0 {
			t.Errorf("%d events, the last is not the close", n)
		}
		for _, e := range doc.Events {
			if e.Type == "metrics_collected" || e.Type == "session_usage_updated" {
				t.Errorf("the report holds a %s event", e.Type)
			}
		}
		if len(doc.History.Items) != 3 || doc.History.Items[2].Role != "assistant" {
			t.Errorf("history %+v", doc.History)
		}
		if len(doc.Turns) != 1 || doc.Turns[0].Total != 1 || doc.Turns[0].Slowest != "first_audio" {
			t.Errorf("turns %+v", doc.Turns)
		}
	})
}

func TestReportUsageByJSON(t *testing.T) {
	var spent metrics.Collector
	spent.Add(&metrics.LLM{Header: metrics.Header{Metadata: metrics.Metadata{ModelName: "m", ModelProvider: "p"}, Outcome: metrics.Discarded, Source: metrics.Estimated,
		Tags: metrics.Tags{AgentID: "kelly", Task: "email", TurnID: "turn_1", Tool: "sum"}}, PromptTokens: 3})
	usage, by := spent.Account()
	for want, rep := range map[string]*session.Report{
		strings.ReplaceAll(`{"agents":[{"key":"kelly",#}],"outcomes":[{"key":"discarded",#}],"sources":[{"key":"estimated",#}],"tasks":[{"key":"email",#}],"tools":[{"key":"sum",#}],"turns":[{"key":"turn_1",#}]}`,
			"#", `"usage":[{"type":"llm_usage","provider":"p","model":"m","input_tokens":3}]`): {Usage: usage, UsageBy: by},
		`{"agents":[],"outcomes":[],"sources":[],"tasks":[],"tools":[],"turns":[]}`: {},
	} {
		data, err := json.Marshal(rep)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Tags    json.RawMessage `json:"tags"`
			UsageBy json.RawMessage `json:"usage_by"`
		}
		if err := json.Unmarshal(data, &doc); err != nil || string(doc.UsageBy) != want || string(doc.Tags) != "{}" {
			t.Errorf("%v: tags %s, usage_by %s, want %s", err, doc.Tags, doc.UsageBy, want)
		}
	}
}

// A clock that was set back while a session ran does not make its time negative.
func TestRecoveredReportOfAClockThatWentBack(t *testing.T) {
	at := time.Unix(2_000_000_000, 0)
	r := session.Recovered(&ledger.Session{Start: ledger.Start{SessionID: "s", At: at}, Last: at, End: &ledger.End{At: at.Add(-time.Hour)}})
	if d := r.Duration(); d != 0 {
		t.Errorf("it ran for %v", d)
	}
}
