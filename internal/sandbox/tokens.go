package sandbox

import (
	"hash/fnv"
	"unicode"
	"unicode/utf8"
)

// Tokenizer counts tokens about as language models do, without their vocabularies: common words are one
// token together with the space before them, others are cut into pieces, digits go by three, punctuation
// by runs, and letters of other alphabets, which vocabularies have fewer words of, into smaller pieces.
// Which word is common, and where the others are cut, is up to a hash, so that it follows no formula.
type Tokenizer struct {
	Common int // letters of the longest word that is surely one token
	Piece  int // mean letters of a piece
}

// The tokenizers of providers: Anthropic's makes more tokens of a text than others, Google's fewer.
var (
	OpenAITokens    = Tokenizer{Common: 7, Piece: 5}
	AnthropicTokens = Tokenizer{Common: 5, Piece: 4}
	GoogleTokens    = Tokenizer{Common: 8, Piece: 6}
)

// Count is how many tokens text is.
func (t Tokenizer) Count(text string) (n int64) {
	for text != "" {
		run, class := cut(text)
		text = text[len(run):]
		switch class {
		case letters:
			n += t.word(run)
		case digits:
			n += int64(len(run)+2) / 3
		case signs:
			n += int64(utf8.RuneCountInString(run)+1) / 2
		case syllables:
			n += pieces(run, 1, 2)
		case spaces:
			if len(run) > 1 || run != " " { // a single one belongs to what follows
				n++
			}
		}
	}
	return n
}

// word is how many tokens a word is.
func (t Tokenizer) word(w string) int64 {
	long, ascii := utf8.RuneCountInString(w), len(w) == utf8.RuneCountInString(w)
	switch {
	case !ascii:
		return pieces(w, 1, t.Piece)
	case long <= t.Common, long <= t.Common+4 && hash(w)%4 != 0:
		return 1
	}
	return pieces(w, t.Piece-2, t.Piece+2)
}

// pieces is how many tokens w is whose pieces have from least to most letters.
func pieces(w string, least, most int) (n int64) {
	for w != "" {
		size := least + int(hash(w))%(most-least+1)
		for ; size > 0 && w != ""; size-- {
			_, l := utf8.DecodeRuneInString(w)
			w = w[l:]
		}
		n++
	}
	return n
}

func hash(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s))
	return h.Sum32() >> 1
}

type class uint8

const (
	letters class = iota
	digits
	signs
	syllables
	spaces
)

func classOf(r rune) class {
	switch {
	case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul):
		return syllables
	case unicode.IsLetter(r), unicode.IsMark(r), r == '\'':
		return letters
	case unicode.IsDigit(r):
		return digits
	case unicode.IsSpace(r):
		return spaces
	}
	return signs
}

// cut returns the run of one class that text begins with.
func cut(text string) (string, class) {
	var first class
	for i, r := range text {
		c := classOf(r)
		if i == 0 {
			first = c
		} else if c != first {
			return text[:i], first
		}
	}
	return text, first
}
