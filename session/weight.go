package session

import (
	"unicode"

	"github.com/parley-go/parley/tokenize"
)

// weigh is the weight of s: its letters and digits, three for a character that is a word of its own.
// Markup is not spoken and weighs nothing.
func weigh(s string) float64 {
	var w float64
	for _, c := range tokenize.WithoutTags(s) {
		switch {
		case unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul):
			w += 3
		case unicode.IsLetter(c), unicode.IsDigit(c):
			w++
		}
	}
	return w
}
