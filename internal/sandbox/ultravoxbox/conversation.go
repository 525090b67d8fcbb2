package ultravoxbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/internal/sandbox"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
)

// conversation is a call that was joined. All of it belongs to the Talker's lock.
type conversation struct {
	w       *setup
	o       Options
	c       *sandbox.Call
	ws      *sandbox.Socket
	t       *sandbox.Talker
	ear     sandbox.Ear
	text    bool              // answers are written only
	calls   map[string]string // tools that are carried out, by invocation
	quiet   bool              // their outputs want no answer
	ordinal int
	agent   int  // the ordinal of the answer under way
	spoke   bool // something of it
	late    func()
}

func newConversation(w *setup, o Options, c *sandbox.Call, ws *sandbox.Socket) *conversation {
	n := &conversation{w: w, o: o, c: c, ws: ws, text: w.OutputMedium == "MESSAGE_MEDIUM_TEXT", calls: map[string]string{}}
	n.t = sandbox.NewTalker(o.Talk, w.OutputRate, c, ws, sandbox.Voices{Began: n.began, Word: n.word, Called: n.called, Ended: n.ended})
	n.t.Turns, n.t.Pace = w.turns, o.Pace
	n.ordinal = len(w.turns)
	n.ear = n.t.Ear(w.InputRate)
	return n
}

// errRefused is what the provider would not take: it ends the call.
var errRefused = errors.New("refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errRefused}, args...)...)
}

func (n *conversation) serve() {
	end := n.c.Begin()
	defer end()
	defer n.t.End(metrics.Metadata{ModelName: n.w.Model, ModelProvider: "ultravox"})
	in := n.ws.Inbox(func(bool, []byte) {})
	n.send(map[string]any{"type": "call_started", "callId": n.w.id})
	n.state("listening")
	for {
		binary, data, err := in.Next(0)
		if err != nil {
			return
		}
		n.t.Lock()
		if binary {
			err = n.hear(data)
		} else {
			err = n.take(data)
		}
		n.t.Unlock()
		if err != nil {
			n.ws.Hang()
			n.ws.Close(websocket.ClosePolicyViolation, err.Error())
			return
		}
	}
}

// send tells something that is no answer.
func (n *conversation) send(m map[string]any) { _ = n.ws.Send(m, false) }

func (n *conversation) state(s string) { n.send(map[string]any{"type": "state", "state": s}) }

func (n *conversation) transcript(role, medium, key, text string, final bool, ordinal int) {
	n.send(map[string]any{"type": "transcript", "role": role, "medium": medium, key: text, "final": final, "ordinal": ordinal})
}

// noted makes an entry of the conversation and returns its ordinal.
func (n *conversation) noted(t sandbox.Turn) int {
	n.t.Turns = append(n.t.Turns, t)
	n.ordinal++
	return n.ordinal
}

// hear takes audio. The user is heard also while tools are carried out, but not answered.
func (n *conversation) hear(pcm []byte) error {
	if len(pcm) == 0 || len(pcm)%2 != 0 {
		return refuse("half a sample")
	}
	for _, h := range n.ear.Hear(pcm) {
		switch h.Kind {
		case sandbox.Began:
			if n.w.Data["userStartedSpeaking"] {
				n.send(map[string]any{"type": "user_started_speaking"})
			}
			n.interrupt()
		case sandbox.Ended:
			if n.w.Data["userStoppedSpeaking"] {
				n.send(map[string]any{"type": "user_stopped_speaking"})
			}
			at := n.noted(sandbox.Turn{Role: "user", Text: h.Transcript()})
			n.late = func() { n.transcript("user", "voice", "text", h.Transcript(), true, at) }
			n.answer("")
		}
	}
	return nil
}

// interrupt ends what the agent says.
func (n *conversation) interrupt() {
	if n.t.Cut() && n.spoke {
		n.send(map[string]any{"type": "playback_clear_buffer"})
	}
}

func (n *conversation) answer(say string) {
	if len(n.calls) == 0 {
		n.t.Answer(n.w.Prompt, n.w.tools, say)
	}
}

// take takes a message.
func (n *conversation) take(data []byte) error {
	var m struct {
		Type       string  `json:"type"`
		Text       *string `json:"text"`
		Urgency    string  `json:"urgency"`
		Defer      bool    `json:"deferResponse"`
		Content    string  `json:"content"`
		Invocation string  `json:"invocationId"`
		Result     *string `json:"result"`
		Reaction   string  `json:"agentReaction"`
		Medium     string  `json:"medium"`
		Timestamp  float64 `json:"timestamp"`
	}
	if err := sandbox.Strict(data, &m); err != nil {
		return refuse("%v", err)
	}
	if n.o.Seen != nil {
		var fields map[string]any
		_ = json.Unmarshal(data, &fields)
		n.o.Seen(fields)
	}
	switch m.Type {
	case "user_text_message":
		if m.Text == nil {
			return refuse("no text")
		}
		return n.written(*m.Text, m.Urgency, m.Defer)
	case "forced_agent_message":
		if m.Content == "" || m.Urgency != "" && m.Urgency != "soon" && m.Urgency != "immediate" {
			return refuse("nothing to say")
		}
		if m.Urgency == "immediate" {
			n.interrupt()
		}
		n.answer(m.Content)
	case "client_tool_result":
		if m.Result == nil || m.Reaction != "" && m.Reaction != "speaks" && m.Reaction != "listens" && m.Reaction != "speaks-once" {
			return refuse("invalid result")
		}
		return n.returned(m.Invocation, *m.Result, m.Reaction == "listens")
	case "set_output_medium":
		n.text = m.Medium == "text"
	case "ping":
		n.send(map[string]any{"type": "pong", "timestamp": m.Timestamp})
	case "hang_up":
		n.ws.Close(websocket.CloseNormalClosure, "")
	default:
		return refuse("unknown message %q", m.Type)
	}
	return nil
}

// written takes a text of the user, which is told as what he said.
func (n *conversation) written(text, urgency string, deferred bool) error {
	if strings.TrimSpace(text) != "" {
		n.transcript("user", "text", "text", text, true, n.noted(sandbox.Turn{Role: "user", Text: text}))
	}
	switch urgency {
	case "immediate":
		n.interrupt()
		if !deferred {
			n.answer("")
		}
	case "soon", "":
		if !deferred {
			n.answer("")
		}
	case "later":
	default:
		return refuse("unknown urgency %q", urgency)
	}
	return nil
}

// returned takes the output of a tool. The conversation goes on when all are there.
func (n *conversation) returned(id, output string, quiet bool) error {
	tool, ok := n.calls[id]
	if !ok {
		return refuse("no invocation %q", id)
	}
	delete(n.calls, id)
	n.noted(sandbox.Turn{Role: "output", Text: output, Tool: tool})
	n.quiet = n.quiet && quiet
	switch {
	case len(n.calls) > 0:
	case n.quiet:
		n.state("listening")
	default:
		n.answer("")
	}
	return nil
}

// began tells that the agent thinks.
func (n *conversation) began() {
	n.ordinal++
	n.agent, n.spoke = n.ordinal, false
	n.state("thinking")
}

// word says a word. What the user said is known then.
func (n *conversation) word(w string, pcm []byte) error {
	if !n.spoke {
		n.spoke = true
		n.state("speaking")
	}
	n.user()
	if n.text {
		return n.ws.Send(map[string]any{"type": "transcript", "role": "agent", "medium": "text", "delta": w, "final": false, "ordinal": n.agent}, true)
	}
	if err := n.ws.SendBinary(pcm); err != nil {
		return err
	}
	n.transcript("agent", "voice", "delta", w, false, n.agent)
	return nil
}

// user tells what the user said last.
func (n *conversation) user() {
	if late := n.late; late != nil {
		n.late = nil
		late()
	}
}

func (n *conversation) called(c llm.ToolCall) error {
	n.user()
	if len(n.calls) == 0 {
		n.quiet = true
	}
	n.calls[c.CallID] = c.Name
	n.noted(sandbox.Turn{Role: "call", Text: c.Arguments, Tool: c.Name})
	return n.ws.Send(map[string]any{"type": "client_tool_invocation", "toolName": c.Name, "invocationId": c.CallID,
		"parameters": json.RawMessage(c.Arguments)}, true)
}

func (n *conversation) ended(said string, _ bool) {
	n.user()
	if said != "" {
		medium := "voice"
		if n.text {
			medium = "text"
		}
		n.transcript("agent", medium, "text", said, true, n.agent)
	}
	if len(n.calls) == 0 {
		n.state("listening")
	}
}
