package metrics

import (
	"math"
	"time"
)

// kind orders the lines of usage.
type kind uint8

const (
	kindLLM kind = iota
	kindTTS
	kindSTT
	kindInterruption
	kindEOT
)

// sums are the numbers of any kind of usage.
type sums struct {
	input, cached, creation  int64
	audio, text, image       int64 // of input
	cachedAudio, cachedText  int64
	cachedImage              int64
	output                   int64
	outputAudio, outputText  int64
	characters, requests     int64
	audioTime, connectedTime time.Duration
}

// of makes s, which is zero, what e adds to the usage; ok is false for an event that is no usage.
// Negative numbers count as zero when they are added. Input covers at least what was read from a cache: a
// provider that says otherwise counts cached input apart.
func (s *sums) of(e Event) (k kind, ok bool) {
	switch e := e.(type) {
	case *LLM:
		k, s.input, s.cached, s.creation, s.output = kindLLM, e.PromptTokens, e.PromptCachedTokens, e.CacheCreationTokens, e.CompletionTokens
	case *Realtime:
		k = kindLLM
		s.ofRealtime(e)
	case *TTS:
		k, s.input, s.output, s.characters, s.audioTime = kindTTS, e.InputTokens, e.OutputTokens, e.CharactersCount, e.AudioDuration
	case *STT:
		k, s.input, s.output, s.audioTime = kindSTT, e.InputTokens, e.OutputTokens, e.AudioDuration
	case *Interruption:
		k, s.requests = kindInterruption, e.NumRequests
	case *EOT:
		k, s.requests = kindEOT, e.NumRequests
	default:
		return 0, false
	}
	s.input = max(s.input, s.cached)
	return k, true
}

func (s *sums) ofRealtime(e *Realtime) {
	in, out := &e.InputTokenDetails, &e.OutputTokenDetails
	s.input, s.cached = e.InputTokens, in.CachedTokens
	s.audio, s.text, s.image = in.AudioTokens, in.TextTokens, in.ImageTokens
	s.output, s.outputAudio, s.outputText = e.OutputTokens, out.AudioTokens, out.TextTokens
	s.connectedTime = e.SessionDuration
	if c := in.CachedTokensDetails; c != nil {
		s.cachedAudio, s.cachedText, s.cachedImage = c.AudioTokens, c.TextTokens, c.ImageTokens
	}
}

// ofLine makes s, which is zero, the numbers of a usage line.
func (s *sums) ofLine(m ModelUsage) kind {
	switch m := m.(type) {
	case TTSUsage:
		s.input, s.output, s.characters, s.audioTime = m.InputTokens, m.OutputTokens, m.CharactersCount, m.AudioDuration
		return kindTTS
	case STTUsage:
		s.input, s.output, s.audioTime = m.InputTokens, m.OutputTokens, m.AudioDuration
		return kindSTT
	case InterruptionUsage:
		s.requests = m.TotalRequests
		return kindInterruption
	case EOTUsage:
		s.requests = m.TotalRequests
		return kindEOT
	case LLMUsage:
		*s = sums{
			input: m.InputTokens, cached: m.InputCachedTokens, creation: m.InputCacheCreationTokens,
			audio: m.InputAudioTokens, cachedAudio: m.InputCachedAudioTokens,
			text: m.InputTextTokens, cachedText: m.InputCachedTextTokens,
			image: m.InputImageTokens, cachedImage: m.InputCachedImageTokens,
			output: m.OutputTokens, outputAudio: m.OutputAudioTokens, outputText: m.OutputTextTokens,
			connectedTime: m.SessionDuration,
		}
	}
	return kindLLM
}

// any reports whether there is anything to add in s.
func (s *sums) any() bool {
	return s.input > 0 || s.output > 0 || s.audioTime > 0 || s.characters > 0 || s.requests > 0 ||
		s.cached > 0 || s.creation > 0 || s.audio > 0 || s.text > 0 || s.image > 0 ||
		s.cachedAudio > 0 || s.cachedText > 0 || s.cachedImage > 0 ||
		s.outputAudio > 0 || s.outputText > 0 || s.connectedTime > 0
}

// add adds o to s.
func (s *sums) add(o *sums) {
	s.input = plus(s.input, o.input)
	s.cached = plus(s.cached, o.cached)
	s.creation = plus(s.creation, o.creation)
	s.audio = plus(s.audio, o.audio)
	s.text = plus(s.text, o.text)
	s.image = plus(s.image, o.image)
	s.cachedAudio = plus(s.cachedAudio, o.cachedAudio)
	s.cachedText = plus(s.cachedText, o.cachedText)
	s.cachedImage = plus(s.cachedImage, o.cachedImage)
	s.output = plus(s.output, o.output)
	s.outputAudio = plus(s.outputAudio, o.outputAudio)
	s.outputText = plus(s.outputText, o.outputText)
	s.characters = plus(s.characters, o.characters)
	s.requests = plus(s.requests, o.requests)
	s.audioTime = plus(s.audioTime, o.audioTime)
	s.connectedTime = plus(s.connectedTime, o.connectedTime)
}

// plus is a + b where a negative b counts as zero and too much stays at the largest number.
func plus[T ~int64](a, b T) T {
	if b <= 0 {
		return a
	}
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// line makes the usage line of s.
func (s *sums) line(k bucketKey) ModelUsage {
	switch k.kind {
	case kindTTS:
		return TTSUsage{k.provider, k.model, s.input, s.output, s.characters, s.audioTime}
	case kindSTT:
		return STTUsage{k.provider, k.model, s.input, s.output, s.audioTime}
	case kindInterruption:
		return InterruptionUsage{k.provider, k.model, s.requests}
	case kindEOT:
		return EOTUsage{k.provider, k.model, s.requests}
	default:
		return LLMUsage{
			Provider: k.provider, Model: k.model,
			InputTokens: s.input, InputCachedTokens: s.cached, InputCacheCreationTokens: s.creation,
			InputAudioTokens: s.audio, InputCachedAudioTokens: s.cachedAudio,
			InputTextTokens: s.text, InputCachedTextTokens: s.cachedText,
			InputImageTokens: s.image, InputCachedImageTokens: s.cachedImage,
			OutputTokens: s.output, OutputAudioTokens: s.outputAudio, OutputTextTokens: s.outputText,
			SessionDuration: s.connectedTime,
		}
	}
}
