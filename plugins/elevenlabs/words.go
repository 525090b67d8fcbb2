package elevenlabs

import (
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/tts/driver"
)

// alignment says when the letters of a piece of audio are spoken. An older spelling has other names.
type alignment struct {
	Chars      []string  `json:"chars"`
	Starts     []float64 `json:"charStartTimesMs"` // ms
	Durations  []float64 `json:"charDurationsMs"`
	Starts2    []float64 `json:"charsStartTimesMs"`
	Durations2 []float64 `json:"charsDurationsMs"`
}

// letters makes words of letters.
type letters struct {
	given bool          // by the text as it was given
	heard time.Duration // audio until now
	last  time.Duration // when the last letter ended
	wire.Letters
}

// back is how far the times of a piece may lie before those of the piece before.
const back = 50 * time.Millisecond

// take returns the words that are complete now. The provider's documentation has times count from the
// beginning of the piece of audio, but they have been seen to count from the beginning of the speech:
// times that would go back are of the first kind.
func (l *letters) take(r *reply) (words []driver.Word) {
	a := r.Normalized
	if l.given || a == nil {
		a = r.Alignment
	}
	if a == nil {
		return nil
	}
	starts, durations := a.Starts, a.Durations
	if len(starts) == 0 {
		starts, durations = a.Starts2, a.Durations2
	}
	n := min(len(a.Chars), len(starts), len(durations))
	if n == 0 {
		return nil
	}
	var from time.Duration
	if milliseconds(starts[0])+back < l.last {
		from = l.heard
	}
	for i := range n {
		at := max(from+milliseconds(starts[i]), l.last)
		end := max(at, from+milliseconds(starts[i]+durations[i]))
		words = append(words, l.Add(a.Chars[i], at, end)...)
		l.last = end
	}
	return words
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
