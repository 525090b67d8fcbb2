package telemetry

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/metric"
)

// The boundaries of histograms, in seconds: made for what a caller notices.
var (
	turnBounds    = []float64{0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30}
	firstBounds   = []float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	acquireBounds = []float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
	opBounds      = []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	tokenBounds   = []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}
)

// instruments are what is measured. Those of genAI are nil without it.
type instruments struct {
	e2e, ttft, ttfb, transcription, endOfTurn, hook, acquire metric.Float64Histogram

	llmInput, llmCached, llmCreated, llmOutput                 metric.Int64Counter
	inputAudio, inputText, inputImage, cachedAudio, cachedText metric.Int64Counter
	cachedImage                                                metric.Int64Counter
	outputAudio, outputText                                    metric.Int64Counter
	characters, ttsInput, ttsOutput, sttInput, sttOutput       metric.Int64Counter
	interruptions, predictions, errors, retries                metric.Int64Counter
	llmSession, ttsAudio, sttAudio                             metric.Float64Counter

	genTokens             metric.Int64Histogram
	genDuration, genFirst metric.Float64Histogram
}

// newInstruments makes them, which costs nothing where the provider has them already.
func newInstruments(m metric.Meter, genAI bool) (*instruments, error) {
	in := &instruments{}
	var errs []error
	histogram := func(to *metric.Float64Histogram, name, what string, bounds []float64) {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(what), metric.WithExplicitBucketBoundaries(bounds...))
		*to, errs = h, append(errs, err)
	}
	count := func(to *metric.Int64Counter, name, what string) {
		c, err := m.Int64Counter(name, metric.WithDescription(what))
		*to, errs = c, append(errs, err)
	}
	seconds := func(to *metric.Float64Counter, name, what string) {
		c, err := m.Float64Counter(name, metric.WithUnit("s"), metric.WithDescription(what))
		*to, errs = c, append(errs, err)
	}
	const turn, usage = "lk.agents.turn.", "lk.agents.usage."
	histogram(&in.e2e, turn+"e2e_latency", "From the end of the user's speech to the start of the agent's.", turnBounds)
	histogram(&in.ttft, turn+"llm_ttft", "From the request to the first text or tool call of the LLM.", firstBounds)
	histogram(&in.ttfb, turn+"tts_ttfb", "From the first text for the TTS to its first audio.", firstBounds)
	histogram(&in.transcription, turn+"transcription_delay", "From the end of speech to the final transcript.", turnBounds)
	histogram(&in.endOfTurn, turn+"end_of_turn_delay", "From the end of speech to the decision that the turn is over.", turnBounds)
	histogram(&in.hook, turn+"on_user_turn_completed_delay", "Time in the application's hook for the end of a turn.", turnBounds)
	histogram(&in.acquire, "lk.agents.connection.acquire_time", "Time to get a connection to a provider.", acquireBounds)

	count(&in.llmInput, usage+"llm_input_tokens", "Input tokens, cached ones included.")
	count(&in.llmCached, usage+"llm_input_cached_tokens", "Input tokens read from the cache.")
	count(&in.llmCreated, usage+"llm_input_cache_creation_tokens", "Input tokens written to the cache.")
	count(&in.llmOutput, usage+"llm_output_tokens", "Output tokens.")
	count(&in.inputAudio, usage+"llm_input_audio_tokens", "Audio tokens of the input.")
	count(&in.inputText, usage+"llm_input_text_tokens", "Text tokens of the input.")
	count(&in.inputImage, usage+"llm_input_image_tokens", "Image tokens of the input.")
	count(&in.cachedAudio, usage+"llm_input_cached_audio_tokens", "Audio tokens read from the cache.")
	count(&in.cachedText, usage+"llm_input_cached_text_tokens", "Text tokens read from the cache.")
	count(&in.cachedImage, usage+"llm_input_cached_image_tokens", "Image tokens read from the cache.")
	count(&in.outputAudio, usage+"llm_output_audio_tokens", "Audio tokens of the output.")
	count(&in.outputText, usage+"llm_output_text_tokens", "Text tokens of the output.")
	seconds(&in.llmSession, usage+"llm_session_duration", "Connection time of realtime models that bill it.")
	count(&in.characters, usage+"tts_characters", "Characters sent to the TTS.")
	seconds(&in.ttsAudio, usage+"tts_audio_duration", "Audio received from the TTS.")
	count(&in.ttsInput, usage+"tts_input_tokens", "Input tokens of the TTS.")
	count(&in.ttsOutput, usage+"tts_output_tokens", "Output tokens of the TTS.")
	seconds(&in.sttAudio, usage+"stt_audio_duration", "Audio sent to the STT.")
	count(&in.sttInput, usage+"stt_input_tokens", "Input tokens of the STT.")
	count(&in.sttOutput, usage+"stt_output_tokens", "Output tokens of the STT.")
	count(&in.interruptions, usage+"interruption_num_requests", "Requests to the interruption detector.")
	count(&in.predictions, usage+"eot_num_requests", "Requests to the turn detector.")
	count(&in.errors, "lk.agents.request.errors", "Attempts of model calls that failed.")
	count(&in.retries, "lk.agents.request.retries", "Failed attempts after which the call was tried again, or went on.")
	if genAI {
		h, err := m.Int64Histogram("gen_ai.client.token.usage", metric.WithUnit("{token}"),
			metric.WithDescription("Number of input and output tokens used."), metric.WithExplicitBucketBoundaries(tokenBounds...))
		in.genTokens, errs = h, append(errs, err)
		histogram(&in.genDuration, "gen_ai.client.operation.duration", "GenAI operation duration.", opBounds)
		histogram(&in.genFirst, "gen_ai.client.operation.time_to_first_chunk", "Time to receive the first chunk.", firstBounds)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("making instruments: %w", err)
	}
	return in, nil
}
