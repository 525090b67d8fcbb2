package tokenize

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// runeFeed turns chunks of bytes into runes and keeps a character that a chunk cut in two.
type runeFeed struct {
	rest []byte // the start of a character; shorter than utf8.UTFMax
}

// add appends the runes of text to buf.
func (f *runeFeed) add(buf []rune, text string) []rune {
	for len(f.rest) > 0 && len(text) > 0 {
		f.rest, text = append(f.rest, text[0]), text[1:]
		buf = f.drain(buf, false)
	}
	for len(text) > 0 {
		if !utf8.FullRuneInString(text) {
			f.rest = append(f.rest, text...)
			break
		}
		r, n := utf8.DecodeRuneInString(text)
		buf, text = append(buf, r), text[n:]
	}
	return buf
}

// drain appends what was kept back; with final also what never became a whole character.
func (f *runeFeed) drain(buf []rune, final bool) []rune {
	for len(f.rest) > 0 && (final || utf8.FullRune(f.rest)) {
		r, n := utf8.DecodeRune(f.rest)
		buf, f.rest = append(buf, r), f.rest[n:]
	}
	if len(f.rest) == 0 {
		f.rest = nil
	}
	return buf
}

// isCJK reports whether r belongs to a script that is written without spaces between words.
func isCJK(r rune) bool {
	return r >= 0x2E80 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) ||
		r >= 0x3000 && r <= 0x303F && unicode.IsLetter(r) ||
		r >= 0x0E00 && unicode.In(r, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar) && unicode.IsLetter(r)
}

// isCloser reports whether r may follow the mark that ends a sentence and still belong to it.
func isCloser(r rune) bool {
	return strings.ContainsRune("\"')]}”’»›」』】》〉）］｝*_", r)
}

// isOpener reports whether r may stand before the first word of a sentence.
func isOpener(r rune) bool {
	return strings.ContainsRune("\"'([{“‘«‹「『【《〈（［｛¿¡*_", r)
}

// maxTag is the longest markup tag in characters; a longer one is text.
const maxTag = 160

// tagEnd looks for the markup tag that starts at buf[i]. It returns the index after it, or 0 if
// there is none, or wait if more text is needed to tell.
func tagEnd(buf []rune, i int, final bool) (end int, wait bool) {
	if buf[i] != '<' {
		return 0, false
	}
	for j := i + 1; j < i+maxTag; j++ {
		switch {
		case j == len(buf):
			return 0, !final
		case j == i+1 && !(buf[j] == '/' || unicode.IsLetter(buf[j])):
			return 0, false
		case buf[j] == '>':
			return j + 1, false
		case buf[j] == '<', buf[j] == '\n':
			return 0, false
		}
	}
	return 0, false
}

// visibleLen counts the characters of buf without its markup and the space around it.
func visibleLen(buf []rune) int {
	n, last := 0, 0
	for i := 0; i < len(buf); i++ {
		if end, _ := tagEnd(buf, i, true); end > 0 {
			i = end - 1
			continue
		}
		if n > 0 || !unicode.IsSpace(buf[i]) {
			n++
		}
		if !unicode.IsSpace(buf[i]) {
			last = n
		}
	}
	return last
}
