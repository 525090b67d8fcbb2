package metrics

import "slices"

// meter is something that is counted and may have a price. Its name is that of the field of a usage
// line.
type meter uint8

const (
	meterInput meter = iota
	meterCached
	meterCreation
	meterText
	meterAudio
	meterImage
	meterCachedText
	meterCachedAudio
	meterCachedImage
	meterOutput
	meterOutputText
	meterOutputAudio
	meterCharacters
	meterAudioTime
	meterSessionTime
	meterRequests
	numMeters
)

var meterNames = [numMeters]string{
	"input_tokens", "input_cached_tokens", "input_cache_creation_tokens",
	"input_text_tokens", "input_audio_tokens", "input_image_tokens",
	"input_cached_text_tokens", "input_cached_audio_tokens", "input_cached_image_tokens",
	"output_tokens", "output_text_tokens", "output_audio_tokens",
	"characters_count", "audio_duration", "session_duration", "total_requests",
}

// wholes has what a meter is a part of, nearest first: a part without a rate costs what the whole does.
var wholes = [numMeters][]meter{
	meterCached:      {meterInput},
	meterCreation:    {meterInput},
	meterText:        {meterInput},
	meterAudio:       {meterInput},
	meterImage:       {meterInput},
	meterCachedText:  {meterCached, meterText, meterInput},
	meterCachedAudio: {meterCached, meterAudio, meterInput},
	meterCachedImage: {meterCached, meterImage, meterInput},
	meterOutputText:  {meterOutput},
	meterOutputAudio: {meterOutput},
}

func meterNamed(name string) (meter, bool) {
	i := slices.Index(meterNames[:], name)
	return meter(max(i, 0)), i >= 0
}

func (m meter) timed() bool { return m == meterAudioTime || m == meterSessionTime }

// tokens reports whether m counts tokens. A model that bills some of them bills them all.
func (m meter) tokens() bool { return m <= meterOutputAudio }

// counts is how much of each meter a line has; no token is in two of them.
type counts [numMeters]int64

func countsOf(m ModelUsage) (c counts) {
	switch u := m.(type) {
	case LLMUsage:
		c = u.counts()
	case TTSUsage:
		c[meterInput], c[meterOutput] = u.InputTokens, u.OutputTokens
		c[meterCharacters], c[meterAudioTime] = u.CharactersCount, int64(u.AudioDuration)
	case STTUsage:
		c[meterInput], c[meterOutput], c[meterAudioTime] = u.InputTokens, u.OutputTokens, int64(u.AudioDuration)
	case InterruptionUsage:
		c[meterRequests] = u.TotalRequests
	case EOTUsage:
		c[meterRequests] = u.TotalRequests
	}
	return c
}

// counts parts the tokens. The fields of a line overlap: cached audio is in the audio, in the cached
// and in the whole input.
func (u LLMUsage) counts() (c counts) {
	c[meterCachedText], c[meterCachedAudio], c[meterCachedImage] = u.InputCachedTextTokens, u.InputCachedAudioTokens, u.InputCachedImageTokens
	c[meterText] = max(u.InputTextTokens-u.InputCachedTextTokens, 0)
	c[meterAudio] = max(u.InputAudioTokens-u.InputCachedAudioTokens, 0)
	c[meterImage] = max(u.InputImageTokens-u.InputCachedImageTokens, 0)
	c[meterCached] = max(u.InputCachedTokens-u.InputCachedTextTokens-u.InputCachedAudioTokens-u.InputCachedImageTokens, 0)
	c[meterCreation] = u.InputCacheCreationTokens
	rest := u.InputTokens
	for m := meterCached; m <= meterCachedImage; m++ {
		rest -= c[m]
	}
	c[meterInput] = max(rest, 0)
	// Cached tokens of which nobody said what they are were counted as text, audio or image as well.
	// They are taken for text first: where that is wrong, audio being dearer, the cost is too high.
	for _, m := range []meter{meterText, meterAudio, meterImage} {
		taken := min(max(-rest, 0), c[m])
		c[m] -= taken
		rest += taken
	}
	c[meterOutputText], c[meterOutputAudio] = u.OutputTextTokens, u.OutputAudioTokens
	c[meterOutput] = max(u.OutputTokens-u.OutputTextTokens-u.OutputAudioTokens, 0)
	c[meterSessionTime] = int64(u.SessionDuration)
	return c
}

// Tokens is the input and output tokens of all lines; cached ones are input.
func (u Usage) Tokens() int64 {
	var n int64
	for _, m := range u.Models {
		switch l := m.(type) {
		case LLMUsage:
			n = plus(plus(n, l.InputTokens), l.OutputTokens)
		case TTSUsage:
			n = plus(plus(n, l.InputTokens), l.OutputTokens)
		case STTUsage:
			n = plus(plus(n, l.InputTokens), l.OutputTokens)
		}
	}
	return n
}
