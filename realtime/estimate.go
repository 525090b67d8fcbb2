package realtime

import (
	"sync"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/estimate"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/realtime/driver"
)

// Tokens of sound before a model has stated anything, for each second.
const (
	perSecondHeard  = 10.0
	perSecondSpoken = 20.0
)

// gauge knows how many tokens sizes are, of one model. It is safe for concurrent use.
type gauge struct {
	mu                         sync.Mutex
	read, heard, wrote, spoken estimate.Ratio
}

// size is what a response is made of, and what came of it, in the tokens that package estimate assumes.
type size struct{ read, heard, wrote, spoken float64 }

// input is the size of what a response begins with: what was said over the connection is sound to it, the rest
// is text.
func (c *connection) input() (n size) {
	n.read = estimate.Text(c.has.instructions) + estimate.Tools(c.has.tools)
	for _, it := range c.has.conv {
		if !c.spoken[it.Head().ID] {
			n.read += estimate.Item(it)
		}
	}
	if c.s.mono != nil {
		n.heard = audio.Samples(c.s.turns.heard).At(c.s.mono.Out).Seconds() * perSecondHeard
	}
	n.heard += c.told
	return n
}

// came notes a piece of a response, whether anybody wants it or not.
func (c *connection) came(e driver.Event) {
	switch e := e.(type) {
	case *driver.Text:
		if r := c.responses[e.ResponseID]; r != nil {
			r.size.wrote += estimate.Text(e.Delta)
		}
	case *driver.Audio:
		if r := c.responses[e.ResponseID]; r != nil {
			n := e.Frame.Duration().Seconds() * perSecondSpoken
			r.size.spoken += n
			c.told += n
		}
	case *driver.ToolCall:
		if r := c.responses[e.ResponseID]; r != nil {
			r.size.wrote += estimate.Item(&chat.FunctionCall{Name: e.Call.Name, Arguments: e.Call.Arguments})
		}
	}
}

// learn takes what the provider stated for a response; whole says that all of it came.
func (g *gauge) learn(u *driver.Usage, n size, whole bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if u.InputTokens > 0 {
		text, sound := split(u.InputTokens, u.Input.TextTokens, u.Input.AudioTokens, n.heard > 0)
		g.read.Learn(text, n.read)
		g.heard.Learn(sound, n.heard)
	}
	if u.OutputTokens > 0 && whole {
		text, sound := split(u.OutputTokens, u.Output.TextTokens, u.Output.AudioTokens, n.spoken > 0)
		g.wrote.Learn(text, n.wrote)
		g.spoken.Learn(sound, n.spoken)
	}
}

// split tells tokens of text from those of sound. What a provider does not tell apart is sound, if there is any.
func split(all, text, sound int64, audible bool) (int64, int64) {
	switch {
	case text+sound > 0:
		return text, sound
	case audible:
		return 0, all
	}
	return all, 0
}

// usage is what a response is believed to cost.
func (g *gauge) usage(n size) (u driver.Usage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u.Input.TextTokens, u.Input.AudioTokens = g.read.Of(n.read), g.heard.Of(n.heard)
	u.Output.TextTokens, u.Output.AudioTokens = g.wrote.Of(n.wrote), g.spoken.Of(n.spoken)
	u.InputTokens = u.Input.TextTokens + u.Input.AudioTokens
	u.OutputTokens = u.Output.TextTokens + u.Output.AudioTokens
	return u
}
