package metrics

import "time"

// visitor is told every field of an event or of a usage line, once, in the order of its JSON form.
// The JSON encoder, the JSON decoder and the printers are visitors, so a field has one name in one
// place. Only the decoder writes through the pointers: an event that was recorded is shared.
type visitor interface {
	text(name string, p *string, keep bool)       // keep: written even when empty
	word(name string, p *string, def string)      // empty means def
	count(name string, p *int64)                  //
	ratio(name string, p *float64)                //
	flag(name string, p *bool)                    //
	span(name string, p *time.Duration)           // seconds
	first(name string, p *time.Duration)          // seconds, NoOutput is -1
	instant(name string, p *time.Time, keep bool) // Unix seconds
	raw(name string, p *Raw)                      // left out when empty

	// group visits a nested object. The decoder visits it if the object is there, the others if
	// present is true.
	group(name string, present bool, visit func(visitor))
	// when visits fields that are there only together, of which name is the first.
	when(name string, present bool, visit func())
}

// fielder is an event or a usage line.
type fielder interface{ fields(visitor) }

func (h *Header) start(v visitor, label, request bool) {
	v.text("id", &h.ID, true)
	v.text("label", &h.Label, label)
	v.text("request_id", &h.RequestID, request)
	v.instant("timestamp", &h.Timestamp, true)
}

func (h *Header) end(v visitor) {
	attempt := int64(h.Attempt)
	v.count("attempt", &attempt)
	if int(attempt) != h.Attempt {
		h.Attempt = int(attempt)
	}
	v.word("outcome", (*string)(&h.Outcome), string(Delivered))
	v.word("source", (*string)(&h.Source), string(FromProvider))
	v.raw("raw_usage", &h.Raw)
	v.group("metadata", h.Metadata != Metadata{}, func(v visitor) {
		v.text("model_name", &h.Metadata.ModelName, false)
		v.text("model_provider", &h.Metadata.ModelProvider, false)
	})
	v.text("session_id", &h.Tags.SessionID, false)
	v.text("agent_id", &h.Tags.AgentID, false)
	v.text("task", &h.Tags.Task, false)
	v.text("turn_id", &h.Tags.TurnID, false)
	v.text("speech_id", &h.Tags.SpeechID, false)
	v.text("tool", &h.Tags.Tool, false)
}

// acquisition visits what an event tells about a connection. It is written only if there was an
// acquisition, because a time of zero is a possible time.
func acquisition(v visitor, took *time.Duration, reused, acquired *bool) {
	v.when("acquire_time", *acquired, func() {
		v.span("acquire_time", took)
		v.flag("connection_reused", reused)
		if !*acquired {
			*acquired = true
		}
	})
}

func (e *LLM) fields(v visitor) {
	e.start(v, true, true)
	v.span("duration", &e.Duration)
	v.first("ttft", &e.TTFT)
	v.flag("cancelled", &e.Cancelled)
	v.count("completion_tokens", &e.CompletionTokens)
	v.count("prompt_tokens", &e.PromptTokens)
	v.count("prompt_cached_tokens", &e.PromptCachedTokens)
	v.count("cache_creation_tokens", &e.CacheCreationTokens)
	v.count("total_tokens", &e.TotalTokens)
	v.ratio("tokens_per_second", &e.TokensPerSecond)
	e.end(v)
}

func (e *STT) fields(v visitor) {
	e.start(v, true, true)
	v.span("duration", &e.Duration)
	v.span("audio_duration", &e.AudioDuration)
	v.count("input_tokens", &e.InputTokens)
	v.count("output_tokens", &e.OutputTokens)
	v.flag("streamed", &e.Streamed)
	acquisition(v, &e.AcquireTime, &e.ConnectionReused, &e.Acquired)
	e.end(v)
}

func (e *TTS) fields(v visitor) {
	e.start(v, true, true)
	v.first("ttfb", &e.TTFB)
	v.span("duration", &e.Duration)
	v.span("audio_duration", &e.AudioDuration)
	v.flag("cancelled", &e.Cancelled)
	v.count("characters_count", &e.CharactersCount)
	v.count("input_tokens", &e.InputTokens)
	v.count("output_tokens", &e.OutputTokens)
	v.flag("streamed", &e.Streamed)
	acquisition(v, &e.AcquireTime, &e.ConnectionReused, &e.Acquired)
	v.text("segment_id", &e.SegmentID, false)
	e.end(v)
}

func (e *VAD) fields(v visitor) {
	e.start(v, true, false)
	v.span("idle_time", &e.IdleTime)
	v.span("inference_duration_total", &e.InferenceDurationTotal)
	v.count("inference_count", &e.InferenceCount)
	e.end(v)
}

func (e *EOU) fields(v visitor) {
	e.start(v, false, false)
	v.span("end_of_utterance_delay", &e.EndOfUtteranceDelay)
	v.span("transcription_delay", &e.TranscriptionDelay)
	v.span("on_user_turn_completed_delay", &e.OnUserTurnCompletedDelay)
	e.end(v)
}

func (e *EOT) fields(v visitor) {
	e.start(v, false, false)
	v.span("total_duration", &e.TotalDuration)
	v.span("detection_delay", &e.DetectionDelay)
	v.span("prediction_duration", &e.PredictionDuration)
	v.count("num_requests", &e.NumRequests)
	e.end(v)
}

func (e *Realtime) fields(v visitor) {
	e.start(v, true, true)
	v.span("duration", &e.Duration)
	v.span("session_duration", &e.SessionDuration)
	v.first("ttft", &e.TTFT)
	v.flag("cancelled", &e.Cancelled)
	v.count("input_tokens", &e.InputTokens)
	v.count("output_tokens", &e.OutputTokens)
	v.count("total_tokens", &e.TotalTokens)
	v.ratio("tokens_per_second", &e.TokensPerSecond)
	v.group("input_token_details", true, e.InputTokenDetails.fields)
	v.group("output_token_details", true, e.OutputTokenDetails.fields)
	acquisition(v, &e.AcquireTime, &e.ConnectionReused, &e.Acquired)
	e.end(v)
}

func (d *InputTokenDetails) fields(v visitor) {
	v.count("audio_tokens", &d.AudioTokens)
	v.count("text_tokens", &d.TextTokens)
	v.count("image_tokens", &d.ImageTokens)
	v.count("cached_tokens", &d.CachedTokens)
	v.group("cached_tokens_details", d.CachedTokensDetails != nil, func(v visitor) {
		if d.CachedTokensDetails == nil {
			d.CachedTokensDetails = new(CachedTokenDetails)
		}
		d.CachedTokensDetails.fields(v)
	})
}

func (d *CachedTokenDetails) fields(v visitor) {
	v.count("audio_tokens", &d.AudioTokens)
	v.count("text_tokens", &d.TextTokens)
	v.count("image_tokens", &d.ImageTokens)
}

func (d *OutputTokenDetails) fields(v visitor) {
	v.count("text_tokens", &d.TextTokens)
	v.count("audio_tokens", &d.AudioTokens)
	v.count("image_tokens", &d.ImageTokens)
}

func (e *Interruption) fields(v visitor) {
	e.start(v, false, false)
	v.span("total_duration", &e.TotalDuration)
	v.span("prediction_duration", &e.PredictionDuration)
	v.span("detection_delay", &e.DetectionDelay)
	v.count("num_interruptions", &e.NumInterruptions)
	v.count("num_backchannels", &e.NumBackchannels)
	v.count("num_requests", &e.NumRequests)
	e.end(v)
}

func (e *Avatar) fields(v visitor) {
	e.start(v, false, false)
	v.span("playback_latency", &e.PlaybackLatency)
	v.instant("session_started_time", &e.SessionStartedAt, false)
	v.instant("avatar_joined_time", &e.AvatarJoinedAt, false)
	e.end(v)
}

func (e *Connection) fields(v visitor) {
	e.start(v, false, false)
	v.text("kind", &e.Kind, true)
	v.span("acquire_time", &e.AcquireTime)
	v.span("wait_time", &e.WaitTime)
	v.span("dns_time", &e.DNS)
	v.span("dial_time", &e.Dial)
	v.span("tls_time", &e.TLS)
	v.span("upgrade_time", &e.Upgrade)
	v.flag("connection_reused", &e.Reused)
	e.end(v)
}
