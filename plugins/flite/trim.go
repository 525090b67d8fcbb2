package flite

import (
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
)

// The silence that is left around a part, so that parts in a row sound like one speech.
const (
	leadIn        = 20 * time.Millisecond
	afterSentence = 120 * time.Millisecond
	afterClause   = 60 * time.Millisecond
)

// quiet is the highest sample of silence: -50 dBFS.
const quiet = 103

// trim cuts the silence at both ends of samples.
func trim(samples []int16, rate int, sentence bool) []int16 {
	loud := func(s int16) bool { return s > quiet || s < -quiet }
	first, last := 0, len(samples)-1
	for first < len(samples) && !loud(samples[first]) {
		first++
	}
	for last > first && !loud(samples[last]) {
		last--
	}
	tail := afterClause
	if sentence {
		tail = afterSentence
	}
	from := max(0, first-audio.SamplesIn(leadIn, rate))
	to := min(len(samples), last+1+audio.SamplesIn(tail, rate))
	return samples[min(from, to):to]
}

// endsSentence reports whether text ends with the mark of a sentence rather than of a clause.
func endsSentence(text string) bool {
	text = strings.TrimRight(text, " \"')]")
	return strings.HasSuffix(text, ".") || strings.HasSuffix(text, "!") || strings.HasSuffix(text, "?")
}
