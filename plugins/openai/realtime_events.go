package openai

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/realtime/driver"
)

// conversationEvent is a message of the service.
type conversationEvent struct {
	Type       string              `json:"type"`
	ResponseID string              `json:"response_id"`
	ItemID     string              `json:"item_id"`
	Previous   string              `json:"previous_item_id"`
	Delta      string              `json:"delta"`
	Transcript string              `json:"transcript"`
	Language   string              `json:"language"`
	Status     string              `json:"status"`   // of a transcript
	Logprobs   []logprob           `json:"logprobs"` // of a transcript
	Usage      json.RawMessage     `json:"usage"`
	Item       *conversationItem   `json:"item"`
	Part       *conversationPart   `json:"part"`
	Response   *conversationAnswer `json:"response"`
	Error      json.RawMessage     `json:"error"`
}

type logprob struct {
	Logprob float64 `json:"logprob"`
}

type conversationItem struct {
	ID        string             `json:"id"`
	Type      string             `json:"type"`
	Status    string             `json:"status"`
	Role      string             `json:"role"`
	Content   []conversationPart `json:"content"`
	CallID    string             `json:"call_id"`
	Name      string             `json:"name"`
	Arguments string             `json:"arguments"`
	Output    string             `json:"output"`
}

type conversationPart struct {
	Type       string `json:"type"`
	Text       string `json:"text"`
	Transcript string `json:"transcript"`
}

type conversationAnswer struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Metadata struct {
		Request string `json:"client_event_id"`
	} `json:"metadata"`
	Details struct {
		Reason string          `json:"reason"`
		Error  json.RawMessage `json:"error"`
	} `json:"status_details"`
	Usage json.RawMessage `json:"usage"`
}

// olderNames are those of Azure's older form, and of some services that speak the protocol.
var olderNames = map[string]string{
	"conversation.item.created":       "conversation.item.added",
	"response.audio.delta":            "response.output_audio.delta",
	"response.audio_transcript.delta": "response.output_audio_transcript.delta",
	"response.text.delta":             "response.output_text.delta",
}

// Next implements driver.Conn.
func (c *conversation) Next(ctx context.Context) (driver.Event, error) {
	for len(c.ready) == 0 {
		m, err := c.Read(ctx)
		if err != nil {
			if c.settle(""); len(c.ready) > 0 {
				break
			}
			if c.EndedWell() {
				return nil, io.EOF
			}
			return nil, err
		}
		if m.Binary {
			return nil, c.d.Protocol("receive", "binary message where text was expected")
		}
		var e conversationEvent
		if err := c.Decode(m, &e); err != nil {
			return nil, err
		}
		if name := olderNames[e.Type]; name != "" {
			e.Type = name
		}
		if err := c.take(ctx, &e); err != nil {
			return nil, err
		}
	}
	e := c.ready[0]
	c.ready = c.ready[1:]
	return e, nil
}

func (c *conversation) put(e driver.Event) { c.ready = append(c.ready, e) }

// take understands a message.
func (c *conversation) take(ctx context.Context, e *conversationEvent) error {
	switch kind, detail, _ := strings.Cut(e.Type, "."); {
	case e.Type == "error":
		return c.failed(ctx, e.Error)
	case e.Type == "session.updated":
		c.updated()
	case kind == "input_audio_buffer":
		c.listens(detail, e)
	case strings.HasPrefix(detail, "item.input_audio_transcription."):
		return c.transcribed(detail, e)
	case kind == "conversation":
		c.remembers(detail, e)
	case kind == "response":
		return c.answers(ctx, detail, e)
	}
	return nil
}

func (c *conversation) updated() {
	c.mu.Lock()
	id := ""
	if len(c.updates) > 0 {
		id = c.updates[0].id
		c.updates = c.updates[1:]
	}
	c.mu.Unlock()
	if id != "" {
		c.put(&driver.Updated{ID: id})
	}
}

// listens tells of the turns that the service finds.
func (c *conversation) listens(what string, e *conversationEvent) {
	switch what {
	case "speech_started":
		c.settle(e.ItemID)
		if c.d.script != nil {
			if h := c.hears(e.ItemID); h.since.IsZero() { // xAI says it again when the user goes on
				h.since = time.Now()
			}
		}
		c.put(&driver.SpeechStarted{})
	case "speech_stopped":
		c.put(&driver.SpeechStopped{ItemID: e.ItemID})
	}
}

// hears is what is known of an item of the user.
func (c *conversation) hears(item string) *userItem {
	if c.said[item] == nil {
		c.said[item] = &userItem{}
	}
	return c.said[item]
}

// transcribed tells what the user said.
func (c *conversation) transcribed(what string, e *conversationEvent) error {
	h := c.hears(e.ItemID)
	t := &driver.Transcript{ItemID: e.ItemID, Language: e.Language, StartedAt: h.since}
	switch strings.TrimPrefix(what, "item.input_audio_transcription.") {
	case "delta":
		h.text += e.Delta
		t.Text = h.text
	case "updated": // of xAI, which tells the whole
		h.text = e.Transcript
		t.Text = h.text
	case "completed":
		if c.d.service == XAI { // which says so again and again, with or without the status in_progress
			h.text, h.language = e.Transcript, e.Language
			t.Text = h.text
			if e.Status != "in_progress" {
				c.settle(e.ItemID)
				c.unsettled = e.ItemID
			}
			break
		}
		t.Text, t.Final, t.Confidence = strings.TrimSpace(e.Transcript), true, confidence(e.Logprobs)
		delete(c.said, e.ItemID)
		if err := c.paid(e); err != nil {
			return err
		}
	case "failed":
		t.Text, t.Final, t.Failed = strings.TrimSpace(h.text), true, h.text == ""
		delete(c.said, e.ItemID)
		c.put(&driver.Error{Err: c.d.refused("transcribe", e.Error, 0)})
	default:
		return nil
	}
	c.put(t)
	return nil
}

// settle tells the words of what the user said last, but for the item, as the final ones. xAI may change them until
// it answers, or hears something else.
func (c *conversation) settle(but string) {
	id := c.unsettled
	if id == "" || id == but {
		return
	}
	c.unsettled = ""
	h := c.hears(id)
	delete(c.said, id)
	c.put(&driver.Transcript{ItemID: id, Text: strings.TrimSpace(h.text), Language: h.language, Final: true, StartedAt: h.since})
}

// confidence is how sure a transcriber was of its words, 0 to 1; 0 if it does not say, which it does when
// Extra has "include" with "item.input_audio_transcription.logprobs".
func confidence(words []logprob) float64 {
	if len(words) == 0 {
		return 0
	}
	sum := 0.0
	for _, w := range words {
		sum += w.Logprob
	}
	return math.Exp(sum / float64(len(words)))
}

// paid tells what a transcript costs, in tokens or in seconds.
func (c *conversation) paid(e *conversationEvent) error {
	if isNull(e.Usage) {
		return nil
	}
	var u transcriptionUsage
	if err := json.Unmarshal(e.Usage, &u); err != nil {
		return c.d.Protocol("receive", "usage of a transcript cannot be read: %v", err)
	}
	name, _ := c.d.script["model"].(string)
	c.put(&driver.TranscriptUsage{ItemID: e.ItemID, Model: name, AudioDuration: wire.Seconds(u.Seconds),
		InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, Raw: e.Usage})
	return nil
}

// remembers tells what the service holds for the conversation.
func (c *conversation) remembers(what string, e *conversationEvent) {
	switch what {
	case "item.added":
		if e.Item != nil && strings.HasPrefix(e.Item.ID, ofVideo) {
			return // nobody said it
		}
		if it := c.chatItem(e.Item); it != nil {
			c.put(&driver.ItemAdded{After: c.id(e.Previous), Item: it})
		}
	case "item.deleted":
		if id := c.deleted(c.id(e.ItemID)); id != "" {
			c.put(&driver.ItemDeleted{ItemID: id})
		}
	}
}

// failed is an error of the service. Those that end everything are returned.
func (c *conversation) failed(ctx context.Context, raw json.RawMessage) error {
	if err := c.d.fatal(raw); err != nil {
		return err
	}
	var e struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		EventID string `json:"event_id"`
	}
	_ = json.Unmarshal(raw, &e) // what is no object has no code
	if slices.Contains(harmless, e.Code) || strings.Contains(e.Message, "already shorter than") {
		return nil
	}
	if id, ok := strings.CutPrefix(e.EventID, ofDeletion); ok {
		c.deleted(id)
		if e.Code == notThere {
			c.put(&driver.ItemDeleted{ItemID: id})
		} else {
			c.put(&driver.Error{RequestID: id, Err: c.d.refused("delete", raw, 400)})
		}
		return nil
	}
	id, _ := strings.CutPrefix(e.EventID, ofRequest)
	if again, err := c.refusedAnswer(ctx, id, e.Code, e.Message); again || err != nil {
		return err
	}
	c.refusedUpdate(id)
	c.put(&driver.Error{RequestID: id, Err: c.d.refused("converse", raw, 400)})
	return nil
}

// refusedUpdate takes back what is remembered of a change of the session.
func (c *conversation) refusedUpdate(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, u := range c.updates {
		if u.id != id {
			continue
		}
		if i+1 < len(c.updates) {
			c.updates[i+1].was = u.was
		} else {
			c.instructions = u.was
		}
		c.updates = slices.Delete(c.updates, i, i+1)
		return
	}
}

// harmless are errors that tell what we know, or need not: an answer ended before it was cancelled, there was
// nothing to commit.
var harmless = []string{"response_cancel_not_active", "input_audio_buffer_commit_empty"}

// notThere is the error of the deletion of an item that is gone already.
const notThere = "item_delete_invalid_item_id"

// last are errors after which nothing works any more, at least on this connection.
var last = []string{"insufficient_quota", "invalid_api_key", "account_deactivated", "billing_hard_limit_reached", "session_expired"}

// fatal is the error that ends the connection; nil for any other.
func (d *converser) fatal(raw json.RawMessage) error {
	if _, code := stated(raw); slices.Contains(last, code) {
		return d.refused("converse", raw, 400)
	}
	return nil
}

// ends is the error of a message in which the service says why it hangs up; nil for any other.
func (d *converser) ends(e *conversationEvent) error {
	if e.Type != "error" {
		return nil
	}
	return d.fatal(e.Error)
}
