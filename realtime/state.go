package realtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

// ackTime is how long a change waits for the provider's acknowledgement.
const ackTime = 5 * time.Second

var errNoAck = fmt.Errorf("no acknowledgement within %s", ackTime)

// state is what a connection is made with and can be changed.
type state struct {
	instructions string
	tools        []llm.ToolSpec
	choice       llm.ToolChoice
	conv         conversation
}

func (x state) clone() state {
	x.tools, x.conv = slices.Clone(x.tools), slices.Clone(x.conv)
	return x
}

func sameTools(a, b []llm.ToolSpec) bool {
	return slices.EqualFunc(a, b, func(x, y llm.ToolSpec) bool {
		return x.Name == y.Name && x.Description == y.Description && bytes.Equal(x.Parameters, y.Parameters)
	})
}

// ack is something that the provider is to acknowledge.
type ack struct {
	key  string // kind and id, see the functions below
	undo func() // takes it back when it was not done
	done chan struct{}
	err  error
}

func updateKey(id string) string { return "update " + id }
func addKey(id string) string    { return "add " + id }
func deleteKey(id string) string { return "delete " + id }

func (s *Session) expect(key string, undo func()) *ack {
	a := &ack{key: key, undo: undo, done: make(chan struct{})}
	s.acks = append(s.acks, a)
	return a
}

// awaits reports whether the provider has yet to acknowledge the key.
func (s *Session) awaits(key string) bool {
	return slices.ContainsFunc(s.acks, func(a *ack) bool { return a.key == key })
}

// expected takes the first acknowledgement of the key off the list; nil if nobody waits for one.
func (s *Session) expected(key string) *ack {
	i := slices.IndexFunc(s.acks, func(a *ack) bool { return a.key == key })
	if i < 0 {
		return nil
	}
	a := s.acks[i]
	s.acks = slices.Delete(s.acks, i, i+1)
	return a
}

// acknowledge reports whether anybody waits for it.
func (s *Session) acknowledge(key string) bool {
	a := s.expected(key)
	if a == nil {
		return false
	}
	close(a.done)
	s.signal()
	return true
}

// refuse takes back what the provider refused, or could not do, and reports whether there was anything.
func (s *Session) refuse(key string, err error) bool {
	a := s.expected(key)
	if a == nil {
		return false
	}
	a.undo()
	a.err = err
	close(a.done)
	s.signal()
	return true
}

// acknowledgeAll ends all waits.
func (s *Session) acknowledgeAll(err error) {
	for _, a := range s.acks {
		a.err = err
		close(a.done)
	}
	s.acks = nil
}

// UpdateInstructions changes the instructions. Models that cannot change theirs get a new connection when it
// is quiet, before the next generation that is asked for.
//
// This and the other updates wait until the provider has acknowledged the change, at most 5 s. Any
// *model.Error means that the provider refused or did not answer: the session lives on, and the next
// connection begins with the change. While there is no connection they return at once. They may be called
// concurrently.
func (s *Session) UpdateInstructions(ctx context.Context, instructions string) error {
	return s.update(ctx, "update instructions", func() { s.want.instructions = instructions })
}

// UpdateTools changes the tools, which are borrowed, as UpdateInstructions does.
func (s *Session) UpdateTools(ctx context.Context, tools []llm.ToolSpec) error {
	tools = slices.Clone(tools)
	return s.update(ctx, "update tools", func() { s.want.tools = tools })
}

// UpdateToolChoice changes whether tools may or must be called, as UpdateInstructions does.
func (s *Session) UpdateToolChoice(ctx context.Context, choice llm.ToolChoice) error {
	return s.update(ctx, "update tool choice", func() { s.want.choice = choice })
}

// UpdateContext makes c, without instructions, the conversation: items that are new are created, items that
// are gone are deleted, and messages whose text changed are replaced. Ids are those of ItemAdded, Message.ID
// and Call.ItemID where the model made the item. What the model has put into the conversation and the caller
// cannot know yet stays: what the user just said, what belongs to a generation that goes on, and calls that were
// not dropped with DropCalls.
//
// Models without MutableContext are told outputs of tools only. New messages wait for a new connection,
// which is made when it is quiet; the rest is left to the next one.
func (s *Session) UpdateContext(ctx context.Context, c *chat.Context) error {
	items := itemsOf(c)
	return s.update(ctx, "update context", func() { s.setConversation(items) })
}

// DropCalls says that nobody will execute these calls. The model forgets them; one that cannot is told that they were
// cancelled, so that it does not wait for their outputs. Calls that it made in a generation that was interrupted before
// are dropped without being told.
func (s *Session) DropCalls(callIDs ...string) {
	s.mu.Lock()
	defer s.unlock()
	if s.usable() == nil {
		s.dropCalls(callIDs)
	}
}

func (s *Session) dropCalls(callIDs []string) {
	was := len(s.want.conv)
	s.want.conv = slices.DeleteFunc(s.want.conv, func(it chat.Item) bool {
		call, ok := it.(*chat.FunctionCall)
		return ok && slices.Contains(callIDs, call.CallID) && !s.want.conv.answers(call.CallID)
	})
	if len(s.want.conv) != was {
		s.reconcile()
	}
}

func (s *Session) update(ctx context.Context, op string, change func()) error {
	s.mu.Lock()
	if err := s.usable(); err != nil {
		s.mu.Unlock()
		return err
	}
	change()
	acks := s.reconcile()
	s.unlock()
	return s.await(ctx, op, acks)
}

// await waits for acks; those that do not come are forgotten.
func (s *Session) await(ctx context.Context, op string, acks []*ack) error {
	if len(acks) == 0 {
		return nil
	}
	t := time.NewTimer(ackTime)
	defer t.Stop()
	var errs []error
	var late error
	for _, a := range acks {
		if late == nil {
			select {
			case <-a.done:
			case <-t.C:
				late = &model.Error{Kind: model.KindTimeout, Provider: s.Info().Provider, Op: op, Err: errNoAck}
			case <-ctx.Done():
				late = ctx.Err()
			case <-s.closed:
				late = ErrClosed
			case <-s.user.Done():
				late = s.user.Err()
			}
		}
		select {
		case <-a.done:
			errs = append(errs, a.err)
		default:
			s.forgo(a)
		}
	}
	if late != nil {
		return late
	}
	return errors.Join(errs...)
}

// forgo gives up waiting for a: what was not acknowledged counts as not done, unless it still comes.
func (s *Session) forgo(a *ack) {
	s.mu.Lock()
	defer s.unlock()
	if i := slices.Index(s.acks, a); i >= 0 {
		s.acks = slices.Delete(s.acks, i, i+1)
		a.undo()
	}
}

// setConversation takes over what the caller wants.
func (s *Session) setConversation(items conversation) {
	items = items.adopt(s.want.conv)
	now, known := map[string]bool{}, map[string]bool{}
	for _, it := range items {
		now[it.Head().ID], known[it.Head().ID] = true, true
	}
	after := ""
	for _, it := range s.want.conv {
		id := it.Head().ID
		if !now[id] && s.protected(it) {
			items.place(after, it)
			now[id] = true
			after = id
			continue
		}
		if now[id] {
			after = id
		}
	}
	for i, it := range items { // what a message without text says is known to whoever has one
		if m, ok := it.(*chat.Message); ok && len(m.Content) == 0 {
			if at := s.want.conv.index(m.ID); at >= 0 {
				items[i] = s.want.conv[at]
			}
		}
	}
	s.known, s.want.conv = known, items
}

// protected reports whether it stays although the caller's context lacks it.
func (s *Session) protected(it chat.Item) bool {
	id := it.Head().ID
	if s.known[id] || !s.theirs[id] {
		return false
	}
	switch it := it.(type) {
	case *chat.Message:
		if it.Role == chat.User {
			return true
		}
	case *chat.FunctionCall:
		return true // until there is an output, or DropCalls
	}
	if s.c == nil {
		return false
	}
	for _, r := range s.c.responses {
		if r.g != nil && !r.g.over && slices.Contains(r.g.items, id) {
			return true
		}
	}
	return false
}

// target is what the connection should have: what is wanted, with what the present generation asks for.
func (s *Session) target() state {
	x := s.want
	if g := s.override; g != nil {
		if g.tools != nil {
			x.tools = *g.tools
		}
		if g.choice != nil {
			x.choice = *g.choice
		}
	}
	return x
}

// reconcile has the connection, if there is one, get what is wanted, and returns what is to be waited for.
// Changes that it cannot take ask for another one.
func (s *Session) reconcile() (acks []*ack) {
	c := s.c
	if c == nil {
		return nil
	}
	if a := c.reconcileSettings(s.target()); a != nil {
		acks = append(acks, a)
	}
	return append(acks, c.reconcileConversation(s.want.conv)...)
}

func (c *connection) reconcileSettings(to state) *ack {
	s := c.s
	u := &driver.Update{ID: metrics.NewID("update_")}
	can := true
	if c.has.instructions != to.instructions {
		u.Instructions = &to.instructions
		can = can && c.m.caps.MutableInstructions
	}
	if !sameTools(c.has.tools, to.tools) {
		u.Tools = &to.tools
		can = can && c.m.caps.MutableTools
	}
	if c.has.choice != to.choice {
		u.ToolChoice = &to.choice
		can = can && c.m.caps.MutableTools
	}
	if u.Instructions == nil && u.Tools == nil && u.ToolChoice == nil {
		return nil
	}
	d, ok := c.d.(driver.Updater)
	if !ok || !can {
		c.renew(renewal{why: "settings", hold: true, deadline: time.Now().Add(quietWait)})
		return nil
	}
	was := c.has
	c.has.instructions, c.has.tools, c.has.choice = to.instructions, slices.Clone(to.tools), to.choice
	a := s.expect(updateKey(u.ID), func() {
		c.has.instructions, c.has.tools, c.has.choice = was.instructions, was.tools, was.choice
	})
	s.queue(&op{key: a.key, send: func(ctx context.Context, _ driver.Conn) error { return d.Update(ctx, u) }})
	return a
}

func (c *connection) reconcileConversation(to conversation) (acks []*ack) {
	s := c.s
	ch := chat.Compare(c.has.conv, to)
	var replace []string
	for _, m := range ch.Update {
		i := c.has.conv.index(m.ID)
		old, ok := c.has.conv[i].(*chat.Message)
		if ok && len(old.Content) > 0 && len(m.Content) > 0 && !sameWords(old.Text(), m.Text()) {
			replace = append(replace, m.ID)
			continue
		}
		c.has.conv[i] = m // it says the same, or nobody knew until now
	}
	deleter, ok := c.d.(driver.Deleter)
	mutable := ok && c.m.caps.MutableContext
	if mutable {
		for _, id := range ch.Remove {
			acks = append(acks, c.delete(deleter, id))
		}
		for _, id := range replace {
			acks = append(acks, c.delete(deleter, id))
		}
	}
	var add []driver.Item
	if !mutable {
		add = c.withoutOutput(ch.Remove)
	}
	after := ""
	for _, it := range to {
		id := it.Head().ID
		at := c.has.conv.index(id)
		if at < 0 && !c.unsupported[id] {
			if _, isOutput := it.(*chat.FunctionCallOutput); isOutput || c.m.caps.MutableContext {
				add = append(add, newItem(it, after))
				c.has.conv.place(after, it)
				acks = append(acks, s.expect(addKey(id), func() { c.has.conv.remove(id) }))
			} else if c.stale(it) {
				c.renew(renewal{why: "context", fresh: true, hold: true, deadline: time.Now().Add(quietWait)})
			}
		}
		if c.has.conv.has(id) {
			after = id
		}
	}
	if len(add) > 0 {
		s.queue(&op{key: "add", items: add, send: func(ctx context.Context, d driver.Conn) error { return d.Add(ctx, add) }})
	}
	return acks
}

// withoutOutput answers those calls among the items that are no longer wanted which nobody has answered: a provider that
// cannot forget them waits for their outputs.
func (c *connection) withoutOutput(ids []string) (add []driver.Item) {
	if c.s.usable() != nil {
		return nil // it might be answered, and nobody waits for that
	}
	for _, id := range ids {
		call, ok := c.has.conv[c.has.conv.index(id)].(*chat.FunctionCall)
		if !ok || c.has.conv.answers(call.CallID) {
			continue
		}
		out := &chat.FunctionCallOutput{
			Header: chat.Header{ID: metrics.NewID("item_"), CreatedAt: time.Now()},
			CallID: call.CallID, Name: call.Name, Output: "The call was cancelled.", IsError: true, NoReply: true,
		}
		c.has.conv.place(id, out)
		add = append(add, newItem(out, id))
	}
	return add
}

// sameWords reports whether a and b differ in white space only.
func sameWords(a, b string) bool { return slices.Equal(strings.Fields(a), strings.Fields(b)) }

// stale reports whether a connection that lacks it has to be replaced.
func (c *connection) stale(it chat.Item) bool {
	m, ok := it.(*chat.Message)
	return ok && len(m.Content) > 0
}

func newItem(it chat.Item, after string) driver.Item {
	x := driver.Item{After: after, First: after == "", Item: it}
	if o, ok := it.(*chat.FunctionCallOutput); ok {
		x.Silent = o.NoReply
	}
	return x
}

func (c *connection) delete(d driver.Deleter, id string) *ack {
	s := c.s
	i := c.has.conv.index(id)
	before, it := "", c.has.conv[i]
	if i > 0 {
		before = c.has.conv[i-1].Head().ID
	}
	c.has.conv.remove(id)
	heard := c.silence(id)
	a := s.expect(deleteKey(id), func() {
		if !c.has.conv.has(id) {
			c.has.conv.place(before, it)
			heard()
		}
	})
	s.queue(&op{key: a.key, send: func(ctx context.Context, _ driver.Conn) error { return d.Delete(ctx, id) }})
	return a
}
