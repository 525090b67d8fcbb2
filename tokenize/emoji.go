package tokenize

import (
	"strings"
	"unicode"
)

// Emoji removes emoji from text, with their joiners, skin tones and flags, and the space that
// would be doubled where one was. A keycap leaves its digit; signs that are also letters or marks
// of prose (such as the trade mark sign) stay. The zero value is ready.
type Emoji struct {
	feed  runeFeed
	buf   []rune
	after bool // the last character of the text was part of an emoji
	swept bool // emoji were removed after a space or at the start
	text  bool // something that is not a space was last written
}

// Push adds text and returns it without emoji. Nothing is held back.
func (e *Emoji) Push(text string) string {
	e.buf = e.feed.add(e.buf[:0], text)
	return e.strip()
}

// Flush ends the text.
func (e *Emoji) Flush() string {
	e.buf = e.feed.drain(e.buf[:0], true)
	out := e.strip()
	*e = Emoji{buf: e.buf}
	return out
}

func (e *Emoji) strip() string {
	var out strings.Builder
	for _, r := range e.buf {
		switch {
		case isEmoji(r):
			e.swept = e.swept || !e.text
			e.after = true
		case r == 0xFE0F || r == 0xFE0E || r == 0x20E3 || e.after && (r == 0x200D || r >= 0xE0020 && r <= 0xE007F):
		case r == ' ' && e.swept:
			e.after = false
		default:
			out.WriteRune(r)
			e.after, e.swept, e.text = false, false, !unicode.IsSpace(r)
		}
	}
	return out.String()
}

// emoji are the blocks and single characters that are shown as pictures.
var emoji = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x231A, 0x231B, 1}, {0x2328, 0x2328, 1}, {0x23CF, 0x23CF, 1}, {0x23E9, 0x23F3, 1}, {0x23F8, 0x23FA, 1},
		{0x25FB, 0x25FE, 1}, {0x2600, 0x27BF, 1}, {0x2B05, 0x2B07, 1}, {0x2B1B, 0x2B1C, 1}, {0x2B50, 0x2B50, 1},
		{0x2B55, 0x2B55, 1}, {0x3030, 0x3030, 1}, {0x303D, 0x303D, 1}, {0x3297, 0x3299, 2},
	},
	R32: []unicode.Range32{
		{0x1F000, 0x1F0FF, 1}, {0x1F170, 0x1F171, 1}, {0x1F17E, 0x1F17F, 1}, {0x1F18E, 0x1F18E, 1},
		{0x1F191, 0x1F19A, 1}, {0x1F1E6, 0x1F1FF, 1}, {0x1F200, 0x1F2FF, 1}, {0x1F300, 0x1FAFF, 1},
	},
}

func isEmoji(r rune) bool { return r >= 0x231A && unicode.Is(emoji, r) }
