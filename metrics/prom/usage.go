package prom

import (
	"cmp"

	"github.com/parley-go/parley/metrics"
)

// usageNames are the usage counters less prefix and suffix: every number of metrics.Usage has one.
var usageNames = map[string]string{
	"llm_input_tokens":                "Input tokens of language and realtime models, cached ones included.",
	"llm_input_cached_tokens":         "Input tokens read from a cache.",
	"llm_input_cache_creation_tokens": "Input tokens written to a cache.",
	"llm_input_audio_tokens":          "Audio input tokens, of realtime models.",
	"llm_input_cached_audio_tokens":   "Audio input tokens read from a cache.",
	"llm_input_text_tokens":           "Text input tokens, of realtime models.",
	"llm_input_cached_text_tokens":    "Text input tokens read from a cache.",
	"llm_input_image_tokens":          "Image input tokens, of realtime models.",
	"llm_input_cached_image_tokens":   "Image input tokens read from a cache.",
	"llm_output_tokens":               "Output tokens of language and realtime models.",
	"llm_output_audio_tokens":         "Audio output tokens, of realtime models.",
	"llm_output_text_tokens":          "Text output tokens, of realtime models.",
	"llm_session_duration_seconds":    "Connection time of models that bill it.",
	"tts_characters":                  "Characters sent to synthesisers.",
	"tts_audio_duration_seconds":      "Audio that was synthesised.",
	"tts_input_tokens":                "Input tokens of synthesisers that bill tokens.",
	"tts_output_tokens":               "Output tokens of synthesisers that bill tokens.",
	"stt_audio_duration_seconds":      "Audio sent to recognisers.",
	"stt_input_tokens":                "Input tokens of recognisers that bill tokens.",
	"stt_output_tokens":               "Output tokens of recognisers that bill tokens.",
	"interruption_num_requests":       "Requests to interruption detectors.",
	"eot_num_requests":                "Requests to end of turn detectors.",
}

// spend books what e says was used. What counts as usage is decided by metrics.Collector, so that the
// counters and the reports agree.
func (f *Figures) spend(e metrics.Event, provider, model string) {
	var one metrics.Collector
	one.Add(e)
	outcome := string(cmp.Or(e.Head().Outcome, metrics.Delivered))
	add := func(name string, n float64) {
		if n > 0 {
			f.usage[name].WithLabelValues(outcome, provider, model).Add(n)
		}
	}
	for _, line := range one.Usage().Models {
		switch u := line.(type) {
		case metrics.LLMUsage:
			add("llm_input_tokens", float64(u.InputTokens))
			add("llm_input_cached_tokens", float64(u.InputCachedTokens))
			add("llm_input_cache_creation_tokens", float64(u.InputCacheCreationTokens))
			add("llm_input_audio_tokens", float64(u.InputAudioTokens))
			add("llm_input_cached_audio_tokens", float64(u.InputCachedAudioTokens))
			add("llm_input_text_tokens", float64(u.InputTextTokens))
			add("llm_input_cached_text_tokens", float64(u.InputCachedTextTokens))
			add("llm_input_image_tokens", float64(u.InputImageTokens))
			add("llm_input_cached_image_tokens", float64(u.InputCachedImageTokens))
			add("llm_output_tokens", float64(u.OutputTokens))
			add("llm_output_audio_tokens", float64(u.OutputAudioTokens))
			add("llm_output_text_tokens", float64(u.OutputTextTokens))
			add("llm_session_duration_seconds", u.SessionDuration.Seconds())
		case metrics.TTSUsage:
			add("tts_characters", float64(u.CharactersCount))
			add("tts_audio_duration_seconds", u.AudioDuration.Seconds())
			add("tts_input_tokens", float64(u.InputTokens))
			add("tts_output_tokens", float64(u.OutputTokens))
		case metrics.STTUsage:
			add("stt_audio_duration_seconds", u.AudioDuration.Seconds())
			add("stt_input_tokens", float64(u.InputTokens))
			add("stt_output_tokens", float64(u.OutputTokens))
		case metrics.InterruptionUsage:
			add("interruption_num_requests", float64(u.TotalRequests))
		case metrics.EOTUsage:
			add("eot_num_requests", float64(u.TotalRequests))
		}
	}
}
