package realtime

import (
	"slices"
	"time"

	"github.com/parley-go/parley/llm/chat"
)

// conversation is a mirror of what a provider has: items in the provider's order, which need not be that of
// time. Items are shared and read-only.
type conversation []chat.Item

func (c conversation) index(id string) int {
	for i := len(c) - 1; i >= 0; i-- {
		if c[i].Head().ID == id {
			return i
		}
	}
	return -1
}

func (c conversation) has(id string) bool { return c.index(id) >= 0 }

// answers reports whether there is an output of the call.
func (c conversation) answers(callID string) bool {
	return slices.ContainsFunc(c, func(it chat.Item) bool {
		o, ok := it.(*chat.FunctionCallOutput)
		return ok && o.CallID == callID
	})
}

// insert puts it behind the item with the id after, or at the end if there is none.
func (c *conversation) insert(after string, it chat.Item) {
	i := len(*c)
	if after != "" {
		if at := c.index(after); at >= 0 {
			i = at + 1
		}
	}
	*c = slices.Insert(*c, i, it)
}

// place puts it behind the item with the id after, "" being the beginning.
func (c *conversation) place(after string, it chat.Item) {
	if after == "" {
		*c = slices.Insert(*c, 0, it)
		return
	}
	c.insert(after, it)
}

// follow moves the item with the id behind the one with the id after, if both are there.
func (c *conversation) follow(after, id string) {
	i, at := c.index(id), c.index(after)
	if i < 0 || at < 0 || i == at+1 {
		return
	}
	it := (*c)[i]
	*c = slices.Delete(*c, i, i+1)
	c.place(after, it)
}

// last is the id of the last item, "" for none.
func (c conversation) last() string {
	if len(c) == 0 {
		return ""
	}
	return c[len(c)-1].Head().ID
}

// before is the id of the item before the one with the id, "" for none.
func (c conversation) before(id string) string {
	i := c.index(id)
	if i <= 0 {
		return ""
	}
	return c[i-1].Head().ID
}

func (c *conversation) remove(id string) bool {
	i := c.index(id)
	if i < 0 {
		return false
	}
	*c = slices.Delete(*c, i, i+1)
	return true
}

// edit replaces the message with the id by a copy that f has changed.
func (c conversation) edit(id string, f func(*chat.Message)) {
	i := c.index(id)
	if i < 0 {
		return
	}
	if m, ok := c[i].(*chat.Message); ok {
		x := *m
		f(&x)
		c[i] = &x
	}
}

// context is the conversation as a chat.Context, whose items are in order of time: those that are not get
// the time of the one before. Messages without content are left out, for nobody knows what they say.
func (c conversation) context() *chat.Context {
	out := &chat.Context{}
	var last time.Time
	for _, it := range c {
		if m, ok := it.(*chat.Message); ok && len(m.Content) == 0 {
			continue
		}
		if at := it.Head().CreatedAt; at.Before(last) || at.IsZero() {
			it = withTime(it, last)
		}
		last = it.Head().CreatedAt
		out.Add(it)
	}
	return out
}

func withTime(it chat.Item, at time.Time) chat.Item {
	switch it := it.(type) {
	case *chat.Message:
		x := *it
		x.CreatedAt = at
		return &x
	case *chat.FunctionCall:
		x := *it
		x.CreatedAt = at
		return &x
	case *chat.FunctionCallOutput:
		x := *it
		x.CreatedAt = at
		return &x
	}
	return it
}

// itemsOf are the items of a caller's context that a model can be told.
func itemsOf(c *chat.Context) conversation {
	var out conversation
	if c == nil {
		return out
	}
	for it := range c.All() {
		switch it.(type) {
		case *chat.Message, *chat.FunctionCall, *chat.FunctionCallOutput:
			out = append(out, it)
		}
	}
	return out
}

// adopt gives calls and outputs of c the ids that was has for them: who executed a call may have filed it
// under an id of his own.
func (c conversation) adopt(was conversation) conversation {
	calls, outputs := map[string]string{}, map[string]string{}
	for _, it := range was {
		switch it := it.(type) {
		case *chat.FunctionCall:
			calls[it.CallID] = it.ID
		case *chat.FunctionCallOutput:
			outputs[it.CallID] = it.ID
		}
	}
	for i, it := range c {
		switch it := it.(type) {
		case *chat.FunctionCall:
			if id, ok := calls[it.CallID]; ok && id != it.ID {
				x := *it
				x.ID = id
				c[i] = &x
			}
		case *chat.FunctionCallOutput:
			if id, ok := outputs[it.CallID]; ok && id != it.ID {
				x := *it
				x.ID = id
				c[i] = &x
			}
		}
	}
	return c
}
