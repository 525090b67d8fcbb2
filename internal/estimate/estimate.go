// Package estimate guesses tokens that nobody stated: the size of a text, by its letters, times what tokens
// of the same model turned out to be where their number was stated. A size is in tokens as they are before a
// model has stated anything.
package estimate

import (
	"math"
	"unicode"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
)

// How many tokens things are before a model has stated anything.
const (
	perLetter  = 1 / 4.5 // letters of alphabets that tokens are mostly made for, and spaces
	perSign    = 1 / 2.0 // digits and punctuation
	perForeign = 1 / 2.5 // letters of other alphabets
	perHan     = 1 / 1.4 // characters that are words or syllables
	perTool    = 8.0     // what wraps a tool
	perImage   = 800.0
)

// Wrap is what wraps a message, a call or an output.
const Wrap = 4.0

// Text is the size of a text.
func Text(text string) (n float64) {
	for _, r := range text {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == ' ', r == '\n':
			n += perLetter
		case r < 0xC0:
			n += perSign
		case r < 0x250:
			n += perForeign // of an alphabet with accents, which break words
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul):
			n += perHan
		default:
			n += perForeign
		}
	}
	return n
}

// Item is the size of an item of a conversation.
func Item(it chat.Item) (n float64) {
	switch it := it.(type) {
	case *chat.Message:
		n = Wrap
		for _, p := range it.Content {
			n += part(p)
		}
	case *chat.FunctionCall:
		n = Wrap + Text(it.Name) + Text(it.Arguments)
	case *chat.FunctionCallOutput:
		n = Wrap + Text(it.Output)
	}
	return n
}

func part(p chat.Part) float64 {
	switch p := p.(type) {
	case chat.Text:
		return Text(string(p))
	case *chat.Image:
		return perImage
	case *chat.Audio:
		return Text(p.Transcript)
	}
	return 0
}

// Tools is the size of tools.
func Tools(specs []driver.ToolSpec) (n float64) {
	for _, t := range specs {
		n += perTool + Text(t.Name) + Text(t.Description) + Text(string(t.Parameters))
	}
	return n
}

// Ratio is how many tokens the latest things were.
type Ratio struct{ tokens, size float64 }

const (
	fading = 0.8 // what an earlier text counts with each new one
	doubt  = 16  // tokens of a text of the assumed size, before any
	limit  = 32  // how far a model may be from what is assumed
)

// Learn has seen that something of a size was so many tokens.
func (r *Ratio) Learn(tokens int64, size float64) {
	if size > 0 {
		r.tokens, r.size = r.tokens*fading+float64(tokens), r.size*fading+size
	}
}

// Of is how many tokens something of a size is believed to be.
func (r *Ratio) Of(size float64) int64 {
	k := (r.tokens + doubt) / (r.size + doubt)
	return int64(math.Round(size * min(max(k, 1.0/limit), limit)))
}
