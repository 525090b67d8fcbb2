package account

import (
	"math"
	"time"

	"github.com/parley-go/parley/metrics"
)

// Quantity is something that is counted. Its name is that of the field of a usage line, only that the
// audio of a voice and that of a recogniser are apart.
type Quantity uint8

// The quantities.
const (
	InputTokens Quantity = iota
	InputCachedTokens
	InputCacheCreationTokens
	InputTextTokens
	InputAudioTokens
	InputImageTokens
	InputCachedTextTokens
	InputCachedAudioTokens
	InputCachedImageTokens
	OutputTokens
	OutputTextTokens
	OutputAudioTokens
	CharactersCount
	TTSAudioDuration
	STTAudioDuration
	SessionDuration
	TotalRequests
	NumQuantities
)

var names = [NumQuantities]string{
	"input_tokens", "input_cached_tokens", "input_cache_creation_tokens",
	"input_text_tokens", "input_audio_tokens", "input_image_tokens",
	"input_cached_text_tokens", "input_cached_audio_tokens", "input_cached_image_tokens",
	"output_tokens", "output_text_tokens", "output_audio_tokens",
	"characters_count", "tts_audio_duration", "stt_audio_duration", "session_duration", "total_requests",
}

// String is the name.
func (q Quantity) String() string { return names[q] }

// Timed reports whether it is a time: then it is counted in nanoseconds, and shown in seconds.
func (q Quantity) Timed() bool { return q >= TTSAudioDuration && q <= SessionDuration }

// Counts is how much there is of each quantity.
type Counts [NumQuantities]int64

// Add adds o. What is too much stays at the largest number.
func (c *Counts) Add(o *Counts) {
	for i, n := range o {
		c[i] = plus(c[i], n)
	}
}

// plus is a + b, which are not negative.
func plus[T ~int64](a, b T) T {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// within reports whether c has no more of anything than o.
func (c *Counts) within(o *Counts) bool {
	for i, n := range c {
		if n > o[i] {
			return false
		}
	}
	return true
}

// countsOf are the numbers of a usage line; negative ones are zero.
func countsOf(m metrics.ModelUsage) (c Counts) {
	switch u := m.(type) {
	case metrics.LLMUsage:
		c = Counts{
			InputTokens: u.InputTokens, InputCachedTokens: u.InputCachedTokens, InputCacheCreationTokens: u.InputCacheCreationTokens,
			InputTextTokens: u.InputTextTokens, InputAudioTokens: u.InputAudioTokens, InputImageTokens: u.InputImageTokens,
			InputCachedTextTokens: u.InputCachedTextTokens, InputCachedAudioTokens: u.InputCachedAudioTokens,
			InputCachedImageTokens: u.InputCachedImageTokens,
			OutputTokens:           u.OutputTokens, OutputTextTokens: u.OutputTextTokens, OutputAudioTokens: u.OutputAudioTokens,
			SessionDuration: int64(u.SessionDuration),
		}
	case metrics.TTSUsage:
		c = Counts{InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, CharactersCount: u.CharactersCount,
			TTSAudioDuration: int64(u.AudioDuration)}
	case metrics.STTUsage:
		c = Counts{InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, STTAudioDuration: int64(u.AudioDuration)}
	case metrics.InterruptionUsage:
		c[TotalRequests] = u.TotalRequests
	case metrics.EOTUsage:
		c[TotalRequests] = u.TotalRequests
	}
	for i := range c {
		c[i] = max(c[i], 0)
	}
	return c
}

// usage is the usage line with the numbers of c.
func (c *Counts) usage(k metrics.Key) metrics.ModelUsage {
	switch k.Type {
	case "tts_usage":
		return metrics.TTSUsage{Provider: k.Provider, Model: k.Model, InputTokens: c[InputTokens], OutputTokens: c[OutputTokens],
			CharactersCount: c[CharactersCount], AudioDuration: time.Duration(c[TTSAudioDuration])}
	case "stt_usage":
		return metrics.STTUsage{Provider: k.Provider, Model: k.Model, InputTokens: c[InputTokens], OutputTokens: c[OutputTokens],
			AudioDuration: time.Duration(c[STTAudioDuration])}
	case "interruption_usage":
		return metrics.InterruptionUsage{Provider: k.Provider, Model: k.Model, TotalRequests: c[TotalRequests]}
	case "eot_usage":
		return metrics.EOTUsage{Provider: k.Provider, Model: k.Model, TotalRequests: c[TotalRequests]}
	}
	return metrics.LLMUsage{
		Provider: k.Provider, Model: k.Model,
		InputTokens: c[InputTokens], InputCachedTokens: c[InputCachedTokens], InputCacheCreationTokens: c[InputCacheCreationTokens],
		InputTextTokens: c[InputTextTokens], InputAudioTokens: c[InputAudioTokens], InputImageTokens: c[InputImageTokens],
		InputCachedTextTokens: c[InputCachedTextTokens], InputCachedAudioTokens: c[InputCachedAudioTokens],
		InputCachedImageTokens: c[InputCachedImageTokens],
		OutputTokens:           c[OutputTokens], OutputTextTokens: c[OutputTextTokens], OutputAudioTokens: c[OutputAudioTokens],
		SessionDuration: time.Duration(c[SessionDuration]),
	}
}
