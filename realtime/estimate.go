package realtime

import (
	"sync"
	"time"

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

// sound is how much of it a connection has carried, both ways.
type sound struct {
	of     map[string]float64 // each item that was spoken over it, by either side
	silent map[string]bool    // items that were, and are gone or a text now
	told   float64            // by the model
	placed float64            // by the user, in items
	gone   float64            // of items that are not there any more
}

// heard is the size of the sound of all turns of the user.
func (c *connection) heard() float64 {
	if c.s.mono == nil {
		return 0
	}
	return audio.Samples(c.s.turns.heard).At(c.s.mono.Out).Seconds() * perSecondHeard
}

// said notes that the item holds what the user said since the one before.
func (c *connection) said(id string) {
	all := c.heard()
	c.sound.of[id] += max(all-c.sound.placed, 0)
	c.sound.placed = all
}

// spoken reports whether the item was spoken over the connection.
func (c *connection) spoken(id string) bool {
	_, ok := c.sound.of[id]
	return ok
}

// silence notes that the item is gone, or a text from now on. It returns what takes that back.
func (c *connection) silence(id string) (undo func()) {
	n, ok := c.sound.of[id]
	if !ok {
		return func() {}
	}
	delete(c.sound.of, id)
	c.sound.silent[id] = true
	c.sound.gone += n
	return func() {
		delete(c.sound.silent, id)
		c.sound.of[id] += n
		c.sound.gone -= n
	}
}

// cut notes that only the first d of what the model said in the item are left.
func (c *connection) cut(id string, d time.Duration) {
	if n := c.sound.of[id] - d.Seconds()*perSecondSpoken; n > 0 {
		c.sound.of[id] -= n
		c.sound.gone += n
	}
}

// input is the size of what a response begins with: what was said over the connection is sound to it, the rest
// is text.
func (c *connection) input() (n size) {
	n.read = estimate.Text(c.has.instructions) + estimate.Tools(c.has.tools)
	for _, it := range c.has.conv {
		if !c.spoken(it.Head().ID) {
			n.read += estimate.Item(it)
		}
	}
	n.heard = max(c.heard()+c.sound.told-c.sound.gone, 0)
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
			c.sound.told += n
			if c.sound.silent[e.ItemID] {
				c.sound.gone += n
			}
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
