package stt

import (
	"sync"
	"time"

	"github.com/parley-go/parley/internal/estimate"
)

// audioTokens is what a second of audio is believed to cost before a model has stated anything.
const audioTokens = 10

// gauge knows how many tokens audio and texts are, of one model. It is safe for concurrent use.
type gauge struct {
	mu      sync.Mutex
	bills   bool // tokens
	in, out estimate.Ratio
}

// learn has seen what an utterance was billed with.
func (g *gauge) learn(d time.Duration, text string, in, out int64) {
	if in == 0 && out == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bills = true
	g.in.Learn(in, d.Seconds()*audioTokens)
	g.out.Learn(out, estimate.Text(text))
}

// tokens is what an utterance is believed to cost; 0 if the model bills no tokens.
func (g *gauge) tokens(d time.Duration, text string) (in, out int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.bills {
		return 0, 0
	}
	return g.in.Of(d.Seconds() * audioTokens), g.out.Of(estimate.Text(text))
}
