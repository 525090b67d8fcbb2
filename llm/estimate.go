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

// sizeOfChunk is the size of a piece of an answer.
func sizeOfChunk(c *Chunk) float64 {
	n := estimate.Text(c.Text)
	for _, t := range c.ToolCalls {
		n += estimate.Wrap + estimate.Text(t.Name) + estimate.Text(t.Arguments)
	}
	return n
}

// gauge knows how many tokens sizes are, of one model. It is safe for concurrent use.
type gauge struct {
	mu     sync.Mutex
	prompt [2]estimate.Ratio // without tools, and with: some providers have a prompt of their own for these
	reply  estimate.Ratio
}

// size is that of a request.
type size struct {
	size  float64
	tools bool
}

func (g *gauge) ratio(s size) *estimate.Ratio {
	if s.tools {
		return &g.prompt[1]
	}
	return &g.prompt[0]
}

func (g *gauge) promptTokens(s size) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ratio(s).Of(s.size)
}

func (g *gauge) replyTokens(size float64) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reply.Of(size)
}

func (g *gauge) learnPrompt(tokens int64, s size) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if tokens > 0 {
		g.ratio(s).Learn(tokens, s.size)
	}
}

func (g *gauge) learnReply(tokens int64, size float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if tokens > 0 {
		g.reply.Learn(tokens, size)
	}
}
