package metrics

import "log/slog"

func (u *LLMUsage) visit(v visitor) {
	v.text("provider", &u.Provider, true)
	v.text("model", &u.Model, true)
	v.count("input_tokens", &u.InputTokens)
	v.count("input_cached_tokens", &u.InputCachedTokens)
	v.count("input_cache_creation_tokens", &u.InputCacheCreationTokens)
	v.count("input_audio_tokens", &u.InputAudioTokens)
	v.count("input_cached_audio_tokens", &u.InputCachedAudioTokens)
	v.count("input_text_tokens", &u.InputTextTokens)
	v.count("input_cached_text_tokens", &u.InputCachedTextTokens)
	v.count("input_image_tokens", &u.InputImageTokens)
	v.count("input_cached_image_tokens", &u.InputCachedImageTokens)
	v.count("output_tokens", &u.OutputTokens)
	v.count("output_audio_tokens", &u.OutputAudioTokens)
	v.count("output_text_tokens", &u.OutputTextTokens)
	v.span("session_duration", &u.SessionDuration)
}

func (u *TTSUsage) visit(v visitor) {
	v.text("provider", &u.Provider, true)
	v.text("model", &u.Model, true)
	v.count("input_tokens", &u.InputTokens)
	v.count("output_tokens", &u.OutputTokens)
	v.count("characters_count", &u.CharactersCount)
	v.span("audio_duration", &u.AudioDuration)
}

func (u *STTUsage) visit(v visitor) {
	v.text("provider", &u.Provider, true)
	v.text("model", &u.Model, true)
	v.count("input_tokens", &u.InputTokens)
	v.count("output_tokens", &u.OutputTokens)
	v.span("audio_duration", &u.AudioDuration)
}

func (u *InterruptionUsage) visit(v visitor) {
	v.text("provider", &u.Provider, true)
	v.text("model", &u.Model, true)
	v.count("total_requests", &u.TotalRequests)
}

func (u *EOTUsage) visit(v visitor) {
	v.text("provider", &u.Provider, true)
	v.text("model", &u.Model, true)
	v.count("total_requests", &u.TotalRequests)
}

// Key implements ModelUsage.
func (u LLMUsage) Key() Key { return Key{typeLLMUsage, u.Provider, u.Model} }

// MarshalJSON implements json.Marshaler.
func (u LLMUsage) MarshalJSON() ([]byte, error) { return appendUsage(nil, u), nil }

// String prints the fields that are not zero.
func (u LLMUsage) String() string { return format("LLMUsage", u) }

// LogValue implements slog.LogValuer with a group of the fields that are not zero.
func (u LLMUsage) LogValue() slog.Value { return logValue(u) }

func (u LLMUsage) fields(v visitor) { u.visit(v) }

// Key implements ModelUsage.
func (u TTSUsage) Key() Key { return Key{typeTTSUsage, u.Provider, u.Model} }

// MarshalJSON implements json.Marshaler.
func (u TTSUsage) MarshalJSON() ([]byte, error) { return appendUsage(nil, u), nil }

// String prints the fields that are not zero.
func (u TTSUsage) String() string { return format("TTSUsage", u) }

// LogValue implements slog.LogValuer with a group of the fields that are not zero.
func (u TTSUsage) LogValue() slog.Value { return logValue(u) }

func (u TTSUsage) fields(v visitor) { u.visit(v) }

// Key implements ModelUsage.
func (u STTUsage) Key() Key { return Key{typeSTTUsage, u.Provider, u.Model} }

// MarshalJSON implements json.Marshaler.
func (u STTUsage) MarshalJSON() ([]byte, error) { return appendUsage(nil, u), nil }

// String prints the fields that are not zero.
func (u STTUsage) String() string { return format("STTUsage", u) }

// LogValue implements slog.LogValuer with a group of the fields that are not zero.
func (u STTUsage) LogValue() slog.Value { return logValue(u) }

func (u STTUsage) fields(v visitor) { u.visit(v) }

// Key implements ModelUsage.
func (u InterruptionUsage) Key() Key { return Key{typeInterruptionUsage, u.Provider, u.Model} }

// MarshalJSON implements json.Marshaler.
func (u InterruptionUsage) MarshalJSON() ([]byte, error) { return appendUsage(nil, u), nil }

// String prints the fields that are not zero.
func (u InterruptionUsage) String() string { return format("InterruptionUsage", u) }

// LogValue implements slog.LogValuer with a group of the fields that are not zero.
func (u InterruptionUsage) LogValue() slog.Value { return logValue(u) }

func (u InterruptionUsage) fields(v visitor) { u.visit(v) }

// Key implements ModelUsage.
func (u EOTUsage) Key() Key { return Key{typeEOTUsage, u.Provider, u.Model} }

// MarshalJSON implements json.Marshaler.
func (u EOTUsage) MarshalJSON() ([]byte, error) { return appendUsage(nil, u), nil }

// String prints the fields that are not zero.
func (u EOTUsage) String() string { return format("EOTUsage", u) }

// LogValue implements slog.LogValuer with a group of the fields that are not zero.
func (u EOTUsage) LogValue() slog.Value { return logValue(u) }

func (u EOTUsage) fields(v visitor) { u.visit(v) }
