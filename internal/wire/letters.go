package wire

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/parley-go/parley/tts/driver"
)

// Letters makes words of letters that come with their times. The zero value is ready; it is used by one
// goroutine.
type Letters struct {
	word       strings.Builder
	start, end time.Duration // of the word
}

// Add takes a letter, which may be several where the provider joins them, or white space, and returns the
// words that are complete now.
func (l *Letters) Add(s string, at, end time.Duration) (words []driver.Word) {
	if r, _ := utf8.DecodeRuneInString(s); s == "" || unicode.IsSpace(r) {
		words = l.Flush()
		s = strings.TrimSpace(s)
	}
	if s == "" {
		return words
	}
	if l.word.Len() == 0 {
		l.start = at
	}
	l.word.WriteString(s)
	l.end = max(l.start, end)
	if r, _ := utf8.DecodeLastRuneInString(s); alone(r) {
		words = append(words, l.Flush()...)
	}
	return words
}

// alone reports whether r is written without spaces to its neighbours.
func alone(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai)
}

// Flush returns the word that was not complete, if there is one.
func (l *Letters) Flush() []driver.Word {
	if l.word.Len() == 0 {
		return nil
	}
	w := driver.Word{Text: l.word.String(), Start: l.start, End: l.end}
	l.word.Reset()
	return []driver.Word{w}
}
