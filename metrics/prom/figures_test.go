package prom

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	promodel "github.com/prometheus/common/model"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/llm"
	llmscripted "github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/report"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
	"github.com/parley-go/parley/stt"
	sttscripted "github.com/parley-go/parley/stt/scripted"
	"github.com/parley-go/parley/tts"
	ttsscripted "github.com/parley-go/parley/tts/scripted"
	"github.com/parley-go/parley/vad"
	vadscripted "github.com/parley-go/parley/vad/scripted"
)

func newFigures() *Figures {
	return New(Worker{Node: "node", Load: func() float64 { return 0.25 }, Jobs: func() int { return 3 }, Connected: func() bool { return true },
		Ledger: func() ledger.Stats { return ledger.Stats{Events: 7, Lost: 2, Failures: 5} },
		Reports: func() []report.Stats {
			return []report.Stats{{Sink: "dir", Delivered: 4, Failed: 1}, {Sink: "hook", Backlog: report.Backlog{Waiting: 3, Dead: 6}}}
		}})
}

// scraped is a scrape, read as Prometheus reads it.
type scraped map[string]*dto.MetricFamily

func scrape(t *testing.T, f *Figures) scraped {
	t.Helper()
	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	parser := expfmt.NewTextParser(promodel.LegacyValidation)
	s, err := parser.TextToMetricFamilies(rec.Body)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// of is the one series of a figure that has these labels, given as name, value, ...; nil without.
func (s scraped) of(name string, labels ...string) *dto.Metric {
	for _, m := range s[name].GetMetric() {
		fits := true
		for i := 0; i < len(labels); i += 2 {
			fits = fits && slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool {
				return l.GetName() == labels[i] && l.GetValue() == labels[i+1]
			})
		}
		if fits {
			return m
		}
	}
	return nil
}

func (s scraped) counter(name string, labels ...string) float64 {
	return s.of(name, labels...).GetCounter().GetValue()
}

func (s scraped) wantCounter(t *testing.T, want float64, name string, labels ...string) {
	t.Helper()
	if got := s.counter(name, labels...); got < want-1e-9 || got > want+1e-9 {
		t.Errorf("%s %v is %v, want %v", name, labels, got, want)
	}
}

func (s scraped) wantHistogram(t *testing.T, count uint64, sum float64, name string, labels ...string) {
	t.Helper()
	h := s.of(name, labels...).GetHistogram()
	if got := h.GetSampleSum(); h.GetSampleCount() != count || got < sum-1e-9 || got > sum+1e-9 {
		t.Errorf("%s %v has %d of together %v, want %d of %v", name, labels, h.GetSampleCount(), got, count, sum)
	}
}

// call is a short call whose figures are f's.
func call(t *testing.T, f *Figures) *session.Report {
	t.Helper()
	room := sessiontest.New()
	s := session.New(session.Options{
		VAD: vad.New(vadscripted.New(nil)),
		STT: stt.New(sttscripted.New(&sttscripted.Options{Texts: []string{"What is new?"}, UsageEvery: time.Second}), nil),
		LLM: llm.New(llmscripted.New(&llmscripted.Options{Answers: []llmscripted.Answer{{Text: "Nothing at all.", TTFT: 200 * time.Millisecond}}}), nil),
		TTS: tts.New(ttsscripted.New(&ttsscripted.Options{Words: true}), nil), Logger: slog.New(slog.DiscardHandler),
	})
	f.Observe(s)
	if err := s.Start(t.Context(), &agent.Agent{}, room); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	room.In.Speak(now.Add(time.Second), now.Add(3*time.Second))
	time.Sleep(15 * time.Second)
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	rep, err := s.Report()
	if err != nil {
		t.Fatal(err)
	}
	f.Ended(rep)
	return rep
}

func TestScrapeAgreesWithTheReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFigures()
		rep := call(t, f)
		f.JobEnded(Success, 20*time.Second)
		f.JobEnded(Failed, time.Second)
		f.JobDeclined()
		s := scrape(t, f)

		if len(rep.Usage.Models) != 3 || len(rep.Turns) != 1 {
			t.Fatalf("%d usage lines and %d turns, want a call with 3 models and a turn", len(rep.Usage.Models), len(rep.Turns))
		}
		want := 0
		for _, line := range rep.Usage.Models {
			k := line.Key()
			model := []string{"model_provider", k.Provider, "model_name", k.Model, "outcome", "delivered"}
			check := func(name string, n float64) {
				want++
				s.wantCounter(t, n, "lk_agents_usage_"+name+"_total", model...)
			}
			switch u := line.(type) {
			case metrics.LLMUsage:
				check("llm_input_tokens", float64(u.InputTokens))
				check("llm_output_tokens", float64(u.OutputTokens))
			case metrics.TTSUsage:
				check("tts_characters", float64(u.CharactersCount))
				check("tts_audio_duration_seconds", u.AudioDuration.Seconds())
			case metrics.STTUsage:
				check("stt_audio_duration_seconds", u.AudioDuration.Seconds())
			}
		}
		if want != 5 {
			t.Errorf("checked %d counters, want 5", want)
		}

		s.wantHistogram(t, 1, rep.Turns[0].Total.Seconds(), "lk_agents_turn_latency_seconds")
		for _, stage := range rep.Turns[0].Stages {
			s.wantHistogram(t, 1, stage.Duration.Seconds(), "lk_agents_turn_stage_seconds", "stage", stage.Name)
		}
		s.wantHistogram(t, 1, rep.Duration().Seconds(), "lk_agents_session_duration_seconds", "close_reason", "user_initiated")
		s.wantHistogram(t, 1, rep.Standing.AgentPresent(rep.Timestamp).Seconds(), "lk_agents_agent_present_seconds")
		s.wantHistogram(t, 1, rep.Standing.CallerPresent.Seconds(), "lk_agents_caller_present_seconds")
		s.wantCounter(t, rep.Standing.AgentSpoke.Seconds(), "lk_agents_spoken_seconds_total", "speaker", "agent")
		s.wantCounter(t, rep.Standing.CallerSpoke.Seconds(), "lk_agents_spoken_seconds_total", "speaker", "caller")
		s.wantHistogram(t, 1, 0.2, "lk_agents_llm_ttft_seconds")
		s.wantHistogram(t, 2, 21, "lk_agents_job_duration_seconds")
		for _, r := range []string{"success", "failed", "declined"} {
			s.wantCounter(t, 1, "lk_agents_jobs_total", "result", r)
		}
		s.wantCounter(t, 7, "lk_agents_ledger_events_total")
		s.wantCounter(t, 2, "lk_agents_ledger_lost_events_total")
		s.wantCounter(t, 5, "lk_agents_ledger_write_failures_total")
		s.wantCounter(t, 4, "lk_agents_reports_total", "sink", "dir", "result", "delivered")
		s.wantCounter(t, 1, "lk_agents_reports_total", "sink", "dir", "result", "failed")
		s.wantCounter(t, 6, "lk_agents_report_dead_letters_total", "sink", "hook")
		if got := s.of("lk_agents_report_outbox_waiting", "sink", "hook").GetGauge().GetValue(); got != 3 {
			t.Errorf("%v reports wait", got)
		}
		for name, want := range map[string]float64{"worker_load": 0.25, "active_job_count": 3, "child_process_count": 3, "worker_connected": 1} {
			if got := s.of("lk_agents_"+name, "nodename", "node").GetGauge().GetValue(); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
	})
}

// events are one of each kind of event that makes a figure.
func events(outcome metrics.Outcome, provider, name string) []metrics.Event {
	head := func() metrics.Header {
		return metrics.Header{Outcome: outcome, Metadata: metrics.Metadata{ModelProvider: provider, ModelName: name}}
	}
	details := metrics.InputTokenDetails{AudioTokens: 1, TextTokens: 2, ImageTokens: 3, CachedTokens: 6,
		CachedTokensDetails: &metrics.CachedTokenDetails{AudioTokens: 1, TextTokens: 2, ImageTokens: 3}}
	return []metrics.Event{
		&metrics.LLM{Header: head(), TTFT: time.Second, PromptTokens: 10, PromptCachedTokens: 4, CacheCreationTokens: 2, CompletionTokens: 5},
		&metrics.Realtime{Header: head(), TTFT: time.Second, InputTokens: 6, OutputTokens: 3, SessionDuration: time.Minute, InputTokenDetails: details,
			OutputTokenDetails: metrics.OutputTokenDetails{TextTokens: 1, AudioTokens: 2}},
		&metrics.TTS{Header: head(), TTFB: time.Second, CharactersCount: 7, AudioDuration: time.Second, InputTokens: 1, OutputTokens: 2},
		&metrics.STT{Header: head(), AudioDuration: 2 * time.Second, InputTokens: 3, OutputTokens: 4},
		&metrics.EOU{Header: head(), EndOfUtteranceDelay: time.Second, TranscriptionDelay: time.Second},
		&metrics.EOT{Header: head(), NumRequests: 1},
		&metrics.Interruption{Header: head(), NumRequests: 1},
		&metrics.Connection{Header: head(), Kind: "llm", AcquireTime: time.Second, DNS: 100 * time.Millisecond, Dial: 200 * time.Millisecond, TLS: 300 * time.Millisecond},
		&metrics.Connection{Header: head(), Kind: "llm", AcquireTime: time.Millisecond, Reused: true},
	}
}

func TestEventsAndErrors(t *testing.T) {
	f := newFigures()
	var seen metrics.Collector
	for _, o := range []metrics.Outcome{"", metrics.Discarded} {
		for i, e := range events(o, "acme", "m1") {
			e.Head().ID = fmt.Sprint(o, i)
			f.event(&seen, e)
		}
	}
	refused := &metrics.Connection{Header: metrics.Header{ID: "refused", Outcome: metrics.Failed, Metadata: metrics.Metadata{ModelProvider: "acme", ModelName: "m1"}},
		Kind: "llm", AcquireTime: time.Hour}
	f.event(&seen, refused)              // which nobody got
	again := events("", "acme", "m1")[2] // the TTS
	again.Head().ID = "2"
	f.event(&seen, again)
	f.failed(session.ErrorOccurred{ErrorEvent: model.ErrorEvent{Kind: "llm", Info: model.Info{Provider: "acme", Model: "m1"},
		Err: fmt.Errorf("asking: %w", &model.Error{Kind: model.KindTimeout}), Recoverable: true}})
	s := scrape(t, f)
	labels := []string{"model_provider", "acme", "model_name", "m1"}

	for name := range usageNames {
		for _, o := range []string{"delivered", "discarded"} {
			if s.counter("lk_agents_usage_"+name+"_total", append(labels, "outcome", o)...) <= 0 {
				t.Errorf("no %s that was %s", name, o)
			}
		}
	}
	s.wantCounter(t, 7, "lk_agents_usage_tts_characters_total", append(labels, "outcome", "delivered")...)
	s.wantCounter(t, 16, "lk_agents_usage_llm_input_tokens_total", append(labels, "outcome", "discarded")...)
	s.wantHistogram(t, 2, 2, "lk_agents_llm_ttft_seconds", labels...) // nobody waited for what was discarded
	s.wantHistogram(t, 2, 2, "lk_agents_connection_acquire_time_seconds", append(labels, "connection_reused", "false", "kind", "llm")...)
	s.wantHistogram(t, 2, 0.002, "lk_agents_connection_acquire_time_seconds", append(labels, "connection_reused", "true")...)
	s.wantHistogram(t, 2, 1.2, "lk_agents_connection_dial_seconds", labels...)
	s.wantCounter(t, 1, "lk_agents_request_errors_total", append(labels, "kind", "llm", "error_type", "timeout", "recoverable", "true")...)
}

func TestSentinelsAreNotObserved(t *testing.T) {
	f := newFigures()
	f.event(new(metrics.Collector), &metrics.LLM{TTFT: metrics.NoOutput, CompletionTokens: 1})
	f.event(new(metrics.Collector), &metrics.TTS{TTFB: metrics.NoOutput, CharactersCount: 1})
	s := scrape(t, f)
	if s["lk_agents_llm_ttft_seconds"] != nil || s["lk_agents_tts_ttfb_seconds"] != nil {
		t.Error("an output that never came has a time")
	}
	if s.counter("lk_agents_usage_llm_output_tokens_total") != 1 {
		t.Error("its usage is not counted")
	}
}

// TestLabelsAreBounded has a program use more models than anybody wants to see, and looks for labels
// that would grow with the calls.
func TestLabelsAreBounded(t *testing.T) {
	f := newFigures()
	var seen metrics.Collector
	for i := range 3 * maxModels {
		f.event(&seen, &metrics.TTS{Header: metrics.Header{Metadata: metrics.Metadata{ModelProvider: "acme", ModelName: fmt.Sprint("m", i)}}, CharactersCount: 1})
	}
	for _, e := range events("", "acme", "m1") {
		e.Head().Tags = metrics.Tags{SessionID: "s1", TurnID: "t1", SpeechID: "sp1", AgentID: "a1", Tool: "tool"}
		e.Head().RequestID = "r1"
		f.event(&seen, e)
	}
	s := scrape(t, f)
	if got := len(s["lk_agents_usage_tts_characters_total"].GetMetric()); got != maxModels+1 {
		t.Errorf("%d series, want %d and one for the others", got, maxModels)
	}
	s.wantCounter(t, 2*maxModels, "lk_agents_usage_tts_characters_total", "model_name", "other", "model_provider", "other")
	known := []string{"nodename", "result", "close_reason", "speaker", "stage", "part", "model_provider", "model_name", "outcome", "kind",
		"connection_reused", "error_type", "recoverable", "sink"}
	for name, family := range s {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains(known, l.GetName()) {
					t.Errorf("%s has the label %s", name, l.GetName())
				}
			}
		}
	}
}
