package openai

import (
	"context"
	"strings"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/realtime/driver"
)

// Add implements driver.Conn.
func (c *conversation) Add(ctx context.Context, items []driver.Item) error {
	items, left := driver.Supported(items, c.takes)
	for _, it := range items {
		m := map[string]any{"type": "conversation.item.create", "item": c.item(it.Item)}
		switch {
		case it.After != "":
			m["previous_item_id"] = c.short(it.After)
		case it.First:
			m["previous_item_id"] = "root"
		}
		if err := c.send(ctx, ofRequest+it.Item.Head().ID, m); err != nil {
			return err
		}
	}
	return left
}

// takes reports whether the service takes an item: no message without a word, and no output of a call that it
// does not know.
func (c *conversation) takes(it chat.Item) bool {
	switch it := it.(type) {
	case *chat.Message:
		return len(c.parts(it)) > 0
	case *chat.FunctionCall:
		c.knows(it.CallID)
		return true
	case *chat.FunctionCallOutput:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.calls[short(it.CallID)]
	}
	return false
}

// knows notes a call that outputs may be for.
func (c *conversation) knows(call string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[short(call)] = true
}

// item is the service's form of an item that it takes.
func (c *conversation) item(it chat.Item) map[string]any {
	m := map[string]any{"id": c.short(it.Head().ID), "type": it.Type()}
	switch it := it.(type) {
	case *chat.Message:
		m["role"], m["content"] = string(it.Role), c.parts(it)
		if it.Role == chat.Developer {
			m["role"] = string(chat.System)
		}
	case *chat.FunctionCall:
		m["call_id"], m["name"], m["arguments"] = short(it.CallID), it.Name, or(it.Arguments, "{}")
	case *chat.FunctionCallOutput:
		m["call_id"], m["output"] = short(it.CallID), it.Output
	}
	return m
}

func (c *conversation) parts(m *chat.Message) (list []map[string]any) {
	kind := "input_text"
	switch {
	case m.Role != chat.Assistant:
	case c.d.flat:
		kind = "text"
	default:
		kind = "output_text"
	}
	text := func(t string) {
		if strings.TrimSpace(t) != "" {
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
			if img := picture(p); img != nil && m.Role == chat.User && c.d.sees() {
				list = append(list, img)
			}
		}
	}
	return list
}

// picture is an image as the service takes it; nil for one that is only referred to, which it does not fetch.
func picture(p *chat.Image) map[string]any {
	if !strings.HasPrefix(p.URL, "data:") {
		return nil
	}
	m := map[string]any{"type": "input_image", "image_url": p.URL}
	if p.Detail != "" {
		m["detail"] = p.Detail
	}
	return m
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

// chatItem is an item of the service as far as it is known; nil for one that is of no use yet.
func (c *conversation) chatItem(it *conversationItem) chat.Item {
	if it == nil {
		return nil
	}
	head := chat.Header{ID: c.id(it.ID)}
	switch it.Type {
	case "message":
		m := &chat.Message{Header: head, Role: chat.Role(it.Role)}
		for _, p := range it.Content {
			if t := or(p.Text, p.Transcript); t != "" {
				m.Content = append(m.Content, chat.Text(t))
			}
		}
		return m
	case "function_call":
		if it.Arguments == "" { // it is being made, and will be told when it is complete
			return nil
		}
		return &chat.FunctionCall{Header: head, CallID: it.CallID, Name: it.Name, Arguments: it.Arguments}
	case "function_call_output":
		return &chat.FunctionCallOutput{Header: head, CallID: it.CallID, Output: it.Output}
	}
	return nil
}
