package openai

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime/driver"
)

// answers tells of an answer.
func (c *conversation) answers(ctx context.Context, what string, e *conversationEvent) error {
	switch what {
	case "created":
		if e.Response == nil {
			return c.d.Protocol("receive", "beginning of an answer without the answer")
		}
		if c.d.service == XAI { // which makes one at a time, and does not always say that it gave one up
			for id := range c.going {
				c.put(&driver.ResponseDone{ResponseID: id, Status: driver.Cancelled})
			}
			clear(c.going)
		}
		c.going[e.Response.ID] = true
		c.put(&driver.ResponseCreated{ResponseID: e.Response.ID, RequestID: c.requested(e.Response)})
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
		return c.ends(ctx, e)
	}
	return nil
}

// requested is the request that an answer is for; "" for none.
func (c *conversation) requested(r *conversationAnswer) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := r.Metadata.Request
	i := slices.IndexFunc(c.asked, func(a *ask) bool { return a.id == id || id == "" && a.forced && !a.waits })
	if i < 0 {
		return id
	}
	id = c.asked[i].id
	c.asked = slices.Delete(c.asked, i, i+1)
	return id
}

// begins tells of a message once.
func (c *conversation) begins(e *conversationEvent, text bool) {
	c.settle("")
	if c.begun[e.ItemID] {
		return
	}
	c.begun[e.ItemID] = true
	c.put(&driver.MessageStarted{ResponseID: e.ResponseID, ItemID: e.ItemID, TextOnly: text})
}

// completes tells that an item of an answer is whole. A call that was broken off is none.
func (c *conversation) completes(e *conversationEvent) {
	it := e.Item
	switch {
	case it == nil:
	case it.Type == "message":
		if c.begun[it.ID] {
			delete(c.begun, it.ID)
			c.put(&driver.MessageDone{ResponseID: e.ResponseID, ItemID: it.ID})
		}
	case it.Type == "function_call" && it.Status != "incomplete":
		c.knows(it.CallID)
		c.put(&driver.ToolCall{ResponseID: e.ResponseID, ItemID: it.ID,
			Call: llm.ToolCall{CallID: it.CallID, Name: it.Name, Arguments: it.Arguments}})
	}
}

// ends tells of the end of an answer and its price, and asks for the next one if it had to wait.
func (c *conversation) ends(ctx context.Context, e *conversationEvent) error {
	c.settle("")
	r := e.Response
	if r == nil {
		return c.d.Protocol("receive", "end of an answer without the answer")
	}
	done := &driver.ResponseDone{ResponseID: r.ID, RequestID: r.Metadata.Request, Status: driver.Status(r.Status)}
	switch {
	case done.Status == driver.Failed && !isNull(r.Details.Error):
		done.Err = c.d.refused("respond", r.Details.Error, 0)
	case done.Status == driver.Failed || done.Status == driver.Incomplete:
		done.Err = c.d.Protocol("respond", "the answer is %s: %s", r.Status, or(r.Details.Reason, "no reason given"))
	}
	if !isNull(r.Usage) {
		u, err := answerUsage(r.Usage)
		if err != nil {
			return c.d.Protocol("receive", "usage cannot be read: %v", err)
		}
		done.Usage = u
	}
	c.put(done)
	clear(c.begun)
	delete(c.going, r.ID)
	c.ended = append(c.ended[max(0, len(c.ended)-maxEnded+1):], r.ID)
	return c.askNext(ctx)
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

// activeAnswer is how an answer is named in the message of a refusal.
var activeAnswer = regexp.MustCompile(`\bresp_\w+`)

// maxEnded is how many answers that ended are remembered, for refusals that were on their way.
const maxEnded = 8

// refusedAnswer deals with an answer that the service refuses. It reports whether it is asked for again: the
// service makes one at a time, and may begin with one of its own, or not be done with the one that we
// cancelled, which it may never have told of. It says which one that is, and tells of its end.
func (c *conversation) refusedAnswer(ctx context.Context, id, code, message string) (again bool, err error) {
	c.mu.Lock()
	i := slices.IndexFunc(c.asked, func(a *ask) bool { return a.id == id })
	if i < 0 {
		c.mu.Unlock()
		return false, nil
	}
	a := c.asked[i]
	a.refused++
	if code != "conversation_already_has_active_response" || a.refused == maxRefused || a.unwanted {
		c.asked = slices.Delete(c.asked, i, i+1)
		c.mu.Unlock()
		return false, nil
	}
	a.waits = true
	c.mu.Unlock()
	active := activeAnswer.FindString(message)
	if len(c.going) > 0 || active != "" && !slices.Contains(c.ended, active) {
		return true, nil
	}
	return true, c.askNext(ctx) // it ended while the refusal was on its way
}

// askNext asks for the first answer that waits.
func (c *conversation) askNext(ctx context.Context) error {
	c.mu.Lock()
	i := slices.IndexFunc(c.asked, func(a *ask) bool { return a.waits })
	if i < 0 {
		c.mu.Unlock()
		return nil
	}
	a := c.asked[i]
	a.waits = false
	c.mu.Unlock()
	return c.send(ctx, ofRequest+a.id, a.message)
}
