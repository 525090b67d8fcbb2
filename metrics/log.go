package metrics

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"time"
)

// Log writes one line about e: who (model, request, speech) as attributes and the numbers as a
// group named after the kind of event, times in seconds. VAD, EOT and Connection events are logged
// at debug level, all others at info. A first output that never came is left out. A nil logger is
// slog.Default.
func Log(logger *slog.Logger, e Event) {
	logger = cmp.Or(logger, slog.Default())
	l := lineOf(e)
	ctx := context.Background()
	if l.message == "" || !logger.Enabled(ctx, l.level) {
		return
	}
	h := e.Head()
	attrs := make([]slog.Attr, 0, 8)
	if h.Metadata != (Metadata{}) {
		attrs = append(attrs,
			slog.String("model_name", cmp.Or(h.Metadata.ModelName, "unknown")),
			slog.String("model_provider", cmp.Or(h.Metadata.ModelProvider, "unknown")))
	}
	attrs = appendText(attrs, "request_id", h.RequestID)
	attrs = appendText(attrs, "speech_id", h.Tags.SpeechID)
	if h.Outcome != Delivered {
		attrs = appendText(attrs, "outcome", string(h.Outcome))
	}
	attrs = append(attrs, slog.Attr{Key: l.group, Value: slog.GroupValue(l.numbers(e)...)})
	logger.LogAttrs(ctx, l.level, l.message, attrs...)
}

// logLine says how a kind of event is logged.
type logLine struct {
	message, group string
	level          slog.Level
	numbers        func(Event) []slog.Attr
}

func lineOf(e Event) logLine {
	switch e.(type) {
	case *LLM:
		return logLine{"LLM metrics", "llm", slog.LevelInfo, logLLM}
	case *Realtime:
		return logLine{"RealtimeModel metrics", "realtime", slog.LevelInfo, logRealtime}
	case *TTS:
		return logLine{"TTS metrics", "tts", slog.LevelInfo, logTTS}
	case *STT:
		return logLine{"STT metrics", "stt", slog.LevelInfo, logSTT}
	case *EOU:
		return logLine{"EOU metrics", "eou", slog.LevelInfo, logEOU}
	case *Interruption:
		return logLine{"Interruption metrics", "interruption", slog.LevelInfo, logInterruption}
	case *Avatar:
		return logLine{"Avatar metrics", "avatar", slog.LevelInfo, logAvatar}
	case *EOT:
		return logLine{"EOT metrics", "eot", slog.LevelDebug, logEOT}
	case *VAD:
		return logLine{"VAD metrics", "vad", slog.LevelDebug, logVAD}
	case *Connection:
		return logLine{"Connection metrics", "connection", slog.LevelDebug, logConnection}
	}
	return logLine{}
}

func logLLM(e Event) []slog.Attr {
	m := e.(*LLM)
	return append(appendFirst(nil, "ttft", m.TTFT),
		slog.Int64("prompt_tokens", m.PromptTokens),
		slog.Int64("prompt_cached_tokens", m.PromptCachedTokens),
		slog.Int64("cache_creation_tokens", m.CacheCreationTokens),
		slog.Int64("completion_tokens", m.CompletionTokens),
		slog.Float64("tokens_per_second", round(m.TokensPerSecond, 2)))
}

func logRealtime(e Event) []slog.Attr {
	m := e.(*Realtime)
	in, out := &m.InputTokenDetails, &m.OutputTokenDetails
	var cached CachedTokenDetails
	if in.CachedTokensDetails != nil {
		cached = *in.CachedTokensDetails
	}
	return append(appendFirst(nil, "ttft", m.TTFT),
		slog.Int64("input_tokens", m.InputTokens),
		slog.Int64("cached_input_tokens", in.CachedTokens),
		slog.Int64("input_text_tokens", in.TextTokens),
		slog.Int64("input_cached_text_tokens", cached.TextTokens),
		slog.Int64("input_image_tokens", in.ImageTokens),
		slog.Int64("input_cached_image_tokens", cached.ImageTokens),
		slog.Int64("input_audio_tokens", in.AudioTokens),
		slog.Int64("input_cached_audio_tokens", cached.AudioTokens),
		slog.Int64("output_tokens", m.OutputTokens),
		slog.Int64("output_text_tokens", out.TextTokens),
		slog.Int64("output_audio_tokens", out.AudioTokens),
		slog.Int64("output_image_tokens", out.ImageTokens),
		slog.Int64("total_tokens", m.TotalTokens),
		slog.Float64("tokens_per_second", round(m.TokensPerSecond, 2)))
}

func logTTS(e Event) []slog.Attr {
	m := e.(*TTS)
	var a []slog.Attr
	if m.TTFB >= 0 {
		a = append(a, slog.Float64("ttfb", m.TTFB.Seconds()))
	}
	return append(a, seconds("audio_duration", m.AudioDuration))
}

func logSTT(e Event) []slog.Attr {
	return []slog.Attr{seconds("audio_duration", e.(*STT).AudioDuration)}
}

func logEOU(e Event) []slog.Attr {
	m := e.(*EOU)
	return []slog.Attr{
		seconds("end_of_utterance_delay", m.EndOfUtteranceDelay),
		seconds("transcription_delay", m.TranscriptionDelay),
	}
}

func logInterruption(e Event) []slog.Attr {
	m := e.(*Interruption)
	return []slog.Attr{
		seconds("total_duration", m.TotalDuration),
		seconds("prediction_duration", m.PredictionDuration),
		seconds("detection_delay", m.DetectionDelay),
		slog.Int64("num_interruptions", m.NumInterruptions),
		slog.Int64("num_backchannels", m.NumBackchannels),
		slog.Int64("num_requests", m.NumRequests),
	}
}

func logAvatar(e Event) []slog.Attr {
	m := e.(*Avatar)
	var a []slog.Attr
	if !m.SessionStartedAt.IsZero() && !m.AvatarJoinedAt.IsZero() {
		a = append(a, seconds("avatar_join_latency", m.AvatarJoinedAt.Sub(m.SessionStartedAt)))
	}
	if m.PlaybackLatency != 0 {
		a = append(a, slog.Float64("playback_latency", round(m.PlaybackLatency.Seconds(), 3)))
	}
	return a
}

func logEOT(e Event) []slog.Attr {
	m := e.(*EOT)
	return []slog.Attr{
		seconds("total_duration", m.TotalDuration),
		seconds("detection_delay", m.DetectionDelay),
		seconds("prediction_duration", m.PredictionDuration),
		slog.Int64("num_requests", m.NumRequests),
	}
}

func logVAD(e Event) []slog.Attr {
	m := e.(*VAD)
	return []slog.Attr{
		seconds("idle_time", m.IdleTime),
		slog.Float64("inference_duration_total", round(m.InferenceDurationTotal.Seconds(), 3)),
		slog.Int64("inference_count", m.InferenceCount),
	}
}

func logConnection(e Event) []slog.Attr {
	m := e.(*Connection)
	return []slog.Attr{
		slog.String("kind", m.Kind),
		slog.Float64("acquire_time", round(m.AcquireTime.Seconds(), 3)),
		slog.Bool("connection_reused", m.Reused),
	}
}

func appendText(a []slog.Attr, name, s string) []slog.Attr {
	if s == "" {
		return a
	}
	return append(a, slog.String(name, s))
}

func appendFirst(a []slog.Attr, name string, d time.Duration) []slog.Attr {
	if d < 0 {
		return a
	}
	return append(a, seconds(name, d))
}

func seconds(name string, d time.Duration) slog.Attr {
	return slog.Float64(name, round(d.Seconds(), 2))
}

// round rounds to a number of decimals, and what is no number to 0.
func round(f float64, decimals int) float64 {
	p := math.Pow10(decimals)
	if f = math.Round(f*p) / p; math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}
