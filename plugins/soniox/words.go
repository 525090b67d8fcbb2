package soniox

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/stt/driver"
)

// words puts tokens together to words. A word begins with a space; scripts that write none between
// their words have a word for each token.
func words(tokens []token) (all []driver.Word) {
	apart := true // the next token begins a word
	var parts int // of the last word
	for _, t := range tokens {
		text := strings.TrimSpace(t.Text)
		first, _ := utf8.DecodeRuneInString(t.Text)
		apart = apart || unicode.IsSpace(first) || unicode.In(first, unicode.Han, unicode.Hiragana, unicode.Katakana)
		if text == "" {
			continue
		}
		if apart || len(all) == 0 {
			all = append(all, driver.Word{Start: wire.Seconds(t.StartMS / 1000)})
			parts = 0
		}
		w := &all[len(all)-1]
		w.Text += text
		w.End = max(w.End, w.Start, t.end())
		w.Confidence = (w.Confidence*float64(parts) + t.Confidence) / float64(parts+1)
		parts++
		last, _ := utf8.DecodeLastRuneInString(t.Text)
		apart = unicode.IsSpace(last)
	}
	return all
}

// tally finds what most of the text has in common.
type tally struct {
	count map[string]int
	most  string
}

func (t *tally) add(name string, n int) {
	if name == "" || name == "null" {
		return
	}
	if t.count == nil {
		t.count = make(map[string]int)
	}
	t.count[name] += n
	if t.count[name] > t.count[t.most] {
		t.most = name
	}
}
