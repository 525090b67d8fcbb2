package openaibox

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
)

// item is an item of the conversation.
type item struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Status    string `json:"status,omitempty"`
	Role      string `json:"role,omitempty"`
	Content   []part `json:"content,omitempty"`
	CallID    string `json:"call_id,omitempty"`
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments,omitempty"`
	Output    string `json:"output,omitempty"`

	heard  time.Duration // audio of the user
	spoken time.Duration // of the answer
}

type part struct {
	Type       string `json:"type"`
	Text       string `json:"text,omitempty"`
	Transcript string `json:"transcript,omitempty"`
	Image      string `json:"image_url,omitempty"`
	Detail     string `json:"detail,omitempty"`
}

func (it *item) images() (n int) {
	for _, p := range it.Content {
		if p.Image != "" {
			n++
		}
	}
	return n
}

func (it *item) text() string {
	var texts []string
	for _, p := range it.Content {
		if t := p.Text + p.Transcript; t != "" {
			texts = append(texts, t)
		}
	}
	return strings.Join(texts, " ") + it.Output + it.Arguments
}

func (t *converser) index(id string) int {
	return slices.IndexFunc(t.items, func(it *item) bool { return it.ID == id })
}

// create adds an item of the client's.
func (t *converser) create(data []byte) error {
	var m struct {
		Type     string `json:"type"`
		EventID  string `json:"event_id"`
		Previous string `json:"previous_item_id"`
		Item     item   `json:"item"`
	}
	if err := sandbox.Strict(data, &m); err != nil {
		return refuse("invalid_value", "%s", err.Error())
	}
	it := &m.Item
	if t.o.Form == XAI && it.Type == "force_message" && len(it.Content) == 1 {
		return t.force(it.Content[0].Text)
	}
	if it.ID == "" {
		it.ID = metrics.NewID("item_")
	}
	at := len(t.items)
	switch {
	case len(it.ID) > 32:
		return refuse("string_above_max_length", "Invalid 'item.id': string too long.")
	case t.index(it.ID) >= 0:
		return refuse("item_exists", "item %q exists already", it.ID)
	case m.Previous == "root":
		at = 0
	case m.Previous != "":
		if at = t.index(m.Previous) + 1; at == 0 {
			return refuse("item_not_found", "previous item %q does not exist", m.Previous)
		}
	}
	if err := t.check(it); err != nil {
		return err
	}
	var after any
	if at > 0 {
		after = t.items[at-1].ID
	}
	t.items = slices.Insert(t.items, at, it)
	return t.send(map[string]any{"type": "conversation.item.added", "previous_item_id": after, "item": it}, false)
}

// check refuses what OpenAI refuses.
func (t *converser) check(it *item) error {
	switch it.Type {
	case "message":
		allowed := map[string][]string{"user": {"input_text", "input_image"}, "assistant": {"output_text"}, "system": {"input_text"}}
		switch t.o.Form {
		case XAI:
			allowed["user"] = []string{"input_text"}
		case Older:
			allowed = map[string][]string{"user": {"input_text"}, "assistant": {"text"}, "system": {"input_text"}}
		}
		if allowed[it.Role] == nil || len(it.Content) == 0 {
			return refuse("invalid_value", "invalid role %q, or no content", it.Role)
		}
		for _, p := range it.Content {
			if !slices.Contains(allowed[it.Role], p.Type) || p.Type == "input_image" && !strings.HasPrefix(p.Image, "data:image/") ||
				p.Type != "input_image" && (p.Text == "" || p.Image != "") || p.Transcript != "" {
				return refuse("invalid_value", "invalid content %q of %s", p.Type, it.Role)
			}
		}
	case "function_call":
		if it.CallID == "" || len(it.CallID) > 32 || it.Name == "" || !json.Valid([]byte(it.Arguments)) {
			return refuse("invalid_value", "invalid function_call")
		}
		t.calls[it.CallID] = true
	case "function_call_output":
		if !t.calls[it.CallID] {
			return refuse("invalid_tool_call_id", "no call %q waits for an output", it.CallID)
		}
		delete(t.calls, it.CallID)
	default:
		return refuse("invalid_value", "invalid item type %q", it.Type)
	}
	return nil
}

func (t *converser) delete(data []byte) error {
	var m struct {
		Type    string `json:"type"`
		EventID string `json:"event_id"`
		ItemID  string `json:"item_id"`
	}
	if err := sandbox.Strict(data, &m); err != nil {
		return refuse("invalid_value", "%s", err.Error())
	}
	i := t.index(m.ItemID)
	if i < 0 {
		return refuse("item_delete_invalid_item_id", "item %q does not exist", m.ItemID)
	}
	t.items = slices.Delete(t.items, i, i+1)
	gone := m.ItemID
	if t.o.Form == XAI { // which does not say what
		gone = ""
	}
	return t.send(map[string]any{"type": "conversation.item.deleted", "item_id": gone}, false)
}

// truncate cuts an answer to what was heard.
func (t *converser) truncate(data []byte) error {
	var m struct {
		Type    string `json:"type"`
		EventID string `json:"event_id"`
		ItemID  string `json:"item_id"`
		Index   int    `json:"content_index"`
		End     int64  `json:"audio_end_ms"`
	}
	if err := sandbox.Strict(data, &m); err != nil {
		return refuse("invalid_value", "%s", err.Error())
	}
	i := t.index(m.ItemID)
	if i < 0 || t.items[i].Role != "assistant" || m.Index != 0 || m.End < 0 {
		return refuse("invalid_value", "item %q cannot be truncated", m.ItemID)
	}
	it, end := t.items[i], time.Duration(m.End)*time.Millisecond
	if it.spoken < end {
		return refuse("invalid_value", "Audio content of %dms is already shorter than %dms", it.spoken.Milliseconds(), m.End)
	}
	it.spoken = end
	it.Content = []part{{Type: "output_audio"}} // the words go with the audio
	if t.o.Cut != nil {
		t.o.Cut(m.ItemID, end)
	}
	return t.send(map[string]any{"type": "conversation.item.truncated", "item_id": m.ItemID, "content_index": 0, "audio_end_ms": m.End}, false)
}
