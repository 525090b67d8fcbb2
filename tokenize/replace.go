package tokenize

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Replacer replaces words and phrases in text, for example to fix how a name is spoken. The
// longest key that matches at a place wins, what was put in is not looked at again, and only text
// that could be the start of a key is held back. Keys match anywhere, also inside words.
type Replacer struct {
	feed    runeFeed
	buf     []rune
	keys    map[rune][]replacement // by the first character, longest first
	foldsTo func(rune) rune
}

type replacement struct {
	key []rune
	to  string
}

// NewReplacer returns a filter that replaces the keys of table by their values. Empty keys are
// ignored. Without caseSensitive, upper and lower case are the same in keys and text; of keys
// that become equal by that, the first in byte order counts.
func NewReplacer(table map[string]string, caseSensitive bool) *Replacer {
	r := &Replacer{keys: make(map[rune][]replacement), foldsTo: func(c rune) rune { return c }}
	if !caseSensitive {
		r.foldsTo = func(c rune) rune { return unicode.ToLower(unicode.ToUpper(c)) }
	}
	for key, to := range table {
		if key == "" || !utf8.ValidString(key) {
			continue
		}
		first := r.foldsTo([]rune(key)[0])
		r.keys[first] = append(r.keys[first], replacement{[]rune(key), to})
	}
	for _, list := range r.keys {
		slices.SortFunc(list, func(a, b replacement) int {
			return cmp.Or(len(b.key)-len(a.key), strings.Compare(string(a.key), string(b.key)))
		})
		for _, item := range list {
			for i := range item.key {
				item.key[i] = r.foldsTo(item.key[i])
			}
		}
	}
	return r
}

// Push adds text and returns what is decided now.
func (r *Replacer) Push(text string) string {
	r.buf = r.feed.add(r.buf, text)
	return r.scan(false)
}

// Flush ends the text and returns the rest.
func (r *Replacer) Flush() string {
	r.buf = r.feed.drain(r.buf, true)
	return r.scan(true)
}

func (r *Replacer) scan(final bool) string {
	var out strings.Builder
	for len(r.buf) > 0 {
		item, wait := r.match(final)
		if wait {
			break
		}
		if item == nil {
			out.WriteRune(r.buf[0])
			r.buf = r.buf[1:]
			continue
		}
		out.WriteString(item.to)
		r.buf = r.buf[len(item.key):]
	}
	return out.String()
}

// match finds the longest key at the start of buf; wait means that a longer one may still come.
func (r *Replacer) match(final bool) (item *replacement, wait bool) {
	list := r.keys[r.foldsTo(r.buf[0])]
	for i := range list {
		key, n := list[i].key, 0
		for n < len(key) && n < len(r.buf) && r.foldsTo(r.buf[n]) == key[n] {
			n++
		}
		if n == len(key) {
			return &list[i], false
		}
		if n == len(r.buf) && !final {
			return nil, true
		}
	}
	return nil, false
}
