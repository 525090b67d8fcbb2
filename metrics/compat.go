package metrics

import (
	"sync"
	"time"
)

// UsageCollector adds up the usage of all models into one summary. The zero value is ready; its
// methods may be called from any goroutine.
//
// Deprecated: a sum over models cannot be priced and lacks cache writes and the tokens of TTS and
// STT. Use Collector, or the Usage of a session.
type UsageCollector struct {
	mu      sync.Mutex
	seen    seen
	summary UsageSummary
}

// UsageSummary is the usage of all models in one.
//
// Deprecated: use Usage.
type UsageSummary struct {
	LLMPromptTokens           int64
	LLMPromptCachedTokens     int64
	LLMInputAudioTokens       int64
	LLMInputCachedAudioTokens int64
	LLMInputTextTokens        int64
	LLMInputCachedTextTokens  int64
	LLMInputImageTokens       int64
	LLMInputCachedImageTokens int64
	LLMCompletionTokens       int64
	LLMOutputAudioTokens      int64
	LLMOutputImageTokens      int64
	LLMOutputTextTokens       int64
	TTSCharactersCount        int64
	TTSAudioDuration          time.Duration
	STTAudioDuration          time.Duration
}

// Collect counts e, unless an event of the same id was counted before.
//
// Deprecated: use Collector.Add.
func (c *UsageCollector) Collect(e Event) {
	var s sums
	k, ok := s.of(e)
	if !ok || !s.any() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen.first(e.Head().ID) {
		c.summary.add(k, s)
		if r, ok := e.(*Realtime); ok {
			c.summary.LLMOutputImageTokens = plus(c.summary.LLMOutputImageTokens, r.OutputTokenDetails.ImageTokens)
		}
	}
}

// GetSummary returns a copy of the sums.
//
// Deprecated: use Collector.Usage.
func (c *UsageCollector) GetSummary() UsageSummary {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.summary
}

func (u *UsageSummary) add(k kind, s sums) {
	switch k {
	case kindLLM:
		u.LLMPromptTokens = plus(u.LLMPromptTokens, s.input)
		u.LLMPromptCachedTokens = plus(u.LLMPromptCachedTokens, s.cached)
		u.LLMInputAudioTokens = plus(u.LLMInputAudioTokens, s.audio)
		u.LLMInputCachedAudioTokens = plus(u.LLMInputCachedAudioTokens, s.cachedAudio)
		u.LLMInputTextTokens = plus(u.LLMInputTextTokens, s.text)
		u.LLMInputCachedTextTokens = plus(u.LLMInputCachedTextTokens, s.cachedText)
		u.LLMInputImageTokens = plus(u.LLMInputImageTokens, s.image)
		u.LLMInputCachedImageTokens = plus(u.LLMInputCachedImageTokens, s.cachedImage)
		u.LLMCompletionTokens = plus(u.LLMCompletionTokens, s.output)
		u.LLMOutputAudioTokens = plus(u.LLMOutputAudioTokens, s.outputAudio)
		u.LLMOutputTextTokens = plus(u.LLMOutputTextTokens, s.outputText)
	case kindTTS:
		u.TTSCharactersCount = plus(u.TTSCharactersCount, s.characters)
		u.TTSAudioDuration = plus(u.TTSAudioDuration, s.audioTime)
	case kindSTT:
		u.STTAudioDuration = plus(u.STTAudioDuration, s.audioTime)
	}
}

// LLMInputTokens is the newer name of LLMPromptTokens.
func (u *UsageSummary) LLMInputTokens() int64 { return u.LLMPromptTokens }

// SetLLMInputTokens sets LLMPromptTokens.
func (u *UsageSummary) SetLLMInputTokens(n int64) { u.LLMPromptTokens = n }

// LLMOutputTokens is the newer name of LLMCompletionTokens.
func (u *UsageSummary) LLMOutputTokens() int64 { return u.LLMCompletionTokens }

// SetLLMOutputTokens sets LLMCompletionTokens.
func (u *UsageSummary) SetLLMOutputTokens(n int64) { u.LLMCompletionTokens = n }

// MarshalJSON writes all fields, durations as seconds.
func (u UsageSummary) MarshalJSON() ([]byte, error) {
	return appendObject(nil, "", false, u.fields), nil
}

// String prints the fields that are not zero.
func (u UsageSummary) String() string { return format("UsageSummary", u) }

func (u UsageSummary) fields(v visitor) {
	v.count("llm_prompt_tokens", &u.LLMPromptTokens)
	v.count("llm_prompt_cached_tokens", &u.LLMPromptCachedTokens)
	v.count("llm_input_audio_tokens", &u.LLMInputAudioTokens)
	v.count("llm_input_cached_audio_tokens", &u.LLMInputCachedAudioTokens)
	v.count("llm_input_text_tokens", &u.LLMInputTextTokens)
	v.count("llm_input_cached_text_tokens", &u.LLMInputCachedTextTokens)
	v.count("llm_input_image_tokens", &u.LLMInputImageTokens)
	v.count("llm_input_cached_image_tokens", &u.LLMInputCachedImageTokens)
	v.count("llm_completion_tokens", &u.LLMCompletionTokens)
	v.count("llm_output_audio_tokens", &u.LLMOutputAudioTokens)
	v.count("llm_output_image_tokens", &u.LLMOutputImageTokens)
	v.count("llm_output_text_tokens", &u.LLMOutputTextTokens)
	v.count("tts_characters_count", &u.TTSCharactersCount)
	v.span("tts_audio_duration", &u.TTSAudioDuration)
	v.span("stt_audio_duration", &u.STTAudioDuration)
}
