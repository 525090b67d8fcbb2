package openai

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime/driver"
)

// conversation implements driver.Conn and most of what a connection can do beyond.
type conversation struct {
	d *converser
	*wire.Socket

	mu           sync.Mutex
	instructions string            // of the session
	updates      []sentUpdate      // that are not acknowledged, in order
	asked        []*ask            // answers that did not begin, in order
	deletes      []string          // items, likewise
	long         map[string]string // ids that were too long for the service, by what it got
	calls        map[string]bool   // ids of calls that the service knows
	loose        time.Duration     // audio since the last commit

	// Of the goroutine that reads.
	ready     []driver.Event
	said      map[string]*userItem // what the user says, by item
	unsettled string               // item whose words may still change; "" for none
	begun     map[string]bool      // messages that were told
	going     map[string]bool      // answers
	ended     []string             // the last of them that are over
	pcm       []int16              // of the newest audio
}

// sentUpdate is a change of the session that is on its way.
type sentUpdate struct {
	id  string
	was string // the instructions before
}

// ask is an answer that was asked for and did not begin.
type ask struct {
	id       string
	message  map[string]any
	forced   bool // the service does not say whose answer it is
	waits    bool // for the end of the one that goes on
	refused  int  // how often, since another one went on
	unwanted bool // not to be sent again
}

// maxRefused is how often an answer is asked for that is refused since another one goes on.
const maxRefused = 3

// userItem is what is known of an item of the user.
type userItem struct {
	text, language string
	since          time.Time
}

var (
	_ driver.Updater   = (*conversation)(nil)
	_ driver.Deleter   = (*conversation)(nil)
	_ driver.Truncater = (*conversation)(nil)
	_ driver.Turner    = (*conversation)(nil)
	_ driver.Canceller = (*conversation)(nil)
	_ driver.Connected = (*conversation)(nil)
	_ driver.Sayer     = (*conversation)(nil)
	_ driver.Watcher   = seeing{}
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

// recall tells the service what was said before.
func (c *conversation) recall(ctx context.Context, h *chat.Context) error {
	var items []driver.Item
	after := ""
	for it := range h.All() {
		items = append(items, driver.Item{First: after == "", After: after, Item: it})
		after = it.Head().ID
	}
	if err := c.Add(ctx, items); err != nil && !errors.Is(err, driver.ErrUnsupported) {
		return err
	}
	return nil
}

// What begins the ids of messages that tell in their rest for which request, or which item, they are, and of items
// that are ours alone.
const (
	ofRequest  = "for_"
	ofDeletion = "del_"
	ofVideo    = "video_" // begins the ids of items
)

// send sends a message; id is what errors about it will refer to, "" for nothing.
func (c *conversation) send(ctx context.Context, id string, m map[string]any) error {
	if id != "" {
		m["event_id"] = id
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

// Generate implements driver.Conn. The instructions of an answer take the place of those of the session, so
// they have both.
func (c *conversation) Generate(ctx context.Context, r *driver.Request) error {
	resp := map[string]any{"metadata": map[string]any{"client_event_id": r.ID}}
	if r.Instructions != "" {
		c.mu.Lock()
		resp["instructions"] = r.Instructions
		if c.instructions != "" {
			resp["instructions"] = c.instructions + "\n\n" + r.Instructions
		}
		c.mu.Unlock()
	}
	if r.Tools != nil && c.d.service != XAI {
		resp["tools"] = c.d.tools(*r.Tools)
	}
	if r.ToolChoice != nil && c.d.service != XAI {
		resp["tool_choice"] = realtimeChoice(*r.ToolChoice)
	}
	return c.ask(ctx, &ask{id: r.ID, message: map[string]any{"type": "response.create", "response": resp}})
}

// Say implements driver.Sayer. Only xAI can say what it is told to.
func (c *conversation) Say(ctx context.Context, r *driver.Request, text string) error {
	if c.d.service != XAI {
		return driver.ErrUnsupported
	}
	return c.ask(ctx, &ask{id: r.ID, forced: true, message: map[string]any{"type": "conversation.item.create", "item": map[string]any{
		"type": "force_message", "role": "assistant", "content": []any{map[string]any{"type": "output_text", "text": text}}}}})
}

func (c *conversation) ask(ctx context.Context, a *ask) error {
	c.mu.Lock()
	c.asked = append(c.asked, a)
	c.mu.Unlock()
	return c.send(ctx, ofRequest+a.id, a.message)
}

// Cancel implements driver.Canceller.
func (c *conversation) Cancel(ctx context.Context) error {
	return c.send(ctx, "", map[string]any{"type": "response.cancel"})
}

// Withdraw implements driver.Withdrawer: a request that waits for the end of another answer is not sent again.
func (c *conversation) Withdraw(id string) (kept bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.asked, func(a *ask) bool { return a.id == id })
	if i < 0 {
		return false
	}
	if c.asked[i].waits {
		c.asked = slices.Delete(c.asked, i, i+1)
		return true
	}
	c.asked[i].unwanted = true
	return false
}

// Update implements driver.Updater.
func (c *conversation) Update(ctx context.Context, u *driver.Update) error {
	s := map[string]any{}
	if !c.d.flat {
		s["type"] = "realtime"
	}
	c.mu.Lock()
	c.updates = append(c.updates, sentUpdate{u.ID, c.instructions})
	if u.Instructions != nil {
		s["instructions"] = *u.Instructions
		c.instructions = *u.Instructions
	}
	c.mu.Unlock()
	if u.Tools != nil {
		s["tools"] = c.d.tools(*u.Tools)
	}
	if u.ToolChoice != nil {
		s["tool_choice"] = realtimeChoice(*u.ToolChoice)
	}
	return c.send(ctx, ofRequest+u.ID, map[string]any{"type": "session.update", "session": s})
}

// Delete implements driver.Deleter.
func (c *conversation) Delete(ctx context.Context, id string) error {
	c.mu.Lock()
	c.deletes = append(c.deletes, id)
	c.mu.Unlock()
	return c.send(ctx, ofDeletion+id, map[string]any{"type": "conversation.item.delete", "item_id": c.short(id)})
}

// deleted is the item that is gone; "" if the service does not say which, as xAI does.
func (c *conversation) deleted(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == "" && len(c.deletes) > 0 {
		id = c.deletes[0]
	}
	if i := slices.Index(c.deletes, id); i >= 0 {
		c.deletes = slices.Delete(c.deletes, i, i+1)
	}
	return id
}

// Truncate implements driver.Truncater.
func (c *conversation) Truncate(ctx context.Context, id string, d time.Duration, _ string) error {
	return c.send(ctx, "", map[string]any{"type": "conversation.item.truncate", "item_id": c.short(id), "content_index": 0, "audio_end_ms": d.Milliseconds()})
}

// seeing is a conversation with a model that sees.
type seeing struct{ *conversation }

// PushImage implements driver.Watcher. The service keeps every image, so each is paid for in all later answers.
func (c seeing) PushImage(ctx context.Context, img *chat.Image) error {
	p := picture(img)
	if p == nil {
		return fmt.Errorf("openai: image by reference: %w", driver.ErrUnsupported)
	}
	return c.send(ctx, "", map[string]any{"type": "conversation.item.create", "item": map[string]any{
		"id": metrics.NewID(ofVideo), "type": "message", "role": string(chat.User), "content": []any{p}}})
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
