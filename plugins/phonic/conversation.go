package phonic

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/teller"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/realtime/driver"
)

// conversation implements driver.Conn, and updates and says.
type conversation struct {
	d *converser
	*wire.Socket
	t    *teller.Teller
	past string // what was said before

	mu      sync.Mutex
	calls   map[string]bool // that wait for an output
	written []string        // by the user, since the last answer that was asked for
	waiting []request       // for the end of one that was asked for before

	speaking bool // an answer is spoken; of the goroutine that reads
}

// request asks for an answer.
type request struct {
	id      string
	message map[string]any
}

var (
	_ driver.Updater   = (*conversation)(nil)
	_ driver.Sayer     = (*conversation)(nil)
	_ driver.Connected = (*conversation)(nil)
)

// open makes a fresh connection ready.
func (c *conversation) open(ctx context.Context, s *driver.Setup) error {
	prompt, apart := c.prompt(s.Instructions), ""
	if s.Instructions == "" && c.d.o.Agent != "" { // which has its own
		prompt, apart, c.past = "", c.past, ""
	}
	if err := c.WriteJSON(ctx, c.d.config(s, prompt)); err != nil {
		return err
	}
	for {
		var e event
		if err := c.ReadJSON(ctx, &e); err != nil {
			return err
		}
		switch e.Type {
		case "ready_to_start_conversation":
			if apart != "" {
				return c.note(ctx, apart)
			}
			return nil
		case "error":
			return c.d.refused("configure", &e)
		}
	}
}

func (c *conversation) prompt(instructions string) string {
	return strings.TrimSpace(instructions + "\n\n" + c.past)
}

// Push implements driver.Conn.
func (c *conversation) Push(ctx context.Context, f audio.Frame) error {
	return c.WriteJSON(ctx, heard(f))
}

// Add implements driver.Conn. Everything goes behind what was said. What the user writes is sent with the request
// for an answer; what the assistant said, and calls, cannot be added.
func (c *conversation) Add(ctx context.Context, items []driver.Item) error {
	items, left := driver.Supported(items, func(it chat.Item) bool {
		switch it := it.(type) {
		case *chat.Message:
			return it.Role != chat.Assistant && strings.TrimSpace(it.Text()) != ""
		case *chat.FunctionCallOutput:
			return true
		}
		return false
	})
	for _, it := range items {
		if err := c.add(ctx, &it); err != nil {
			return err
		}
	}
	c.t.Added(items...)
	return left
}

func (c *conversation) add(ctx context.Context, it *driver.Item) error {
	switch x := it.Item.(type) {
	case *chat.Message:
		if x.Role != chat.User {
			return c.note(ctx, x.Text())
		}
		c.mu.Lock()
		c.written = append(c.written, x.Text())
		c.mu.Unlock()
	case *chat.FunctionCallOutput:
		c.mu.Lock()
		known := c.calls[x.CallID]
		delete(c.calls, x.CallID)
		c.mu.Unlock()
		if known {
			return c.WriteJSON(ctx, map[string]any{"type": "tool_call_output", "tool_call_id": x.CallID, "output": x.Output})
		}
		if err := c.note(ctx, "The tool "+x.Name+" returned: "+x.Output); err != nil || it.Silent { // of a connection that broke
			return err
		}
		return c.WriteJSON(ctx, map[string]any{"type": "generate_reply"})
	}
	return nil
}

// note tells the model something that nobody said.
func (c *conversation) note(ctx context.Context, text string) error {
	return c.WriteJSON(ctx, map[string]any{"type": "add_system_message", "system_message": text})
}

// Generate implements driver.Conn. The answer takes the place of one that goes on, but waits for one that was asked
// for and did not begin.
func (c *conversation) Generate(ctx context.Context, r *driver.Request) error {
	m := map[string]any{"type": "generate_reply"}
	if r.Instructions != "" {
		m["system_message"] = r.Instructions
	}
	c.mu.Lock()
	if len(c.written) > 0 {
		m["user_message"] = strings.Join(c.written, "\n")
	}
	c.written = nil
	c.mu.Unlock()
	return c.ask(ctx, request{r.ID, m})
}

// Say implements driver.Sayer.
func (c *conversation) Say(ctx context.Context, r *driver.Request, text string) error {
	return c.ask(ctx, request{r.ID, map[string]any{"type": "say", "text": text}})
}

func (c *conversation) ask(ctx context.Context, r request) error {
	c.mu.Lock()
	if len(c.waiting) > 0 || c.t.Awaited() {
		c.waiting = append(c.waiting, r)
		c.mu.Unlock()
		return nil
	}
	c.t.Cut()
	c.t.Ask(r.id)
	c.mu.Unlock()
	return c.WriteJSON(ctx, r.message)
}

// Withdraw implements driver.Withdrawer.
func (c *conversation) Withdraw(id string) (kept bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.waiting)
	c.waiting = slices.DeleteFunc(c.waiting, func(r request) bool { return r.id == id })
	return len(c.waiting) < n
}

// due asks for what waited.
func (c *conversation) due(ctx context.Context) error {
	c.mu.Lock()
	if len(c.waiting) == 0 || !c.t.Idle() {
		c.mu.Unlock()
		return nil
	}
	r := c.waiting[0]
	c.waiting = c.waiting[1:]
	c.t.Ask(r.id)
	c.mu.Unlock()
	return c.WriteJSON(ctx, r.message)
}

// Update implements driver.Updater, for instructions.
func (c *conversation) Update(ctx context.Context, u *driver.Update) error {
	if u.Tools != nil || u.ToolChoice != nil {
		return driver.ErrUnsupported
	}
	if u.Instructions != nil {
		err := c.WriteJSON(ctx, map[string]any{"type": "update_system_prompt", "system_prompt": c.prompt(*u.Instructions)})
		if err != nil {
			return err
		}
	}
	c.t.Tell(&driver.Updated{ID: u.ID})
	return nil
}

// Next implements driver.Conn.
func (c *conversation) Next(ctx context.Context) (driver.Event, error) {
	return c.t.Next(ctx, c.read, c.understand)
}

// event is a message of Phonic.
type event struct {
	Type       string          `json:"type"`
	Audio      string          `json:"audio"`
	Text       string          `json:"text"`
	Language   string          `json:"language"`
	ToolCallID string          `json:"tool_call_id"`
	ToolName   string          `json:"tool_name"`
	Parameters json.RawMessage `json:"parameters"`
	Error      struct {
		Message string `json:"message"`
		Code    string `json:"code"`
	} `json:"error"`
	ParamErrors map[string]string `json:"param_errors"`
}

func (c *conversation) read(ctx context.Context) (wire.Message, error) {
	m, err := c.Read(ctx)
	if err != nil && c.EndedWell() {
		return m, io.EOF
	}
	return m, err
}

// understand takes one message.
func (c *conversation) understand(ctx context.Context, m wire.Message) error {
	if m.Binary {
		return c.d.Protocol("receive", "binary message where text was expected")
	}
	var e event
	if err := json.Unmarshal(m.Data, &e); err != nil {
		return c.d.Protocol("receive", "message cannot be read: %v", err)
	}
	if err := c.take(&e); err != nil {
		return err
	}
	return c.due(ctx)
}

func (c *conversation) take(e *event) error {
	switch e.Type {
	case "user_started_speaking":
		c.t.SpeechStarted()
		c.t.Interrupted()
		c.ends()
	case "user_finished_speaking", "input_cancelled":
		c.t.SpeechStopped()
	case "input_text":
		if text := strings.TrimSpace(e.Text); text != "" {
			c.t.Heard(text, e.Language, true)
		}
	case "assistant_started_speaking":
		c.speaking = true
		c.t.Begin()
	case "audio_chunk":
		return c.spoken(e)
	case "assistant_finished_speaking":
		c.ends()
	case "assistant_chose_not_to_respond":
		c.speaking = false
		c.t.Declined()
	case "tool_call":
		c.called(e)
	case "tool_call_interrupted":
		c.mu.Lock()
		delete(c.calls, e.ToolCallID)
		c.mu.Unlock()
		c.t.Tell(&driver.ToolCallsCancelled{CallIDs: []string{e.ToolCallID}})
	case "assistant_ended_conversation":
		c.t.Tell(&driver.GoAway{In: time.Second})
	case "error":
		c.t.Refused(c.d.refused("converse", e))
	}
	return nil
}

func (c *conversation) ends() {
	c.speaking = false
	c.t.End()
}

// spoken tells what the assistant says. Sound without words comes all the time, and is part of an answer only
// while one is spoken.
func (c *conversation) spoken(e *event) error {
	if e.Text == "" && !c.speaking {
		return nil
	}
	c.speaking = true
	c.t.Text(e.Text)
	pcm, err := base64.StdEncoding.DecodeString(e.Audio)
	if err != nil {
		return c.d.Protocol("receive", "audio cannot be read: %v", err)
	}
	c.t.Audio(pcm)
	return nil
}

func (c *conversation) called(e *event) {
	c.mu.Lock()
	c.calls[e.ToolCallID] = true
	c.mu.Unlock()
	args := string(e.Parameters)
	if args == "" || args == "null" {
		args = "{}"
	}
	c.speaking = false
	c.t.Call(llm.ToolCall{CallID: e.ToolCallID, Name: e.ToolName, Arguments: args})
}

// reason is the error of a message in which Phonic says why it hangs up; nil for any other.
func (d *converser) reason(e *event) error {
	if e.Type != "error" {
		return nil
	}
	return d.refused("converse", e)
}

// refused is the error that a message states.
func (d *converser) refused(op string, e *event) error {
	text := e.Error.Message
	if e.Error.Code != "" {
		text += " (" + e.Error.Code + ")"
	}
	for _, name := range slices.Sorted(maps.Keys(e.ParamErrors)) {
		text += "; " + name + ": " + e.ParamErrors[name]
	}
	return d.Status(op, http.StatusBadRequest, text)
}
