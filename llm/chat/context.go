package chat

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/metrics"
)

// ErrNotFound is the error of Context.Remove for an id that is not in the context.
var ErrNotFound = errors.New("chat: no such item")

// Context is a conversation in order of time. The zero value is empty and ready; a nil *Context
// reads as empty. It is not safe for concurrent use; Copy one to hand it to another goroutine.
type Context struct {
	items []Item
}

// Add puts items into the conversation. Empty ids are filled. An item without a CreatedAt gets
// the current time, or a microsecond more than the last item's if that is not earlier, and goes
// to the end; an item with one goes to its place as with Insert.
func (c *Context) Add(items ...Item) {
	for _, it := range items {
		h := it.Head()
		fillID(h)
		if !h.CreatedAt.IsZero() {
			c.insert(it)
			continue
		}
		h.CreatedAt = c.nextTime()
		c.items = append(c.items, it)
	}
}

// Insert puts each item behind the last one that is not newer. Empty ids are filled, and an item
// without a CreatedAt goes to the end as with Add.
func (c *Context) Insert(items ...Item) { c.Add(items...) }

// Upsert replaces the item with the same id, or adds the item if there is none. An item without
// a CreatedAt takes over that of the one it replaces; an item with a different one moves.
func (c *Context) Upsert(it Item) {
	h := it.Head()
	i := -1
	if h.ID != "" {
		i = c.Index(h.ID)
	}
	if i < 0 {
		c.Add(it)
		return
	}
	old := c.items[i].Head().CreatedAt
	if h.CreatedAt.IsZero() {
		h.CreatedAt = old
	}
	if h.CreatedAt.Equal(old) {
		c.items[i] = it
		return
	}
	c.items = slices.Delete(c.items, i, i+1)
	c.insert(it)
}

// Items returns the items in a slice of their own.
func (c *Context) Items() []Item { return slices.Clone(c.list()) }

// All goes through the items in order. The context must not be changed meanwhile.
func (c *Context) All() iter.Seq[Item] { return slices.Values(c.list()) }

// Messages goes through the messages in order. The context must not be changed meanwhile.
func (c *Context) Messages() iter.Seq[*Message] {
	return func(yield func(*Message) bool) {
		for _, it := range c.list() {
			if m, ok := it.(*Message); ok && !yield(m) {
				return
			}
		}
	}
}

// Len is the number of items.
func (c *Context) Len() int { return len(c.list()) }

// Index is the position of the item with that id, or -1.
func (c *Context) Index(id string) int {
	items := c.list()
	for i := len(items) - 1; i >= 0; i-- { // what is looked for is mostly recent
		if items[i].Head().ID == id {
			return i
		}
	}
	return -1
}

// ByID returns the item with that id.
func (c *Context) ByID(id string) (Item, bool) {
	if i := c.Index(id); i >= 0 {
		return c.items[i], true
	}
	return nil, false
}

// Remove takes the item with that id out. The error is ErrNotFound if there is none.
func (c *Context) Remove(id string) error {
	i := c.Index(id)
	if i < 0 {
		return fmt.Errorf("remove %q: %w", id, ErrNotFound)
	}
	c.items = slices.Delete(c.items, i, i+1)
	return nil
}

// CopyOptions says what Copy and Merge leave out. The zero value leaves out nothing.
type CopyOptions struct {
	ExcludeFunctionCalls bool // calls and their outputs
	ExcludeInstructions  bool // system and developer messages
	ExcludeEmptyMessages bool // messages without any content
	ExcludeHandoffs      bool
	ExcludeConfigUpdates bool
	// Tools keeps only the calls and outputs of the tools with these names; nil keeps all.
	Tools []string
}

// Copy returns a new context with the items that o leaves; nil leaves all. The items are shared.
func (c *Context) Copy(o *CopyOptions) *Context {
	out := &Context{items: make([]Item, 0, c.Len())}
	for _, it := range c.list() {
		if o.keeps(it) {
			out.items = append(out.items, it)
		}
	}
	return out
}

// Merge inserts those items of other whose id is new here and that o leaves; nil leaves all.
func (c *Context) Merge(other *Context, o *CopyOptions) {
	known := make(map[string]bool, c.Len())
	for _, it := range c.list() {
		known[it.Head().ID] = true
	}
	for _, it := range other.list() {
		if id := it.Head().ID; !known[id] && o.keeps(it) {
			known[id] = true
			c.insert(it)
		}
	}
}

// Truncate keeps the last maxItems items at most. Calls and outputs at the new beginning go too,
// since their other half may be lost, and the first system or developer message comes back to
// the front if it fell out. A shorter context stays as it is.
func (c *Context) Truncate(maxItems int) {
	maxItems = max(maxItems, 0)
	if len(c.items) <= maxItems {
		return
	}
	tail := c.items[len(c.items)-maxItems:]
	for len(tail) > 0 && isCall(tail[0]) {
		tail = tail[1:]
	}
	kept := make([]Item, 0, len(tail)+1)
	if i := slices.IndexFunc(c.items, isInstructions); i >= 0 && !slices.Contains(tail, c.items[i]) {
		kept = append(kept, c.items[i])
	}
	c.items = append(kept, tail...)
}

// Equivalent reports whether both have the same conversation: the same ids and types in the same
// order with the same content. Times, metrics and extras do not count.
func (c *Context) Equivalent(other *Context) bool {
	return slices.EqualFunc(c.list(), other.list(), equivalent)
}

func (c *Context) list() []Item {
	if c == nil {
		return nil
	}
	return c.items
}

// insert goes from the end, where new items belong.
func (c *Context) insert(it Item) {
	fillID(it.Head())
	at := it.Head().CreatedAt
	i := len(c.items)
	for i > 0 && c.items[i-1].Head().CreatedAt.After(at) {
		i--
	}
	c.items = slices.Insert(c.items, i, it)
}

// nextTime has microseconds, so that it survives as a JSON number elsewhere.
func (c *Context) nextTime() time.Time {
	now := time.Now().Truncate(time.Microsecond)
	if n := len(c.items); n > 0 {
		if last := c.items[n-1].Head().CreatedAt; !now.After(last) {
			return last.Add(time.Microsecond)
		}
	}
	return now
}

func (o *CopyOptions) keeps(it Item) bool {
	if o == nil {
		return true
	}
	switch it := it.(type) {
	case *Message:
		if o.ExcludeInstructions && isInstructions(it) {
			return false
		}
		return !o.ExcludeEmptyMessages || !it.empty()
	case *FunctionCall:
		return o.keepsTool(it.Name)
	case *FunctionCallOutput:
		return o.keepsTool(it.Name)
	case *Handoff:
		return !o.ExcludeHandoffs
	case *ConfigUpdate:
		return !o.ExcludeConfigUpdates
	}
	return true
}

func (o *CopyOptions) keepsTool(name string) bool {
	return !o.ExcludeFunctionCalls && (o.Tools == nil || slices.Contains(o.Tools, name))
}

func fillID(h *Header) {
	if h.ID == "" {
		h.ID = metrics.NewID("item_")
	}
}

func isCall(it Item) bool {
	switch it.(type) {
	case *FunctionCall, *FunctionCallOutput:
		return true
	}
	return false
}

func isInstructions(it Item) bool {
	m, ok := it.(*Message)
	return ok && (m.Role == System || m.Role == Developer)
}

func equivalent(a, b Item) bool {
	if a.Head().ID != b.Head().ID || a.Type() != b.Type() {
		return false
	}
	switch a := a.(type) {
	case *Message:
		b := b.(*Message)
		return a.Role == b.Role && a.Interrupted == b.Interrupted && slices.EqualFunc(a.Content, b.Content, equalParts)
	case *FunctionCall:
		b := b.(*FunctionCall)
		return a.Name == b.Name && a.CallID == b.CallID && a.Arguments == b.Arguments
	case *FunctionCallOutput:
		b := b.(*FunctionCallOutput)
		return a.Name == b.Name && a.CallID == b.CallID && a.Output == b.Output && a.IsError == b.IsError
	}
	return true
}

func equalParts(a, b Part) bool {
	switch a := a.(type) {
	case Text:
		return a == b
	case *Image:
		b, ok := b.(*Image)
		return ok && *a == *b
	case *Audio:
		b, ok := b.(*Audio)
		return ok && a.Rate == b.Rate && a.Transcript == b.Transcript && slices.Equal(a.Data, b.Data)
	}
	return false
}

// NewMessage returns a message with one piece of text, or with no content if text is empty.
func NewMessage(role Role, text string) *Message {
	m := &Message{Role: role}
	if text != "" {
		m.Content = []Part{Text(text)}
	}
	return m
}

// Text is the text of the message, its parts joined by newlines.
func (m *Message) Text() string {
	var b strings.Builder
	first := true
	for _, p := range m.Content {
		t, ok := p.(Text)
		if !ok {
			continue
		}
		if !first {
			b.WriteByte('\n')
		}
		first = false
		b.WriteString(string(t))
	}
	return b.String()
}

func (m *Message) empty() bool {
	for _, p := range m.Content {
		if t, ok := p.(Text); !ok || strings.TrimSpace(string(t)) != "" {
			return false
		}
	}
	return true
}
