package llm

import (
	"sync"

	"github.com/parley-go/parley/internal/estimate"
	"github.com/parley-go/parley/llm/driver"
)

// sizeOfRequest is the size of a request.
func sizeOfRequest(r *driver.Request) size {
	n := estimate.Tools(r.Tools)
	for it := range r.Messages.All() {
		n += estimate.Item(it)
	}
	return size{n, len(r.Tools) > 0}
}

// take adds a piece of an answer.
func (s *size) take(c *Chunk) {
	s.size += estimate.Text(c.Text)
	for _, t := range c.ToolCalls {
		s.size += estimate.Wrap + estimate.Text(t.Name) + estimate.Text(t.Arguments)
		s.tools = true
	}
}

// gauge knows how many tokens sizes are, of one model. It is safe for concurrent use.
type gauge struct {
	mu            sync.Mutex
	prompt, reply ratios
}

// ratios are one without tools, and one with: some providers have a prompt of their own for these, and what wraps a call
// may cost more than it says.
type ratios [2]estimate.Ratio

// size is that of a request, or of an answer.
type size struct {
	size  float64
	tools bool // are given, or called
}

func (r *ratios) of(s size) *estimate.Ratio {
	if s.tools {
		return &r[1]
	}
	return &r[0]
}

func (g *gauge) promptTokens(s size) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.prompt.of(s).Of(s.size)
}

func (g *gauge) replyTokens(s size) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reply.of(s).Of(s.size)
}

func (g *gauge) learnPrompt(tokens int64, s size) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if tokens > 0 {
		g.prompt.of(s).Learn(tokens, s.size)
	}
}

func (g *gauge) learnReply(tokens int64, s size) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if tokens > 0 {
		g.reply.of(s).Learn(tokens, s.size)
	}
}
