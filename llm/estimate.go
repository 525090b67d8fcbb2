package llm

import (
	"math"
	"sync"
	"unicode"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
)

// Tokens that nobody stated are estimated: the size of the text, by its letters, times what tokens of the
// same model turned out to be in the calls whose usage it stated.

// How many tokens things are before a model has stated anything.
const (
	perLetter  = 1 / 4.5 // letters of alphabets that tokens are mostly made for, and spaces
	perSign    = 1 / 2.0 // digits and punctuation
	perForeign = 1 / 2.5 // letters of other alphabets
	perHan     = 1 / 1.4 // characters that are words or syllables
	perItem    = 4.0     // what wraps a message, a call or an output
	perTool    = 8.0     // what wraps a tool
	perImage   = 800.0
)

// sizeOf is the size of a text.
func sizeOf(text string) (n float64) {
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

// sizeOfRequest is the size of a request.
func sizeOfRequest(r *driver.Request) (n float64) {
	for it := range r.Messages.All() {
		switch it := it.(type) {
		case *chat.Message:
			n += perItem
			for _, p := range it.Content {
				n += sizeOfPart(p)
			}
		case *chat.FunctionCall:
			n += perItem + sizeOf(it.Name) + sizeOf(it.Arguments)
		case *chat.FunctionCallOutput:
			n += perItem + sizeOf(it.Output)
		}
	}
	for _, t := range r.Tools {
		n += perTool + sizeOf(t.Name) + sizeOf(t.Description) + sizeOf(string(t.Parameters))
	}
	return n
}

func sizeOfPart(p chat.Part) float64 {
	switch p := p.(type) {
	case chat.Text:
		return sizeOf(string(p))
	case *chat.Image:
		return perImage
	case *chat.Audio:
		return sizeOf(p.Transcript)
	}
	return 0
}

// sizeOfChunk is the size of a piece of an answer.
func sizeOfChunk(c *Chunk) float64 {
	n := sizeOf(c.Text)
	for _, t := range c.ToolCalls {
		n += perItem + sizeOf(t.Name) + sizeOf(t.Arguments)
	}
	return n
}

// gauge knows how many tokens sizes are, of one model. It is safe for concurrent use.
type gauge struct {
	mu            sync.Mutex
	prompt, reply ratio
}

// ratio is how many tokens the latest texts were.
type ratio struct{ tokens, size float64 }

const (
	fading = 0.8 // what an earlier text counts with each new one
	doubt  = 16  // tokens of a text of the assumed size, before any
	limit  = 32  // how far a model may be from what is assumed
)

func (r *ratio) learn(tokens int64, size float64) {
	if tokens > 0 && size > 0 {
		r.tokens, r.size = r.tokens*fading+float64(tokens), r.size*fading+size
	}
}

func (r *ratio) of(size float64) int64 {
	k := (r.tokens + doubt) / (r.size + doubt)
	return int64(math.Round(size * min(max(k, 1.0/limit), limit)))
}

func (g *gauge) promptTokens(size float64) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.prompt.of(size)
}

func (g *gauge) replyTokens(size float64) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reply.of(size)
}

func (g *gauge) learnPrompt(tokens int64, size float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.prompt.learn(tokens, size)
}

func (g *gauge) learnReply(tokens int64, size float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reply.learn(tokens, size)
}
