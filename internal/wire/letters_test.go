package wire

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestLetters(t *testing.T) {
	for text, want := range map[string]string{
		"Hi you.":  "Hi 0-2|you. 3-7",
		" Hi  a\n": "Hi 1-3|a 5-6",
		"你好 a":     "你 0-1|好 1-2|a 3-4",
		"":         "",
		"Grüße!":   "Grüße! 0-6",
	} {
		var l Letters
		var got []string
		words := l.Flush()
		for i, r := range []rune(text) {
			words = append(words, l.Add(string(r), time.Duration(i), time.Duration(i+1))...)
		}
		for _, w := range append(words, l.Flush()...) {
			got = append(got, fmt.Sprintf("%s %d-%d", w.Text, w.Start, w.End))
		}
		if s := strings.Join(got, "|"); s != want {
			t.Errorf("%q: got %s, want %s", text, s, want)
		}
	}
}
