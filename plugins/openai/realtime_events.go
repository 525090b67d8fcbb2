package openai

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
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
	Status     string              `json:"status"`
	Usage      json.RawMessage     `json:"usage"`
	Item       *conversationItem   `json:"item"`
	Part       *conversationPart   `json:"part"`
	Response   *conversationAnswer `json:"response"`
	Error      json.RawMessage     `json:"error"`
}

type conversationItem struct {
	ID        string             `json:"id"`
	Type      string             `json:"type"`
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

// older are Azure's names, and those of OpenAI before its protocol was generally available.
var older = map[string]string{
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
		if name := older[e.Type]; name != "" {
			e.Type = name
		}
		if err := c.take(&e); err != nil {
			return nil, err
		}
	}
	e := c.ready[0]
	c.ready = c.ready[1:]
	return e, nil
}

func (c *conversation) put(e driver.Event) { c.ready = append(c.ready, e) }

// take understands a message.
func (c *conversation) take(e *conversationEvent) error {
	switch kind, detail, _ := strings.Cut(e.Type, "."); {
	case e.Type == "error":
		return c.failed(e.Error)
	case e.Type == "session.updated":
		c.updated()
	case kind == "input_audio_buffer":
		c.listens(detail, e)
	case strings.HasPrefix(detail, "item.input_audio_transcription."):
		return c.transcribed(detail, e)
	case kind == "conversation":
		c.remembers(detail, e)
	case kind == "response":
		return c.answers(detail, e)
	}
	return nil
}

func (c *conversation) updated() {
	c.mu.Lock()
	id := ""
	if len(c.updates) > 0 {
		id = c.updates[0]
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
		c.hears(e.ItemID).since = time.Now()
		c.put(&driver.SpeechStarted{})
	case "speech_stopped":
		c.put(&driver.SpeechStopped{ItemID: e.ItemID})
	case "committed":
		c.mu.Lock()
		c.loose = 0
		c.mu.Unlock()
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
		if e.Status == "in_progress" { // xAI's interim
			h.text = e.Transcript
			t.Text = h.text
			break
		}
		t.Text, t.Final = strings.TrimSpace(e.Transcript), true
		delete(c.said, e.ItemID)
		if err := c.paid(e); err != nil {
			return err
		}
	case "failed":
		t.Final, t.Failed = true, true
		delete(c.said, e.ItemID)
		c.put(&driver.Error{Err: c.d.refused("transcribe", e.Error, 0)})
	default:
		return nil
	}
	c.put(t)
	return nil
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
		if it := c.chatItem(e.Item); it != nil {
			c.put(&driver.ItemAdded{After: c.id(e.Previous), Item: it})
		}
	case "item.deleted":
		c.put(&driver.ItemDeleted{ItemID: c.id(e.ItemID)})
	}
}

// chatItem is an item as far as it is known.
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
		return &chat.FunctionCall{Header: head, CallID: it.CallID, Name: it.Name, Arguments: it.Arguments}
	case "function_call_output":
		return &chat.FunctionCallOutput{Header: head, CallID: it.CallID, Output: it.Output}
	}
	return nil
}

// answers tells of an answer.
func (c *conversation) answers(what string, e *conversationEvent) error {
	switch what {
	case "created":
		if e.Response != nil {
			c.put(&driver.ResponseCreated{ResponseID: e.Response.ID, RequestID: c.requested(e.Response)})
		}
	case "content_part.added":
		c.begins(e, e.Part != nil && strings.HasSuffix(e.Part.Type, "text"))
	case "output_text.delta":
		c.begins(e, true)
		c.put(&driver.Text{ResponseID: e.ResponseID, ItemID: e.ItemID, Delta: e.Delta})
	case "output_audio_transcript.delta":
		c.begins(e, false)
		c.put(&driver.Text{ResponseID: e.ResponseID, ItemID: e.ItemID, Delta: e.Delta})
	case "output_audio.delta":
		c.begins(e, false)
		pcm, err := base64.StdEncoding.DecodeString(e.Delta)
		if err != nil {
			return c.d.Protocol("receive", "audio cannot be read: %v", err)
		}
		c.pcm = wire.Samples(c.pcm[:0], pcm)
		c.put(&driver.Audio{ResponseID: e.ResponseID, ItemID: e.ItemID, Frame: audio.Frame{Data: c.pcm, Rate: realtimeRate, Channels: 1}})
	case "output_item.done":
		c.completes(e)
	case "done":
		return c.ends(e)
	}
	return nil
}

// requested is the request that an answer is for.
func (c *conversation) requested(r *conversationAnswer) string {
	if r.Metadata.Request != "" {
		return r.Metadata.Request
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.forced) == 0 {
		return ""
	}
	id := c.forced[0]
	c.forced = c.forced[1:]
	return id
}

// begins tells of a message once.
func (c *conversation) begins(e *conversationEvent, text bool) {
	if c.begun[e.ItemID] {
		return
	}
	c.begun[e.ItemID] = true
	c.put(&driver.MessageStarted{ResponseID: e.ResponseID, ItemID: e.ItemID, TextOnly: text})
}

func (c *conversation) completes(e *conversationEvent) {
	it := e.Item
	switch {
	case it == nil:
	case it.Type == "message":
		if c.begun[it.ID] {
			delete(c.begun, it.ID)
			c.put(&driver.MessageDone{ResponseID: e.ResponseID, ItemID: it.ID})
		}
	case it.Type == "function_call":
		c.put(&driver.ToolCall{ResponseID: e.ResponseID, ItemID: it.ID,
			Call: llm.ToolCall{CallID: it.CallID, Name: it.Name, Arguments: it.Arguments}})
	}
}

// ends tells of the end of an answer and its price.
func (c *conversation) ends(e *conversationEvent) error {
	r := e.Response
	if r == nil {
		return c.d.Protocol("receive", "end of an answer without the answer")
	}
	done := &driver.ResponseDone{ResponseID: r.ID, RequestID: r.Metadata.Request, Status: driver.Status(r.Status)}
	switch done.Status {
	case driver.Failed, driver.Incomplete:
		done.Err = c.d.refused("respond", r.Details.Error, 0)
		if isNull(r.Details.Error) {
			done.Err = c.d.Protocol("respond", "the answer is %s: %s", r.Status, or(r.Details.Reason, "no reason given"))
		}
	}
	if !isNull(r.Usage) {
		u, err := answerUsage(r.Usage)
		if err != nil {
			return c.d.Protocol("receive", "usage cannot be read: %v", err)
		}
		done.Usage = u
	}
	clear(c.begun)
	c.put(done)
	return nil
}

// answerUsage is the service's usage in the normal form.
func answerUsage(raw json.RawMessage) (*driver.Usage, error) {
	var u struct {
		Input  int64                      `json:"input_tokens"`
		Output int64                      `json:"output_tokens"`
		Total  int64                      `json:"total_tokens"`
		In     metrics.InputTokenDetails  `json:"input_token_details"`
		Out    metrics.OutputTokenDetails `json:"output_token_details"`
	}
	if err := json.Unmarshal(raw, &u); err != nil {
		return nil, err
	}
	return &driver.Usage{InputTokens: u.Input, OutputTokens: u.Output, TotalTokens: u.Total, Input: u.In, Output: u.Out, Raw: raw}, nil
}

// harmless are errors that tell what we know, or need not: an answer ended before it was cancelled, audio was
// shorter than what was to be cut, there was nothing to commit.
var harmless = []string{"response_cancel_not_active", "input_audio_buffer_commit_empty"}

// fatal are errors after which nothing works any more.
var fatal = []string{"insufficient_quota", "invalid_api_key", "account_deactivated", "billing_hard_limit_reached"}

// failed is an error of the service. Those that end everything are returned.
func (c *conversation) failed(raw json.RawMessage) error {
	var e struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		EventID string `json:"event_id"`
	}
	_ = json.Unmarshal(raw, &e) // what is no object has no code
	for _, code := range harmless {
		if e.Code == code {
			return nil
		}
	}
	if strings.Contains(e.Message, "already shorter than") {
		return nil
	}
	err := c.d.refused("converse", raw, 400)
	for _, code := range fatal {
		if e.Code == code {
			return err
		}
	}
	if e.Code == "session_expired" {
		return err
	}
	request, ours := strings.CutPrefix(e.EventID, ofRequest)
	if !ours {
		request = ""
	}
	c.mu.Lock()
	for i, id := range c.updates {
		if id == request {
			c.updates = append(c.updates[:i], c.updates[i+1:]...)
			break
		}
	}
	c.mu.Unlock()
	c.put(&driver.Error{RequestID: request, Err: err})
	return nil
}
