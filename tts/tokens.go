package tts

import (
	"sync"

	"github.com/parley-go/parley/internal/estimate"
)

// Tokens of a character before a model has stated any: English text, and audio of 20 tokens a second in which
// 15 characters are said.
const (
	textTokens  = 0.25
	audioTokens = 20.0 / 15
)

// gauge knows how many tokens characters are, of one model. It is safe for concurrent use.
type gauge struct {
	mu      sync.Mutex
	bills   bool // tokens
	in, out estimate.Ratio
}

// learn has seen what a text was billed with.
func (g *gauge) learn(characters, in, out int64) {
	if in == 0 && out == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bills = true
	g.in.Learn(in, float64(characters)*textTokens)
	g.out.Learn(out, float64(characters)*audioTokens)
}

// tokens is what a text is believed to cost; 0 if the model bills no tokens.
func (g *gauge) tokens(characters int64) (in, out int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.bills {
		return 0, 0
	}
	return g.in.Of(float64(characters) * textTokens), g.out.Of(float64(characters) * audioTokens)
}
