package elevenlabs

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

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

	word       strings.Builder
	start, end time.Duration // of the word
	last       time.Duration // when the last letter ended
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
		words = append(words, l.letter(a.Chars[i], at, end)...)
		l.last = end
	}
	return words
}

// letter adds one, which may be several where the provider joins them, or white space.
func (l *letters) letter(s string, at, end time.Duration) (words []driver.Word) {
	if r, _ := utf8.DecodeRuneInString(s); s == "" || unicode.IsSpace(r) {
		words = l.flush()
		s = strings.TrimSpace(s)
	}
	if s == "" {
		return words
	}
	if l.word.Len() == 0 {
		l.start = at
	}
	l.word.WriteString(s)
	l.end = end
	if r, _ := utf8.DecodeLastRuneInString(s); alone(r) {
		words = append(words, l.flush()...)
	}
	return words
}

// alone reports whether r is written without spaces to its neighbours.
func alone(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai)
}

// flush returns the word that was not complete, if there is one.
func (l *letters) flush() []driver.Word {
	if l.word.Len() == 0 {
		return nil
	}
	w := driver.Word{Text: l.word.String(), Start: l.start, End: l.end}
	l.word.Reset()
	return []driver.Word{w}
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
