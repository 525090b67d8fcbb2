package openai

import (
	"context"
	"encoding/base64"
	"errors"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/realtime/driver"
)

// conversation implements driver.Conn and most of what a connection can do beyond.
type conversation struct {
	d *converser
	*wire.Socket

	mu      sync.Mutex
	long    map[string]string // ids that were too long for the service, by what it got
	updates []string          // that are not acknowledged, in order
	forced  []string          // texts to be said that no answer began for, in order
	loose   time.Duration     // audio since the last commit

	// Of the goroutine that reads.
	ready []driver.Event
	said  map[string]*userItem // what the user says, by item
	begun map[string]bool      // messages that were told
	pcm   []int16              // of the newest audio
}

// userItem is what is known of an item of the user.
type userItem struct {
	text  string
	since time.Time
}

var (
	_ driver.Updater   = (*conversation)(nil)
	_ driver.Deleter   = (*conversation)(nil)
	_ driver.Truncater = (*conversation)(nil)
	_ driver.Turner    = (*conversation)(nil)
	_ driver.Canceller = (*conversation)(nil)
	_ driver.Connected = (*conversation)(nil)
	_ driver.Sayer     = (*conversation)(nil)
)

// open makes a fresh connection ready: session.created comes by itself, session.updated is the answer to our
// configuration.
func (c *conversation) open(ctx context.Context, s *driver.Setup) error {
	if err := c.send(ctx, "", map[string]any{"type": "session.update", "session": c.d.session(s)}); err != nil {
		return err
	}
	for {
		var e conversationEvent
		if err := c.ReadJSON(ctx, &e); err != nil {
			return err
		}
		switch e.Type {
		case "session.updated":
			return c.recall(ctx, s.History)
		case "error":
			return c.d.refused("open session", e.Error, 400)
		}
	}
}

// recall tells the service what was said before. Calls without an output, and outputs without a call, are left
// out: the service refuses them.
func (c *conversation) recall(ctx context.Context, h *chat.Context) error {
	var items []driver.Item
	keep := func(it chat.Item) {
		items = append(items, driver.Item{First: len(items) == 0, After: lastID(items), Item: it})
	}
	groups, _ := h.Groups()
	for _, g := range groups {
		if g.Message != nil {
			keep(g.Message)
		}
		for _, call := range g.Calls {
			keep(call)
		}
		for _, out := range g.Outputs {
			keep(out)
		}
	}
	if err := c.Add(ctx, items); err != nil && !errors.Is(err, driver.ErrUnsupported) {
		return err
	}
	return nil
}

func lastID(items []driver.Item) string {
	if len(items) == 0 {
		return ""
	}
	return items[len(items)-1].Item.Head().ID
}

// ofRequest begins the ids of messages that tell in their rest for which request they are.
const ofRequest = "for_"

// send sends a message on behalf of a request of the caller's; "" for none.
func (c *conversation) send(ctx context.Context, request string, m map[string]any) error {
	if request != "" {
		m["event_id"] = ofRequest + request
	}
	return c.WriteJSON(ctx, m)
}

// Push implements driver.Conn.
func (c *conversation) Push(ctx context.Context, f audio.Frame) error {
	c.mu.Lock()
	c.loose += f.Duration()
	c.mu.Unlock()
	pcm := wire.AppendPCM(make([]byte, 0, 2*len(f.Data)), f.Data)
	return c.WriteJSON(ctx, map[string]any{"type": "input_audio_buffer.append", "audio": base64.StdEncoding.EncodeToString(pcm)})
}

// Add implements driver.Conn.
func (c *conversation) Add(ctx context.Context, items []driver.Item) error {
	var left []string
	for _, it := range items {
		form := c.item(it.Item)
		if form == nil {
			left = append(left, it.Item.Head().ID)
			continue
		}
		m := map[string]any{"type": "conversation.item.create", "item": form}
		switch {
		case it.After != "":
			m["previous_item_id"] = c.short(it.After)
		case it.First:
			m["previous_item_id"] = "root"
		}
		if err := c.send(ctx, it.Item.Head().ID, m); err != nil {
			return err
		}
	}
	if len(left) > 0 {
		return driver.Unsupported(left...)
	}
	return nil
}

// item is the service's form of an item; nil for none.
func (c *conversation) item(it chat.Item) map[string]any {
	m := map[string]any{"id": c.short(it.Head().ID), "type": it.Type()}
	switch it := it.(type) {
	case *chat.Message:
		m["role"] = string(it.Role)
		if it.Role == chat.Developer {
			m["role"] = string(chat.System)
		}
		parts := c.parts(it)
		if len(parts) == 0 {
			return nil
		}
		m["content"] = parts
	case *chat.FunctionCall:
		m["call_id"], m["name"], m["arguments"] = short(it.CallID), it.Name, it.Arguments
	case *chat.FunctionCallOutput:
		m["call_id"], m["output"] = short(it.CallID), it.Output
	default:
		return nil
	}
	return m
}

func (c *conversation) parts(m *chat.Message) (list []map[string]any) {
	kind := "input_text"
	if m.Role == chat.Assistant {
		kind = "output_text"
	}
	text := func(t string) {
		if t != "" {
			list = append(list, map[string]any{"type": kind, "text": t})
		}
	}
	for _, p := range m.Content {
		switch p := p.(type) {
		case chat.Text:
			text(string(p))
		case *chat.Audio:
			text(p.Transcript)
		case *chat.Image:
			if m.Role == chat.User {
				list = append(list, map[string]any{"type": "input_image", "image_url": p.URL})
			}
		}
	}
	return list
}

// short is an id as the service takes it, which is remembered.
func (c *conversation) short(id string) string {
	s := short(id)
	if s != id {
		c.mu.Lock()
		c.long[s] = id
		c.mu.Unlock()
	}
	return s
}

// id is the caller's id of an item.
func (c *conversation) id(s string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return or(c.long[s], s)
}

// Generate implements driver.Conn.
func (c *conversation) Generate(ctx context.Context, r *driver.Request) error {
	resp := map[string]any{"metadata": map[string]any{"client_event_id": r.ID}}
	if r.Instructions != "" {
		resp["instructions"] = r.Instructions
	}
	if r.Tools != nil && c.d.service != XAI {
		resp["tools"] = realtimeTools(*r.Tools)
	}
	if r.ToolChoice != nil && c.d.service != XAI {
		resp["tool_choice"] = realtimeChoice(*r.ToolChoice)
	}
	return c.send(ctx, r.ID, map[string]any{"type": "response.create", "response": resp})
}

// Update implements driver.Updater.
func (c *conversation) Update(ctx context.Context, u *driver.Update) error {
	s := map[string]any{"type": "realtime"}
	if u.Instructions != nil {
		s["instructions"] = *u.Instructions
	}
	if u.Tools != nil {
		s["tools"] = realtimeTools(*u.Tools)
	}
	if u.ToolChoice != nil {
		s["tool_choice"] = realtimeChoice(*u.ToolChoice)
	}
	c.mu.Lock()
	c.updates = append(c.updates, u.ID)
	c.mu.Unlock()
	return c.send(ctx, u.ID, map[string]any{"type": "session.update", "session": s})
}

// Delete implements driver.Deleter.
func (c *conversation) Delete(ctx context.Context, id string) error {
	return c.send(ctx, id, map[string]any{"type": "conversation.item.delete", "item_id": c.short(id)})
}

// Truncate implements driver.Truncater.
func (c *conversation) Truncate(ctx context.Context, id string, d time.Duration, _ string) error {
	return c.send(ctx, "", map[string]any{"type": "conversation.item.truncate", "item_id": c.short(id), "content_index": 0, "audio_end_ms": d.Milliseconds()})
}

// StartTurn implements driver.Turner: the service does not want to know.
func (c *conversation) StartTurn(context.Context) error { return nil }

// Commit implements driver.Turner. The service refuses less than 100 ms.
func (c *conversation) Commit(ctx context.Context) error {
	c.mu.Lock()
	enough := c.loose >= leastCommit
	if enough {
		c.loose = 0
	}
	c.mu.Unlock()
	if !enough {
		return nil
	}
	return c.send(ctx, "", map[string]any{"type": "input_audio_buffer.commit"})
}

// Clear implements driver.Turner.
func (c *conversation) Clear(ctx context.Context) error {
	c.mu.Lock()
	c.loose = 0
	c.mu.Unlock()
	return c.send(ctx, "", map[string]any{"type": "input_audio_buffer.clear"})
}

// Cancel implements driver.Canceller.
func (c *conversation) Cancel(ctx context.Context) error {
	return c.send(ctx, "", map[string]any{"type": "response.cancel"})
}

// Say implements driver.Sayer. Only xAI can say what it is told to.
func (c *conversation) Say(ctx context.Context, r *driver.Request, text string) error {
	if c.d.service != XAI {
		return driver.ErrUnsupported
	}
	c.mu.Lock()
	c.forced = append(c.forced, r.ID)
	c.mu.Unlock()
	return c.send(ctx, r.ID, map[string]any{"type": "conversation.item.create", "item": map[string]any{
		"type": "force_message", "role": "assistant", "content": []any{map[string]any{"type": "output_text", "text": text}}}})
}
