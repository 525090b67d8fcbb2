package tokenize

import (
	"iter"
	"strings"
	"unicode"
)

// Words yields the words of text, each with the punctuation and white space after it, so that the
// words joined are the text. Characters of scripts without spaces (Chinese, Japanese, Thai) and
// markup tags are words of their own.
func Words(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		var w WordStream
		for _, word := range w.Push(text) {
			if !yield(word) {
				return
			}
		}
		for _, word := range w.Flush() {
			if !yield(word) {
				return
			}
		}
	}
}

// CountWords counts the words of text; punctuation on its own and markup do not count.
func CountWords(text string) int {
	n := 0
	for w := range Words(text) {
		if isSpoken(w) {
			n++
		}
	}
	return n
}

// isSpoken reports whether word has a letter or digit and is not markup.
func isSpoken(word string) bool {
	return strings.ContainsFunc(WithoutTags(word), func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) })
}

// WithoutTags returns text without its markup tags.
func WithoutTags(text string) string {
	if !strings.Contains(text, "<") {
		return text
	}
	runes := []rune(text)
	kept := runes[:0]
	for i := 0; i < len(runes); i++ {
		if end, _ := tagEnd(runes, i, true); end > 0 {
			i = end - 1
		} else {
			kept = append(kept, runes[i])
		}
	}
	return string(kept)
}

// WordStream cuts text into words while it is written, as Words does. The zero value is ready.
type WordStream struct {
	feed runeFeed
	buf  []rune
}

// Push adds text and returns the words that are complete now.
func (w *WordStream) Push(text string) []string {
	w.buf = w.feed.add(w.buf, text)
	return w.scan(false)
}

// Flush ends the text and returns its last words. The next Push starts a new text.
func (w *WordStream) Flush() []string {
	w.buf = w.feed.drain(w.buf, true)
	out := w.scan(true)
	*w = WordStream{}
	return out
}

func (w *WordStream) scan(final bool) []string {
	var out []string
	for len(w.buf) > 0 {
		end := w.next(final)
		if end == 0 {
			break
		}
		out, w.buf = append(out, string(w.buf[:end])), w.buf[end:]
	}
	return out
}

// maxWord bounds a word, so that text without spaces cannot be held back for ever.
const maxWord = 256

// next returns the end of the first word in buf, or 0 if it is not complete.
func (w *WordStream) next(final bool) int {
	i, core, tail := 0, false, false // core: the word proper has begun; tail: and has ended
	for ; i < len(w.buf) && i < maxWord; i++ {
		r := w.buf[i]
		end, wait := tagEnd(w.buf, i, final)
		switch {
		case wait:
			return 0
		case end > 0 && i > 0:
			return i
		case end > 0:
			core, tail, i = true, true, end-1
		case unicode.IsSpace(r):
			tail = core
		case isCJK(r):
			if core {
				return i
			}
			core, tail = true, true
		case tail && (unicode.IsLetter(r) || unicode.IsDigit(r) || i > 0 && unicode.IsSpace(w.buf[i-1])):
			return i
		case !tail:
			core = true
		}
	}
	if final || i >= maxWord {
		return i
	}
	return 0
}
