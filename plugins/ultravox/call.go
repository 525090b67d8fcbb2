package ultravox

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/teller"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/realtime/driver"
)

// maxEchoes is how many of our texts are remembered that the provider may send back as the user's.
const maxEchoes = 64

// How soon the provider heeds a text.
const (
	immediate = "immediate" // it stops to speak
	soon      = "soon"      // it answers when nobody speaks
	later     = "later"     // in its next answer
)

// call implements driver.Conn, and says and cancels.
type call struct {
	d *converser
	*wire.Socket
	t *teller.Teller

	mu      sync.Mutex
	tools   map[string]bool // invocations that wait for a result
	echoes  []string
	stopped bool // an answer, by us, since it began

	// Of the goroutine that reads.
	over    bool   // the user began to speak while an answer was spoken
	noticed bool   // the provider told that he did, since the last answer
	result  bool   // the next answer is for an output, or for what we asked; with the lock
	said    string // by the user, in pieces
	ordinal int    // the newest of the agent
	past    int    // that of the last answer that is over; -1 for none
}

var (
	_ driver.Canceller = (*call)(nil)
	_ driver.Sayer     = (*call)(nil)
	_ driver.Connected = (*call)(nil)
)

// Push implements driver.Conn.
func (c *call) Push(ctx context.Context, f audio.Frame) error {
	return c.WriteBinary(ctx, wire.AppendPCM(make([]byte, 0, 2*len(f.Data)), f.Data))
}

// write sends a text of the user.
func (c *call) write(ctx context.Context, text, urgency string) error {
	if text != "" {
		c.mu.Lock()
		c.echoes = append(c.echoes[max(0, len(c.echoes)-maxEchoes+1):], text)
		c.mu.Unlock()
	}
	return c.WriteJSON(ctx, map[string]any{"type": "user_text_message", "text": text, "urgency": urgency})
}

// Add implements driver.Conn. Everything goes behind what was said; what the assistant said, and calls, cannot.
func (c *call) Add(ctx context.Context, items []driver.Item) error {
	items, left := driver.Supported(items, func(it chat.Item) bool {
		switch it := it.(type) {
		case *chat.Message:
			return it.Role != chat.Assistant && written(it) != ""
		case *chat.FunctionCallOutput:
			return true
		}
		return false
	})
	for _, it := range items {
		var err error
		switch x := it.Item.(type) {
		case *chat.Message:
			err = c.write(ctx, written(x), later)
		case *chat.FunctionCallOutput:
			err = c.output(ctx, x, it.Silent)
		}
		if err != nil {
			return err
		}
	}
	c.t.Added(items...)
	return left
}

// output sends the output of a tool. That of an invocation of another call, which broke, is told in words.
func (c *call) output(ctx context.Context, o *chat.FunctionCallOutput, silent bool) error {
	c.mu.Lock()
	known := c.tools[o.CallID]
	delete(c.tools, o.CallID)
	c.result = c.result || !silent
	c.mu.Unlock()
	if !known {
		urgency := soon
		if silent {
			urgency = later
		}
		return c.write(ctx, instruction("The tool "+o.Name+" returned: "+o.Output), urgency)
	}
	reaction := "speaks"
	if silent {
		reaction = "listens"
	}
	return c.WriteJSON(ctx, map[string]any{"type": "client_tool_result", "invocationId": o.CallID, "result": o.Output, "agentReaction": reaction})
}

// Generate implements driver.Conn.
func (c *call) Generate(ctx context.Context, r *driver.Request) error {
	text := ""
	if r.Instructions != "" {
		text = instruction(r.Instructions)
	}
	c.t.Ask(r.ID)
	return c.write(ctx, text, soon)
}

// Say implements driver.Sayer.
func (c *call) Say(ctx context.Context, r *driver.Request, text string) error {
	c.t.Ask(r.ID)
	return c.WriteJSON(ctx, map[string]any{"type": "forced_agent_message", "content": text, "urgency": soon})
}

// Cancel implements driver.Canceller: an empty text that interrupts and wants no answer.
func (c *call) Cancel(ctx context.Context) error {
	awaited, going := c.t.Awaited(), c.t.Cut()
	c.mu.Lock()
	c.stopped = c.stopped || going
	c.result = c.result || awaited // it may begin before it is stopped
	c.mu.Unlock()
	return c.WriteJSON(ctx, map[string]any{"type": "user_text_message", "text": "", "urgency": immediate, "deferResponse": true})
}

// Next implements driver.Conn.
func (c *call) Next(ctx context.Context) (driver.Event, error) {
	return c.t.Next(ctx, c.read, c.understand)
}

// event is a message of the provider.
type event struct {
	Type       string          `json:"type"`
	State      string          `json:"state"`
	Role       string          `json:"role"`
	Medium     string          `json:"medium"`
	Text       string          `json:"text"`
	Delta      string          `json:"delta"`
	Final      bool            `json:"final"`
	Ordinal    int             `json:"ordinal"`
	Tool       string          `json:"toolName"`
	Invocation string          `json:"invocationId"`
	Parameters json.RawMessage `json:"parameters"`
}

func (c *call) read(ctx context.Context) (wire.Message, error) {
	m, err := c.Read(ctx)
	if err != nil && c.EndedWell() {
		return m, io.EOF
	}
	return m, err
}

// understand takes one message.
func (c *call) understand(ctx context.Context, m wire.Message) error {
	if m.Binary {
		if c.t.Going() || slices.ContainsFunc(m.Data, func(b byte) bool { return b != 0 }) { // silence is no answer
			c.t.Audio(m.Data)
		}
		return nil
	}
	var e event
	if err := c.Decode(m, &e); err != nil {
		return err
	}
	if e.Type == "client_tool_invocation" && c.byUs(false) { // of an answer that nobody wants
		return c.WriteJSON(ctx, map[string]any{"type": "client_tool_result", "invocationId": e.Invocation,
			"result": "cancelled", "agentReaction": "listens"})
	}
	c.take(&e)
	return nil
}

func (c *call) take(e *event) {
	switch e.Type {
	case "state":
		c.state(e.State)
	case "transcript":
		if e.Role == "user" {
			c.heard(e)
		} else {
			c.spoken(e)
		}
	case "user_started_speaking":
		if c.t.Going() { // it may not be enough to interrupt
			c.over = true
		} else {
			c.speaks()
		}
	case "user_stopped_speaking":
		c.over = false
		c.t.SpeechStopped()
	case "playback_clear_buffer":
		if !c.byUs(false) {
			c.speaks()
		}
		c.t.Interrupted()
	case "client_tool_invocation":
		c.mu.Lock()
		c.tools[e.Invocation] = true
		c.mu.Unlock()
		args := string(e.Parameters)
		if args == "" || args == "null" {
			args = "{}"
		}
		c.t.Call(llm.ToolCall{CallID: e.Invocation, Name: e.Tool, Arguments: args})
		c.ends()
	}
}

// speaks notes that the user does.
func (c *call) speaks() {
	c.over, c.noticed = false, true
	c.t.SpeechStarted()
}

// byUs reports whether the answer was stopped by us; forget begins anew.
func (c *call) byUs(forget bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.stopped
	c.stopped = c.stopped && !forget
	return was
}

// state takes what the provider does now.
func (c *call) state(s string) {
	switch s {
	case "thinking":
		c.turnOver()
		c.ends()
		c.t.Begin()
	case "speaking":
		if !c.t.Going() {
			c.t.Begin()
		}
	default:
		c.t.End()
		c.ends()
	}
}

// turnOver tells that the user's turn is over, which the provider answers, unless the answer is for something
// else. It need not have told that he speaks.
func (c *call) turnOver() {
	c.mu.Lock()
	result := c.result
	c.result = false
	c.mu.Unlock()
	if !c.noticed && !result && !c.t.Awaited() {
		c.t.SpeechStarted()
	}
	c.noticed = false
	c.t.SpeechStopped()
}

// ends takes leave of an answer.
func (c *call) ends() {
	c.byUs(true)
	c.past = c.ordinal
	if c.over { // he goes on
		c.speaks()
	}
}

// spoken tells what the agent says.
func (c *call) spoken(e *event) {
	if e.Ordinal <= c.past {
		return // of an answer that is over
	}
	c.ordinal = max(c.ordinal, e.Ordinal)
	if e.Delta != "" {
		c.t.Text(e.Delta)
	} else {
		c.t.Said(e.Text)
	}
	if e.Final && e.Medium == "text" { // there is nothing to be spoken
		c.t.End()
		c.ends()
	}
}

// heard tells what the user says. Texts come back as they were sent.
func (c *call) heard(e *event) {
	c.said = cmp.Or(e.Text, c.said+e.Delta)
	text := strings.TrimSpace(c.said)
	if e.Final {
		c.said = ""
	}
	if text == "" || e.Medium == "text" && c.echo(text) {
		return
	}
	c.t.Heard(text, "", e.Final)
}

// echo reports whether a text is one that we sent, once.
func (c *call) echo(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.echoes, func(x string) bool { return strings.TrimSpace(x) == text })
	if i < 0 {
		return false
	}
	c.echoes = slices.Delete(c.echoes, i, i+1)
	return true
}
