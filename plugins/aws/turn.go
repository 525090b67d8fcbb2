package aws

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime/driver"
)

// output is an event of the service.
type output struct {
	Event struct {
		ContentStart  *content `json:"contentStart"`
		ContentEnd    *content `json:"contentEnd"`
		TextOutput    *content `json:"textOutput"`
		AudioOutput   *content `json:"audioOutput"`
		ToolUse       *content `json:"toolUse"`
		UsageEvent    *usage   `json:"usageEvent"`
		CompletionEnd *content `json:"completionEnd"`
	} `json:"event"`
}

// content has the fields of all events about a content.
type content struct {
	ID         string `json:"contentId"`
	Type       string `json:"type"`
	Role       string `json:"role"`
	More       string `json:"additionalModelFields"` // JSON in a string
	Content    string `json:"content"`
	StopReason string `json:"stopReason"`
	ToolName   string `json:"toolName"`
	ToolUseID  string `json:"toolUseId"`
}

// The stages of a text.
const (
	speculative = "SPECULATIVE" // is about to be said
	final       = "FINAL"       // was said
)

func (c *content) stage() string {
	var m struct {
		Stage string `json:"generationStage"`
	}
	_ = json.Unmarshal([]byte(c.More), &m) // what cannot be read says nothing
	return m.Stage
}

// turn makes turns and answers of contents. The service tells of no answers: one begins with the first content of
// the assistant's or with a call, and ends with audio that ends a turn, a call, or the user's interruption. Then
// comes, as text, what was said of it, which is of no use here.
type turn struct {
	c *conversation

	item  string    // of what the user says; "" when he does not
	text  string    // of it, so far
	since time.Time // of it
	id    string    // of the answer; "" between answers
	msg   string    // its message; "" for none
	words bool      // there was text in the message
	last  string    // the newest answer, which may go on
	open  map[string]place

	usage account
	done  *driver.ResponseDone // of an answer that waits for its usage; nil for none
	late  *time.Timer          // the end of that wait; nil when there was none
	pcm   []int16
}

// unstated is how long the end of an answer waits for its usage, if nothing was stated since the last one, and unless
// something else goes on: once the answer is estimated, what it did cost would be booked a second time.
const unstated = 500 * time.Millisecond

// put tells an event, and before it the end of an answer that waits.
func (t *turn) put(e driver.Event) {
	t.release()
	t.c.put(e)
}

// overdue tells when the wait for usage is over; nil for never.
func (t *turn) overdue() <-chan time.Time {
	if t.done == nil {
		return nil
	}
	return t.late.C
}

// release tells the end of the answer that waits for its usage, if there is one.
func (t *turn) release() {
	if t.done == nil {
		return
	}
	if t.late != nil {
		t.late.Stop()
	}
	t.done.Usage = t.usage.close()
	t.c.put(t.done)
	t.done = nil
}

// take understands an event.
func (t *turn) take(ctx context.Context, raw []byte) error {
	var o output
	if err := json.Unmarshal(raw, &o); err != nil {
		return t.c.client.Protocol("receive", "event cannot be read: %v", err)
	}
	switch e := &o.Event; {
	case e.ContentStart != nil:
		t.starts(e.ContentStart)
	case e.TextOutput != nil:
		return t.says(ctx, e.TextOutput)
	case e.AudioOutput != nil:
		return t.sounds(e.AudioOutput)
	case e.ToolUse != nil:
		t.calls(e.ToolUse)
	case e.ContentEnd != nil:
		return t.ends(ctx, e.ContentEnd)
	case e.UsageEvent != nil:
		t.usage.add(e.UsageEvent, t.id != "" || t.done != nil)
		t.release()
	case e.CompletionEnd != nil:
		return t.over(ctx, driver.Completed)
	}
	return nil
}

// place is what a content is, and of which answer.
type place struct{ kind, answer string }

// What a content is.
const (
	ofUser     = "user"
	toSay      = "to say"
	audible    = "audio"
	toCall     = "call"
	pointless  = "pointless"
	bargeIn    = "interrupted"
	interrupt  = "INTERRUPTED"
	endsTurn   = "END_TURN"
	maxContent = 256
)

func (t *turn) starts(s *content) {
	if t.open == nil || len(t.open) > maxContent { // whose ends never came
		t.open = map[string]place{}
	}
	kind := pointless
	switch {
	case s.Role == user && s.Type == "TEXT":
		kind = ofUser
	case s.Type == "TOOL":
		kind = toCall
	case s.Role == assistant && s.Type == "AUDIO":
		kind = audible
	case s.Role == assistant && s.stage() == speculative:
		kind = toSay
	}
	if kind == toSay || kind == audible || kind == toCall {
		t.begin()
	}
	t.open[s.ID] = place{kind, t.last}
}

// interrupted reports whether a text is the service's way to say that the user speaks over the answer.
func interrupted(text string) bool {
	var m map[string]any
	return strings.Contains(text, bargeIn) && json.Unmarshal([]byte(text), &m) == nil && m[bargeIn] == true
}

func (t *turn) says(ctx context.Context, s *content) error {
	if interrupted(s.Content) {
		return t.cut(ctx, t.open[s.ID])
	}
	switch t.open[s.ID].kind {
	case ofUser:
		t.hears(s.Content)
	case toSay:
		t.message()
		delta := s.Content
		if t.words {
			delta = " " + delta
		}
		t.words = true
		t.put(&driver.Text{ResponseID: t.id, ItemID: t.msg, Delta: delta})
	}
	return nil
}

// hears takes some of what the user says. What was written for him is not his.
func (t *turn) hears(text string) {
	t.c.mu.Lock()
	ours := t.c.written[text]
	delete(t.c.written, text)
	t.c.mu.Unlock()
	if ours {
		return
	}
	t.speaks()
	t.text = strings.TrimSpace(t.text + " " + text)
	t.put(&driver.Transcript{ItemID: t.item, Text: t.text, StartedAt: t.since})
}

// speaks says once that the user speaks.
func (t *turn) speaks() {
	if t.item == "" {
		t.item, t.text, t.since = metrics.NewID("item_"), "", time.Now()
		t.put(&driver.SpeechStarted{})
	}
}

// heard ends what the user says.
func (t *turn) heard() {
	if t.item == "" {
		return
	}
	t.put(&driver.SpeechStopped{ItemID: t.item})
	t.put(&driver.Transcript{ItemID: t.item, Text: t.text, Final: true, Failed: t.text == "", StartedAt: t.since})
	t.item = ""
}

// begin begins an answer, if none goes on.
func (t *turn) begin() {
	if t.id != "" {
		return
	}
	t.heard()
	t.id = metrics.NewID("resp_")
	t.last = t.id
	t.put(&driver.ResponseCreated{ResponseID: t.id, RequestID: t.c.begins()})
}

// message begins the answer's message, if it has not begun.
func (t *turn) message() {
	t.begin()
	if t.msg == "" {
		t.msg, t.words = metrics.NewID("item_"), false
		t.put(&driver.MessageStarted{ResponseID: t.id, ItemID: t.msg})
	}
}

func (t *turn) sounds(s *content) error {
	if t.id == "" {
		return nil // of an answer that was cut
	}
	b, err := base64.StdEncoding.DecodeString(s.Content)
	if err != nil {
		return t.c.client.Protocol("receive", "audio cannot be read: %v", err)
	}
	t.message()
	t.pcm = wire.Samples(nil, b) // several may wait
	t.put(&driver.Audio{ResponseID: t.id, ItemID: t.msg, Frame: audio.Frame{Data: t.pcm, Rate: outputRate, Channels: 1}})
	return nil
}

func (t *turn) calls(s *content) {
	t.begin()
	t.c.mu.Lock()
	t.c.calls[s.ToolUseID] = true
	t.c.mu.Unlock()
	t.put(&driver.ToolCall{ResponseID: t.id, ItemID: metrics.NewID("item_"),
		Call: llm.ToolCall{CallID: s.ToolUseID, Name: s.ToolName, Arguments: arguments(s.Content)}})
}

// arguments takes off the second coat that some arguments come in: a string that is the object in JSON.
func arguments(s string) string {
	var inner string
	var o map[string]json.RawMessage
	if json.Unmarshal([]byte(s), &inner) == nil && json.Unmarshal([]byte(inner), &o) == nil {
		return inner
	}
	return s
}

func (t *turn) ends(ctx context.Context, s *content) error {
	p := t.open[s.ID]
	delete(t.open, s.ID)
	switch {
	case s.StopReason == interrupt:
		return t.cut(ctx, p)
	case p.answer != t.id:
	case p.kind == audible && s.StopReason == endsTurn, p.kind == toCall:
		return t.over(ctx, driver.Completed)
	}
	return nil
}

// cut ends an answer that the user speaks over, as a content of it says. The service makes it faster than it is
// heard, so that it may be complete, and still has to stop.
func (t *turn) cut(ctx context.Context, p place) error {
	if t.id != "" && p.answer != t.id {
		return nil // late news of the one before
	}
	t.speaks()
	if t.id == "" {
		return nil
	}
	t.put(&driver.Interrupted{ResponseID: t.id})
	return t.over(ctx, driver.Cancelled)
}

// over ends the answer, if there is one.
func (t *turn) over(ctx context.Context, end driver.Status) error {
	if t.id == "" {
		return nil
	}
	if t.msg != "" {
		t.put(&driver.MessageDone{ResponseID: t.id, ItemID: t.msg})
	}
	t.done = &driver.ResponseDone{ResponseID: t.id, Status: end}
	t.id, t.msg = "", ""
	if t.usage.known {
		t.release()
	} else {
		t.late = time.NewTimer(unstated)
	}
	return t.c.askNext(ctx)
}

// flush tells of what was used and not told.
func (t *turn) flush() {
	t.release()
	if u := t.usage.take(); u != nil {
		t.put(&driver.ResponseUsage{ResponseID: t.id, Usage: *u})
	}
}
