package scripted

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

var (
	_ driver.Updater   = (*conn)(nil)
	_ driver.Deleter   = (*conn)(nil)
	_ driver.Truncater = (*conn)(nil)
	_ driver.Turner    = (*conn)(nil)
	_ driver.Canceller = (*conn)(nil)
	_ driver.Sayer     = (*conn)(nil)
	_ driver.Watcher   = (*conn)(nil)
	_ driver.Resumer   = (*conn)(nil)
	_ driver.Connected = (*connected)(nil)
)

func (c *conn) caps() *driver.Capabilities { return c.r.o.Capabilities }

// ack tells e, unless nothing is acknowledged.
func (c *conn) ack(e driver.Event) {
	if !c.r.o.NoAcks {
		c.give(0, e)
	}
}

func (c *conn) refuse(id, why string) {
	c.give(0, &driver.Error{RequestID: id, Err: &model.Error{Kind: model.KindRequest, Provider: c.r.o.Info.Provider, Op: "scripted", Err: errors.New(why)}})
}

// Add implements driver.Conn. It is strict: what a provider would refuse is refused.
func (c *conn) Add(_ context.Context, items []driver.Item) error {
	items, cannot := driver.Supported(items, func(it chat.Item) bool {
		_, isOutput := it.(*chat.FunctionCallOutput)
		return (isOutput || c.caps().MutableContext) && (c.r.o.Unsupported == nil || !c.r.o.Unsupported(it))
	})
	err := c.send(func() error {
		outputs := false
		for _, it := range items {
			id := it.Item.Head().ID
			o, isOutput := it.Item.(*chat.FunctionCallOutput)
			switch {
			case c.index(id) >= 0:
				c.refuse(id, "item exists already")
				continue
			case it.After != "" && c.index(it.After) < 0:
				c.refuse(id, "no item "+it.After)
				continue
			case isOutput && !c.called(o.CallID):
				c.refuse(id, "no call "+o.CallID)
				continue
			}
			at := len(c.items)
			if it.First {
				at = 0
			} else if it.After != "" {
				at = c.index(it.After) + 1
			}
			c.items = slices.Insert(c.items, at, it.Item)
			c.ack(&driver.ItemAdded{After: it.After, Item: it.Item})
			outputs = outputs || isOutput && !it.Silent
		}
		if outputs && c.caps().AutoToolReply {
			c.respond(&driver.Request{}, nil)
		}
		return nil
	})
	return cmp.Or(err, cannot)
}

func (c *conn) called(id string) bool {
	return slices.ContainsFunc(c.items, func(it chat.Item) bool {
		f, ok := it.(*chat.FunctionCall)
		return ok && f.CallID == id
	})
}

// Generate implements driver.Conn.
func (c *conn) Generate(_ context.Context, q *driver.Request) error {
	return c.send(func() error {
		c.r.ledger.Requests = append(c.r.ledger.Requests, *q)
		c.respond(q, nil)
		return nil
	})
}

// Say implements driver.Sayer.
func (c *conn) Say(_ context.Context, q *driver.Request, text string) error {
	if !c.caps().Say {
		return driver.ErrUnsupported
	}
	return c.send(func() error {
		c.r.ledger.Said = append(c.r.ledger.Said, text)
		c.respond(q, &Reply{Text: text})
		return nil
	})
}

// Update implements driver.Updater.
func (c *conn) Update(_ context.Context, u *driver.Update) error {
	if u.Instructions != nil && !c.caps().MutableInstructions || (u.Tools != nil || u.ToolChoice != nil) && !c.caps().MutableTools {
		return driver.ErrUnsupported
	}
	return c.send(func() error {
		c.r.ledger.Updates = append(c.r.ledger.Updates, *u)
		if u.Instructions != nil {
			c.setup.Instructions = *u.Instructions
		}
		if u.Tools != nil {
			c.setup.Tools = *u.Tools
		}
		if u.ToolChoice != nil {
			c.setup.ToolChoice = *u.ToolChoice
		}
		c.ack(&driver.Updated{ID: u.ID})
		return nil
	})
}

// Delete implements driver.Deleter.
func (c *conn) Delete(_ context.Context, id string) error {
	if c.r.o.NoDelete {
		return driver.ErrUnsupported
	}
	return c.send(func() error {
		if i := c.index(id); i >= 0 {
			c.items = slices.Delete(c.items, i, i+1)
		}
		c.r.ledger.Deleted = append(c.r.ledger.Deleted, id)
		c.ack(&driver.ItemDeleted{ItemID: id})
		return nil
	})
}

// Truncate implements driver.Truncater.
func (c *conn) Truncate(_ context.Context, id string, d time.Duration, text string) error {
	if !c.caps().Truncation {
		return driver.ErrUnsupported
	}
	return c.send(func() error {
		i := c.index(id)
		m, ok := chat.Item(nil), false
		if i >= 0 {
			m, ok = c.items[i], true
		}
		if !ok {
			c.refuse(id, "no item "+id)
			return nil
		}
		c.r.ledger.Truncated[id] = d
		if msg, ok := m.(*chat.Message); ok {
			x := *msg
			x.Content = []chat.Part{chat.Text(text)}
			c.items[i] = &x
		}
		return nil
	})
}

// StartTurn implements driver.Turner.
func (c *conn) StartTurn(context.Context) error {
	return c.turner(func() { c.r.ledger.Starts++ })
}

// Commit implements driver.Turner.
func (c *conn) Commit(context.Context) error {
	return c.turner(func() {
		c.r.ledger.Commits++
		if !c.spoken {
			c.refuse("", "nothing was heard")
			return
		}
		c.sounding, c.spoken = false, false
		c.turnOver(c.id("user"))
	})
}

// Clear implements driver.Turner.
func (c *conn) Clear(context.Context) error {
	return c.turner(func() {
		c.r.ledger.Clears++
		c.sounding, c.spoken = false, false
	})
}

func (c *conn) turner(f func()) error {
	if !c.given.ClientTurns {
		return driver.ErrUnsupported
	}
	return c.send(func() error { f(); return nil })
}

// Cancel implements driver.Canceller.
func (c *conn) Cancel(context.Context) error {
	if c.r.o.NoCancel {
		return driver.ErrUnsupported
	}
	return c.send(func() error {
		c.r.ledger.Cancels++
		if c.resp != nil {
			c.resp.cancel()
		}
		return nil
	})
}

// PushImage implements driver.Watcher.
func (c *conn) PushImage(context.Context, *chat.Image) error {
	if c.r.o.NoImages {
		return driver.ErrUnsupported
	}
	return c.send(func() error { c.r.ledger.Images++; return nil })
}

// Resumption implements driver.Resumer.
func (c *conn) Resumption() any {
	if !c.r.o.Resumption {
		return nil
	}
	return c.n
}

// connected is a connection that says how it came about.
type connected struct {
	*conn
	a Acquire
}

// Acquired implements driver.Connected.
func (c connected) Acquired() (time.Duration, bool) { return c.a.Took, c.a.Reused }
