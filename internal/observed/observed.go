// Package observed lists what package telemetry exports: instruments, spans, events of spans and log
// records, with everything on them. A test in telemetry/otlp holds the list against what a collector
// receives; docs/observability/opentelemetry.md is made of it.
package observed

// Kinds of instruments.
const (
	Histogram = "histogram"
	Counter   = "counter"
)

// Boundaries of histograms, in the unit of the instrument.
var (
	turnBounds    = []float64{0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30}
	firstBounds   = []float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	acquireBounds = []float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
	opBounds      = []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	tokenBounds   = []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}
)

// Instrument is something that is measured.
type Instrument struct {
	Name, Kind, Unit string
	Attributes       []string  // sorted
	Bounds           []float64 // of a histogram
	When             string    // it is recorded
}

var (
	byModel = []string{"model_name", "model_provider"}
	genAI   = []string{"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"}
)

func turn(name, when string, bounds []float64) Instrument {
	return Instrument{"lk.agents.turn." + name, Histogram, "s", byModel, bounds, when}
}

func tokens(name, when string) Instrument {
	return Instrument{"lk.agents.usage." + name, Counter, "", byModel, nil, when}
}

func seconds(name, when string) Instrument {
	return Instrument{"lk.agents.usage." + name, Counter, "s", byModel, nil, when}
}

// Instruments are all of them. What is GenAI needs telemetry.Options.GenAI.
var Instruments = []Instrument{
	turn("e2e_latency", "the agent's message is added to the conversation; the model is the LLM", turnBounds),
	turn("llm_ttft", "likewise", firstBounds),
	turn("tts_ttfb", "likewise; the model is the TTS", firstBounds),
	turn("transcription_delay", "the user's message is added; the model is the STT", turnBounds),
	turn("end_of_turn_delay", "likewise", turnBounds),
	turn("on_user_turn_completed_delay", "likewise", turnBounds),
	tokens("llm_input_tokens", "a call of an LLM, or a response of a realtime model, is over; cached ones included"),
	tokens("llm_input_cached_tokens", "likewise"),
	tokens("llm_input_cache_creation_tokens", "a call of an LLM is over"),
	tokens("llm_input_audio_tokens", "a response of a realtime model is over"),
	tokens("llm_input_text_tokens", "likewise"),
	tokens("llm_input_image_tokens", "likewise"),
	tokens("llm_input_cached_audio_tokens", "likewise"),
	tokens("llm_input_cached_text_tokens", "likewise"),
	tokens("llm_input_cached_image_tokens", "likewise"),
	tokens("llm_output_tokens", "a call of an LLM, or a response of a realtime model, is over"),
	tokens("llm_output_audio_tokens", "a response of a realtime model is over"),
	tokens("llm_output_text_tokens", "likewise"),
	seconds("llm_session_duration", "a connection of a realtime model that bills it is over"),
	tokens("tts_characters", "a request to the TTS is over"),
	seconds("tts_audio_duration", "likewise"),
	tokens("tts_input_tokens", "likewise, of a TTS that bills tokens"),
	tokens("tts_output_tokens", "likewise"),
	seconds("stt_audio_duration", "the STT was sent more audio: every few seconds and at the end"),
	tokens("stt_input_tokens", "likewise, of an STT that bills tokens"),
	tokens("stt_output_tokens", "likewise"),
	tokens("interruption_num_requests", "an interruption detector has given its verdict"),
	tokens("eot_num_requests", "a turn detector has answered"),
	{"lk.agents.connection.acquire_time", Histogram, "s", []string{"connection_reused", "model_name", "model_provider"}, acquireBounds,
		"a connection was got, dialled or from the pool"},
	{"lk.agents.request.errors", Counter, "", []string{"error.type", "kind", "model_name", "model_provider", "recoverable"}, nil,
		"an attempt of a call of a model has failed"},
	{"lk.agents.request.retries", Counter, "", []string{"kind", "model_name", "model_provider"}, nil,
		"likewise, and the call is tried again or goes on"},
	{"gen_ai.client.token.usage", Histogram, "{token}", append([]string{}, append(genAI, "gen_ai.token.type")...), tokenBounds,
		"with `GenAI`: a call of an LLM, or a response of a realtime model, is over"},
	{"gen_ai.client.operation.duration", Histogram, "s", genAI, opBounds, "likewise"},
	{"gen_ai.client.operation.time_to_first_chunk", Histogram, "s", genAI, firstBounds, "likewise"},
}

// Span is a span. Everything is there if it is known.
type Span struct {
	Name       string
	In         []string // what it may be inside of; "" is outside of all others
	Attributes []string
}

// Always are the attributes of every span and every log record.
var Always = []string{"lk.redaction.enabled", "lk.simulation.enabled"}

// Failed are the attributes of a span that failed. They are also those of its event "exception", less error.type.
var Failed = []string{"error.type", "exception.message", "exception.type"}

// Stack is the one that a span that failed by a panic, and its event, have besides, unless that is redacted.
const Stack = "exception.stacktrace"

var (
	who      = []string{"gen_ai.provider.name", "gen_ai.request.model"}
	realtime = []string{"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.usage.input_audio_tokens",
		"gen_ai.usage.input_cached_tokens", "gen_ai.usage.input_text_tokens", "gen_ai.usage.input_tokens", "gen_ai.usage.output_audio_tokens",
		"gen_ai.usage.output_text_tokens", "gen_ai.usage.output_tokens", "langfuse.observation.completion_start_time", "lk.realtime_model_metrics"}
	job         = []string{"lk.agent_name", "lk.cloud_agent_id", "lk.deployment_id", "lk.job_id", "lk.pii.room_name"}
	label       = []string{"lk.agent_label"}
	participant = []string{"lk.participant_id", "lk.participant_kind", "lk.pii.participant_identity"}
	attempt     = []string{"lk.provider_request_ids", "lk.retry_count"}
)

func with(a []string, more ...string) []string { return append(more, a...) }

// Spans are all spans.
var Spans = []Span{
	{"job_entrypoint", []string{""}, job},
	{"agent_session", []string{"job_entrypoint"}, with(job, "lk.agent_label")},
	{"start_agent_activity", []string{"agent_session"}, label},
	{"on_enter", []string{"start_agent_activity"}, label},
	{"drain_agent_activity", []string{"agent_session"}, label},
	{"on_exit", []string{"drain_agent_activity"}, label},
	{"pause_agent_activity", []string{"agent_session"}, label},
	{"resume_agent_activity", []string{"agent_session"}, label},
	{"user_turn", []string{"agent_session"}, with(who, "lk.pii.user_transcript", "lk.transcript_confidence", "lk.transcription_delay",
		"lk.end_of_turn_delay", "lk.provider_request_ids")},
	{"eou_detection", []string{"user_turn"}, []string{"lk.eou.source", "lk.eou.endpointing_delay", "lk.eou.language", "lk.eou.probability",
		"lk.eou.unlikely_threshold", "lk.eou.detection_delay", "lk.eou.from_cache", "lk.pii.chat_ctx"}},
	{"user_speaking", []string{"agent_session"}, with(participant, "lk.is_interruption", "lk.interruption.total_duration",
		"lk.interruption.detection_delay", "lk.interruption.prediction_duration")},
	{"agent_turn", []string{"agent_session"}, with(realtime, "lk.speech_id", "lk.generation_id", "lk.parent_generation_id", "lk.pii.instructions",
		"lk.pii.user_input", "lk.interrupted", "lk.pii.response.text", "lk.e2e_latency", "lk.response.ttft", "lk.pii.response.function_calls")},
	{"agent_speaking", []string{"agent_turn"}, participant},
	{"llm_node", []string{"agent_turn"}, with(who, "lk.pii.chat_ctx", "lk.function_tools", "lk.tool_sets", "lk.pii.response.text",
		"lk.pii.response.function_calls", "lk.response.ttft")},
	{"llm_fallback_adapter", []string{"llm_node"}, nil},
	{"llm_request", []string{"llm_node", "llm_fallback_adapter", "function_tool", "judge_evaluation"}, with(who, "gen_ai.operation.name", "lk.llm_metrics",
		"gen_ai.usage.input_tokens", "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.output_tokens", "langfuse.observation.completion_start_time")},
	{"llm_request_run", []string{"llm_request"}, attempt},
	{"tts_node", []string{"agent_turn"}, with(who, "lk.response.ttfb")},
	{"tts_fallback_adapter", []string{"tts_node"}, nil},
	{"tts_stream_adapter", []string{"tts_node", "tts_fallback_adapter"}, nil},
	{"tts_request", []string{"tts_node", "tts_stream_adapter", "tts_fallback_adapter"}, []string{"lk.tts.streaming", "lk.tts.label", "lk.pii.input_text", "lk.tts_metrics"}},
	{"tts_request_run", []string{"tts_request"}, attempt},
	{"function_tool", []string{"agent_turn"}, []string{"lk.function_tool.id", "lk.function_tool.name", "lk.pii.function_tool.arguments",
		"lk.pii.function_tool.output", "lk.function_tool.is_error"}},
	{"realtime_metrics", []string{"agent_turn", "agent_session"}, realtime},
	{"judge_evaluation", []string{"job_entrypoint"}, []string{"gen_ai.operation.name", "gen_ai.request.model", "gen_ai.usage.input_tokens",
		"gen_ai.usage.output_tokens", "lk.function_tool.name", "lk.pii.function_tool.arguments", "lk.pii.function_tool.output", "lk.function_tool.is_error"}},
}

// Event is an event of a span.
type Event struct {
	Name       string
	Span       string   // it is on; "" is any
	Attributes []string // sorted
	When       string
}

// Events are all events of spans. With telemetry.Options.Redact those of llm_request are left out.
var Events = []Event{
	{"gen_ai.system.message", "llm_request", []string{"content"}, "it begins: instructions"},
	{"gen_ai.user.message", "llm_request", []string{"content"}, "likewise: what the user said"},
	{"gen_ai.assistant.message", "llm_request", []string{"content"}, "likewise: what the agent said"},
	{"gen_ai.assistant.message", "llm_request", []string{"role", "tool_calls"}, "likewise: a tool it called"},
	{"gen_ai.tool.message", "llm_request", []string{"content", "id", "name"}, "likewise: what the tool answered"},
	{"gen_ai.choice", "llm_request", []string{"content", "role", "tool_calls"}, "it ends: the answer, with what it has"},
	{"exception", "", []string{"exception.message", "exception.type"}, "it ends with an error"},
	{"exception", "", []string{"exception.message", Stack, "exception.type"}, "it ends with a panic"},
}

// Record is a log record.
type Record struct {
	Logger, Body string
	Attributes   []string
	When         string
}

// Records are the log records that a session makes besides what is logged.
var Records = []Record{
	{"chat_history", "session report", []string{"agent_name", "sdk_version", "session.options", "session.report_timestamp", "session.tags", "usage"},
		"the session closes; its time is the start of the session"},
	{"chat_history", "chat item", []string{"chat.item"}, "likewise, one for each item of the conversation with its time, unless that is redacted; " +
		"of severity ERROR for a tool that failed"},
}

// Logged are the attributes that log records have besides what was logged, Always included.
var Logged = []string{"logger.name"}

// Resource are the attributes of who exports.
var Resource = []string{"service.name", "room_id", "job_id", "lk.agent_name", "lk.cloud_agent_id", "lk.deployment_id"}

// Scope are the attributes of the scope of log records.
var Scope = []string{"job_id", "room", "room_id"}
