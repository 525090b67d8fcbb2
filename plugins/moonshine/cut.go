package moonshine

import (
	"iter"
	"time"
)

// How long audio is cut. Beyond goodLength the model was not measured, and its cost grows with the
// square of the length.
var (
	goodLength = seconds(12 * time.Second)
	hardLength = seconds(20 * time.Second)
	searched   = seconds(3 * time.Second) // before a limit, for a quiet place
	window     = seconds(200 * time.Millisecond)
	hop        = seconds(20 * time.Millisecond)
)

// pauseRatio is how much less power than its surroundings a pause has: 20 dB.
const pauseRatio = 0.01

// parts cuts samples into parts that the model hears well. Nothing is lost or heard twice.
func parts(samples []int16) iter.Seq[[]int16] {
	return func(yield func([]int16) bool) {
		for len(samples) > 0 {
			n := partLength(samples)
			if !yield(samples[:n]) {
				return
			}
			samples = samples[n:]
		}
	}
}

// partLength is the length of the first part. Past goodLength it ends at the quietest place shortly
// before, if that is a pause; else at the first pause after; else at the quietest place shortly
// before hardLength.
func partLength(samples []int16) int {
	if len(samples) <= goodLength {
		return len(samples)
	}
	for limit := goodLength; ; limit += searched {
		limit = min(limit, len(samples), hardLength)
		at, quiet := quietest(samples, limit-searched, limit)
		if quiet <= pauseRatio*power(samples[:limit]) {
			return at
		}
		if limit == len(samples) {
			return limit
		}
		if limit == hardLength {
			return at
		}
	}
}

// quietest is the middle of the window with the least power between two places.
func quietest(samples []int16, from, to int) (at int, least float64) {
	at = to
	for i := from; i+window <= to; i += hop {
		if p := power(samples[i : i+window]); at == to || p < least {
			at, least = i+window/2, p
		}
	}
	return at, least
}

// power is the mean square.
func power(samples []int16) float64 {
	var sum float64
	for _, v := range samples {
		sum += float64(v) * float64(v)
	}
	return sum / float64(max(len(samples), 1))
}
