package openai

import (
	"crypto/sha256"
	"encoding/json"
	"strings"
	"sync"
)

const (
	// maxChains is how many answers are remembered, of all the conversations that share a model. The
	// oldest is forgotten; its conversation is sent whole, once.
	maxChains = 4096
	// maxLost is how many answers in a row a service may not know before nothing is built on it any more.
	maxLost = 3
)

// digest stands for a conversation up to one of its items.
type digest [sha256.Size]byte

// with is the digest of the conversation after one more item. White space in what the assistant said
// does not count.
func (d digest) with(it inputItem) digest {
	if it.Role == "assistant" && it.Type == "message" {
		var text []string
		for _, p := range it.Content {
			text = append(text, strings.Fields(p.Text)...)
		}
		it = assistantItem(strings.Join(text, " "))
	}
	b, err := json.Marshal(it)
	if err != nil {
		return digest{} // cannot be: there are only texts in it
	}
	return sha256.Sum256(append(d[:], b...))
}

// chains remembers which conversations, up to and including an answer, a service keeps under which
// id. Since a conversation goes by all it consists of, an answer that was cut short, thrown away or
// changed is never built upon. It is safe for concurrent use; nil remembers nothing.
type chains struct {
	mu    sync.Mutex
	ids   map[digest]string
	order []digest // of ids, oldest first, from next on
	next  int
	lose  int // in a row
}

func newChains() *chains { return &chains{ids: map[digest]string{}} }

// find returns what is to be sent of the conversation, which is never nothing, and the id of the
// answer that it follows; "" if all is to be sent.
func (c *chains) find(input []inputItem) (rest []inputItem, id string) {
	rest = input
	if c == nil {
		return rest, ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lose >= maxLost {
		return rest, ""
	}
	var d digest
	for i, it := range input[:max(len(input)-1, 0)] {
		d = d.with(it)
		if known := c.ids[d]; known != "" {
			rest, id = input[i+1:], known
		}
	}
	return rest, id
}

// add remembers the answer to a conversation.
func (c *chains) add(input, answer []inputItem, id string, built bool) {
	if c == nil || id == "" {
		return
	}
	var d digest
	for _, it := range input {
		d = d.with(it)
	}
	for _, it := range answer {
		d = d.with(it)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if built {
		c.lose = 0
	}
	if _, known := c.ids[d]; !known {
		if len(c.order) < maxChains {
			c.order = append(c.order, d)
		} else {
			delete(c.ids, c.order[c.next])
			c.order[c.next] = d
			c.next = (c.next + 1) % maxChains
		}
	}
	c.ids[d] = id
}

// lost notes that the service did not know an answer.
func (c *chains) lost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lose++
}
