package otlp_test

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/telemetry"
	"github.com/parley-go/parley/telemetry/otlp"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/turn"
	"github.com/parley-go/parley/vad"
)

const canary = "canary"

type city struct {
	Name string `json:"name"`
}

// spend records an event of every kind, with every number set.
func spend(ctx context.Context) {
	h := func() metrics.Header {
		return metrics.Header{Metadata: metrics.Metadata{ModelName: "m", ModelProvider: "p"}}
	}
	for _, e := range []metrics.Event{
		&metrics.LLM{Header: h(), PromptTokens: 10, PromptCachedTokens: 2, CacheCreationTokens: 1, CompletionTokens: 5, TTFT: metrics.NoOutput},
		&metrics.STT{Header: h(), AudioDuration: time.Second, InputTokens: 1, OutputTokens: 1, Acquired: true, AcquireTime: time.Second},
		&metrics.TTS{Header: h(), AudioDuration: time.Second, CharactersCount: 5, InputTokens: 1, OutputTokens: 1, TTFB: metrics.NoOutput, Acquired: true, ConnectionReused: true},
		&metrics.Realtime{Header: h(), Duration: time.Second, SessionDuration: time.Second, TTFT: 100 * time.Millisecond, InputTokens: 9, OutputTokens: 6,
			InputTokenDetails: metrics.InputTokenDetails{AudioTokens: 3, TextTokens: 3, ImageTokens: 3, CachedTokens: 2,
				CachedTokensDetails: &metrics.CachedTokenDetails{AudioTokens: 1, TextTokens: 1}},
			OutputTokenDetails: metrics.OutputTokenDetails{TextTokens: 3, AudioTokens: 3}},
		&metrics.Interruption{Header: h(), NumRequests: 1},
		&metrics.EOT{Header: h(), NumRequests: 1},
	} {
		metrics.Record(ctx, e)
	}
	model.ReportError(ctx, model.ErrorEvent{Kind: "llm", Info: model.Info{Provider: "p", Model: "m"}, Recoverable: true,
		Err: &model.Error{Kind: model.KindTimeout, Provider: "p"}})
}

// converse has a session with a turn that calls a tool, an interruption and a handoff to a task, whose
// telemetry goes to c.
func converse(t *testing.T, c *collector, eo otlp.Options, o telemetry.Options) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		eo.Endpoint = c.url
		exp, err := otlp.New(ctx, eo)
		if err != nil {
			t.Fatal(err)
		}
		job := exp.Job(otlp.Identity{JobID: "AJ_1", RoomID: "RM_1", AgentName: "helper"})
		job.Into(&o)
		o.AgentName, o.RoomName, o.AgentIdentity = "helper", canary+" room", canary+" agent"

		ctx = model.WithJob(ctx, func() model.Job { return model.Job{ID: "AJ_1", RoomID: "RM_1", AgentID: "PA_1"} })
		ctx, endJob := telemetry.StartJob(ctx, o)
		script := &sttScript{}
		script.expect(seconds(2.7), "What about "+canary+"?")
		script.expect(seconds(9.2), "Stop "+canary)
		wait := 100 * time.Millisecond
		tool := llm.NewTool("weather", "Look it up.", func(ctx context.Context, _ *agent.RunContext, in city) (string, error) {
			spend(ctx)
			return canary + " is sunny", nil
		})
		s := session.New(session.Options{
			VAD: vad.New(vadScript{}), STT: stt.New(script, nil),
			TTS: tts.New(&ttsScript{ttfb: 2 * wait, length: 3 * time.Second}, nil),
			LLM: llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{
				{TTFT: wait, Delay: wait, Chunks: []driver.Chunk{{Text: "Let me see, " + canary + ".",
					ToolCalls: []driver.ToolCall{{CallID: "call_1", Name: "weather", Arguments: `{"name":"` + canary + `"}`}}}}},
				{TTFT: wait, Delay: wait, Chunks: []driver.Chunk{{Text: "Sunny, " + canary + "."}}},
				{TTFT: wait, Delay: wait, Chunks: []driver.Chunk{{Text: "All right, " + canary + "."}}},
			}}), nil),
			AECWarmup:    opt.Off[time.Duration](),
			TurnHandling: turn.Handling{Preemptive: turn.Preemptive{Enabled: opt.Off[bool]()}},
			Logger:       slog.New(slog.DiscardHandler),
		})
		detach, err := telemetry.Attach(s, o)
		if err != nil {
			t.Fatal(err)
		}
		defer detach()
		start := time.Now()
		room := sessiontest.New()
		a := &agent.Agent{Instructions: "Help with " + canary, Tools: []llm.Tool{tool},
			OnEnter:             func(context.Context, *agent.RunContext) error { return nil },
			OnExit:              func(context.Context, *agent.RunContext) error { return nil },
			OnUserTurnCompleted: func(context.Context, *agent.RunContext, *chat.Context, *chat.Message) error { return nil },
		}
		if err := s.Start(ctx, a, room); err != nil {
			t.Fatal(err)
		}
		room.Host().ParticipantLinked(session.Participant{ID: "PA_2", Identity: canary, Kind: "standard"})
		room.In.Speak(start.Add(500*time.Millisecond), start.Add(2500*time.Millisecond))
		room.In.Speak(start.Add(8*time.Second), start.Add(9*time.Second))
		time.Sleep(20 * time.Second)
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		endJob(&model.Error{Kind: model.KindTimeout, Provider: "p", Err: errCanary{}})
		if err := job.Shutdown(context.Background()); err != nil {
			t.Errorf("shutting down the job: %v", err)
		}
		if err := exp.Shutdown(context.Background()); err != nil {
			t.Errorf("shutting down the exporter: %v", err)
		}
	})
}

type errCanary struct{}

func (errCanary) Error() string { return canary }

const turnAttrs, reuse = "model_name model_provider", "connection_reused model_name model_provider"

// want are all instruments: unit and attributes. "h" are histograms, "c" counters.
var want = map[string]string{
	"lk.agents.turn.e2e_latency": "h s " + turnAttrs, "lk.agents.turn.llm_ttft": "h s " + turnAttrs, "lk.agents.turn.tts_ttfb": "h s " + turnAttrs,
	"lk.agents.turn.transcription_delay": "h s " + turnAttrs, "lk.agents.turn.end_of_turn_delay": "h s " + turnAttrs,
	"lk.agents.turn.on_user_turn_completed_delay": "h s " + turnAttrs,
	"lk.agents.usage.llm_input_tokens":            "c  " + turnAttrs, "lk.agents.usage.llm_input_cached_tokens": "c  " + turnAttrs,
	"lk.agents.usage.llm_input_cache_creation_tokens": "c  " + turnAttrs, "lk.agents.usage.llm_output_tokens": "c  " + turnAttrs,
	"lk.agents.usage.llm_input_audio_tokens": "c  " + turnAttrs, "lk.agents.usage.llm_input_text_tokens": "c  " + turnAttrs,
	"lk.agents.usage.llm_input_image_tokens": "c  " + turnAttrs, "lk.agents.usage.llm_input_cached_audio_tokens": "c  " + turnAttrs,
	"lk.agents.usage.llm_input_cached_text_tokens": "c  " + turnAttrs, "lk.agents.usage.llm_output_audio_tokens": "c  " + turnAttrs,
	"lk.agents.usage.llm_output_text_tokens": "c  " + turnAttrs, "lk.agents.usage.llm_session_duration": "c s " + turnAttrs,
	"lk.agents.usage.tts_characters": "c  " + turnAttrs, "lk.agents.usage.tts_audio_duration": "c s " + turnAttrs,
	"lk.agents.usage.tts_input_tokens": "c  " + turnAttrs, "lk.agents.usage.tts_output_tokens": "c  " + turnAttrs,
	"lk.agents.usage.stt_audio_duration": "c s " + turnAttrs, "lk.agents.usage.stt_input_tokens": "c  " + turnAttrs,
	"lk.agents.usage.stt_output_tokens": "c  " + turnAttrs, "lk.agents.usage.interruption_num_requests": "c  " + turnAttrs,
	"lk.agents.usage.eot_num_requests": "c  " + turnAttrs, "lk.agents.connection.acquire_time": "h s " + reuse,
	"lk.agents.request.errors":                    "c  error.type kind model_name model_provider recoverable",
	"lk.agents.request.retries":                   "c  kind model_name model_provider",
	"gen_ai.client.token.usage":                   "h {token} gen_ai.operation.name gen_ai.provider.name gen_ai.request.model gen_ai.token.type",
	"gen_ai.client.operation.duration":            "h s gen_ai.operation.name gen_ai.provider.name gen_ai.request.model",
	"gen_ai.client.operation.time_to_first_chunk": "h s gen_ai.operation.name gen_ai.provider.name gen_ai.request.model",
}

func TestMetricsReachACollector(t *testing.T) {
	c := newCollector(t)
	converse(t, c, otlp.Options{}, telemetry.Options{GenAI: true})
	got := map[string]string{}
	for name, m := range c.instruments() {
		switch d := m.Data.(type) {
		case *metricspb.Metric_Histogram:
			p := d.Histogram.DataPoints[0]
			got[name] = "h " + m.Unit + " " + keys(p.Attributes)
			if d.Histogram.AggregationTemporality != metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA {
				t.Errorf("%s is not delta", name)
			}
			if p.GetMin() < 0 || len(p.ExplicitBounds) < 12 || p.ExplicitBounds[0] > 1 {
				t.Errorf("%s: min %v, bounds %v", name, p.GetMin(), p.ExplicitBounds)
			}
		case *metricspb.Metric_Sum:
			got[name] = "c " + m.Unit + " " + keys(d.Sum.DataPoints[0].Attributes)
			if d.Sum.AggregationTemporality != metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA {
				t.Errorf("%s is not delta", name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s: got %q, want %q", name, got[name], want[name])
		}
	}
	for name := range got {
		if want[name] == "" {
			t.Errorf("%s is not known", name)
		}
	}
	res := c.metrics[0].Resource.Attributes
	if k := keys(res); k != "job_id lk.agent_name room_id service.name" || value(res, "job_id") != "AJ_1" {
		t.Errorf("resource %v", res)
	}
	if n := c.metrics[0].ScopeMetrics[0].Scope.Name; n != "livekit-agents" {
		t.Errorf("scope %s", n)
	}
}

func TestCumulative(t *testing.T) {
	c := newCollector(t)
	converse(t, c, otlp.Options{Cumulative: true, NoTraces: true}, telemetry.Options{})
	m := c.instruments()["lk.agents.usage.tts_characters"]
	if m == nil || m.GetSum().AggregationTemporality != metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE {
		t.Errorf("tts_characters: %v", m)
	}
	if n := len(c.spans()); n != 0 {
		t.Errorf("%d spans", n)
	}
}

// spanKeys are the attributes that some span of each name has, and what it is inside of.
var spanKeys = map[string][2]string{
	"job_entrypoint":       {"", "lk.job_id lk.agent_name lk.pii.room_name exception.type exception.message"},
	"agent_session":        {"job_entrypoint", "lk.agent_label lk.pii.room_name lk.job_id lk.agent_name"},
	"start_agent_activity": {"agent_session", "lk.agent_label"},
	"on_enter":             {"start_agent_activity", "lk.agent_label"},
	"drain_agent_activity": {"agent_session", "lk.agent_label"},
	"on_exit":              {"drain_agent_activity", "lk.agent_label"},
	"user_turn":            {"agent_session", "gen_ai.request.model gen_ai.provider.name lk.pii.user_transcript lk.transcript_confidence lk.transcription_delay lk.end_of_turn_delay"},
	"eou_detection":        {"user_turn", "lk.eou.source lk.eou.endpointing_delay"},
	"user_speaking":        {"agent_session", "lk.participant_id lk.pii.participant_identity lk.participant_kind lk.is_interruption lk.interruption.total_duration lk.interruption.detection_delay"},
	"agent_turn": {"agent_session", "lk.speech_id lk.generation_id lk.parent_generation_id lk.pii.instructions lk.pii.user_input lk.interrupted lk.pii.response.text lk.e2e_latency " +
		"lk.realtime_model_metrics gen_ai.usage.input_text_tokens gen_ai.usage.input_audio_tokens gen_ai.usage.input_cached_tokens gen_ai.usage.output_text_tokens gen_ai.usage.output_audio_tokens langfuse.observation.completion_start_time"},
	"agent_speaking":  {"agent_turn", "lk.participant_id lk.pii.participant_identity lk.participant_kind"},
	"llm_node":        {"agent_turn", "lk.pii.chat_ctx lk.function_tools gen_ai.request.model gen_ai.provider.name lk.pii.response.text lk.pii.response.function_calls lk.response.ttft"},
	"llm_request":     {"llm_node", "gen_ai.operation.name gen_ai.provider.name gen_ai.request.model lk.llm_metrics gen_ai.usage.input_tokens gen_ai.usage.cache_read.input_tokens gen_ai.usage.output_tokens langfuse.observation.completion_start_time"},
	"llm_request_run": {"llm_request", "lk.retry_count lk.provider_request_ids"},
	"tts_node":        {"agent_turn", "gen_ai.request.model gen_ai.provider.name lk.response.ttfb"},
	"tts_request":     {"tts_node", "lk.tts.streaming lk.tts.label lk.pii.input_text lk.tts_metrics"},
	"tts_request_run": {"tts_request", "lk.retry_count lk.provider_request_ids"},
	"function_tool":   {"agent_turn", "lk.function_tool.id lk.function_tool.name lk.pii.function_tool.arguments lk.pii.function_tool.output lk.function_tool.is_error"},
}

func TestSpansReachACollector(t *testing.T) {
	c := newCollector(t)
	converse(t, c, otlp.Options{NoMetrics: true}, telemetry.Options{})
	spans := c.spans()
	names := map[string]string{}
	for name, all := range spans {
		for _, s := range all {
			names[string(s.SpanId)] = name
		}
	}
	for name, w := range spanKeys {
		if len(spans[name]) == 0 {
			t.Errorf("no span %s", name)
			continue
		}
		have := map[string]bool{}
		for _, s := range spans[name] {
			if got := names[string(s.ParentSpanId)]; got != w[0] {
				t.Errorf("%s is inside of %q, want %q", name, got, w[0])
			}
			if s.EndTimeUnixNano < s.StartTimeUnixNano {
				t.Errorf("%s ends before it begins", name)
			}
			for _, kv := range s.Attributes {
				have[kv.Key] = true
			}
		}
		for _, k := range append(strings.Fields(w[1]), "lk.simulation.enabled", "lk.redaction.enabled") {
			if !have[k] {
				t.Errorf("%s has no %s", name, k)
			}
		}
	}
	events := map[string]bool{}
	for _, s := range spans["llm_request"] {
		for _, e := range s.Events {
			events[e.Name+" "+keys(e.Attributes)] = true
		}
	}
	for _, e := range []string{"gen_ai.system.message content", "gen_ai.user.message content", "gen_ai.assistant.message content",
		"gen_ai.assistant.message role tool_calls", "gen_ai.tool.message content id name", "gen_ai.choice content role tool_calls"} {
		if !events[e] {
			t.Errorf("no event %q; there are %v", e, slices.Sorted(maps.Keys(events)))
		}
	}
	if s := spans["job_entrypoint"][0].Status; s.Code != tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("status %v", s)
	}
}

func TestRedactionKeepsContentOut(t *testing.T) {
	c := newCollector(t)
	converse(t, c, otlp.Options{}, telemetry.Options{Redact: true, GenAI: true})
	if len(c.spans()["llm_request"]) == 0 || len(c.instruments()) == 0 {
		t.Fatal("nothing was exported")
	}
	if i := bytes.Index(c.raw, []byte(canary)); i >= 0 {
		t.Errorf("content was exported: %q", c.raw[max(i-80, 0):min(i+80, len(c.raw))])
	}
}
