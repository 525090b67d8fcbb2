// Package phonicbox is the sandbox of Phonic's protocol.
package phonicbox

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
)

const (
	rate   = 24000
	format = "pcm_24000"
	// maxChunk is how much audio may come at once.
	maxChunk = 40 * time.Millisecond
)

// Options are the options of Converse.
type Options struct {
	sandbox.Talk
	// Pace makes audio come no faster than so many times real time; 0 at once.
	Pace float64
	// Seen, if set, gets every message of the client but audio.
	Seen func(fields map[string]any)
	// Heard, if set, gets the length of every chunk of audio.
	Heard func(time.Duration)
}

// Converse serves the websocket {prefix}/sts/ws.
func Converse(s *sandbox.Server, prefix string, o Options) {
	o.Talk = o.Talk.Defaults()
	s.HandleSocket(prefix+"/sts/ws", func(c *sandbox.Call, ws *sandbox.Socket) {
		n := &conversation{o: o, c: c, ws: ws, calls: map[string]string{}}
		n.t = sandbox.NewTalker(o.Talk, rate, c, ws, sandbox.Voices{Began: n.began, Word: n.word, Called: n.called, Ended: n.ended})
		n.t.Pace = o.Pace
		n.ear = n.t.Ear(rate)
		n.serve()
	}, func(c *sandbox.Call) bool { return c.Authorized("Authorization", "Bearer ") })
}

// conversation is a connection. All of it belongs to the Talker's lock.
type conversation struct {
	o     Options
	c     *sandbox.Call
	ws    *sandbox.Socket
	t     *sandbox.Talker
	ear   sandbox.Ear
	setup *config           // nil until it came
	calls map[string]string // tools that are carried out, by id
	spoke bool              // something of the answer under way
}

// refusal is an error that the client is told.
type refusal struct {
	message string
	fields  map[string]string
}

func (r *refusal) Error() string { return r.message }

func refuse(format string, args ...any) error {
	return &refusal{message: fmt.Sprintf(format, args...)}
}

func (n *conversation) serve() {
	end := n.c.Begin()
	defer end()
	defer func() { n.t.End(metrics.Metadata{ModelName: "merritt", ModelProvider: "phonic"}) }()
	in := n.ws.Inbox(func(bool, []byte) {})
	for {
		binary, data, err := in.Next(0)
		if err != nil {
			return
		}
		n.t.Lock()
		if binary {
			err = refuse("binary message")
		} else {
			err = n.take(data)
		}
		n.t.Unlock()
		var r *refusal
		switch {
		case errors.As(err, &r):
			m := map[string]any{"type": "error", "error": map[string]any{"message": r.message, "code": "invalid_message"}}
			if r.fields != nil {
				m["param_errors"] = r.fields
			}
			n.send(m)
			if n.setup == nil { // nothing can come of it
				n.ws.Close(4000, r.message)
				return
			}
		case err != nil:
			n.ws.Hang()
			n.ws.Close(websocket.CloseInternalServerErr, "")
			return
		}
	}
}

// send tells something that is no answer.
func (n *conversation) send(m map[string]any) { _ = n.ws.Send(m, false) }

func (n *conversation) tell(kind string) { n.send(map[string]any{"type": kind}) }

// take takes a message.
func (n *conversation) take(data []byte) error {
	var head struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(data, &head) != nil {
		return refuse("message cannot be read")
	}
	if n.o.Seen != nil && head.Type != "audio_chunk" {
		var fields map[string]any
		_ = json.Unmarshal(data, &fields)
		n.o.Seen(fields)
	}
	if n.setup == nil {
		return n.begin(head.Type, data)
	}
	var m struct {
		Type          string  `json:"type"`
		Audio         string  `json:"audio"`
		Date          string  `json:"iso_date_time"`
		Prompt        *string `json:"system_prompt"`
		System        string  `json:"system_message"`
		User          string  `json:"user_message"`
		Text          string  `json:"text"`
		Interruptible *bool   `json:"interruptible"`
		ID            string  `json:"tool_call_id"`
		Output        any     `json:"output"`
	}
	if err := sandbox.Strict(data, &m); err != nil {
		return refuse("%v", err)
	}
	switch m.Type {
	case "audio_chunk":
		return n.hear(m.Audio)
	case "update_system_prompt":
		if m.Prompt == nil {
			return refuse("system_prompt is missing")
		}
		n.setup.Prompt = *m.Prompt
	case "add_system_message":
		if m.System == "" {
			return refuse("system_message is missing")
		}
		n.note("system", m.System)
	case "generate_reply":
		if m.User != "" {
			n.note("user", m.User)
		}
		n.reply(m.System, "")
	case "say":
		if m.Text == "" {
			return refuse("text is missing")
		}
		n.reply("", m.Text)
	case "tool_call_output":
		return n.returned(m.ID, m.Output)
	default:
		return refuse("unknown message %q", m.Type)
	}
	return nil
}

// begin takes the configuration.
func (n *conversation) begin(kind string, data []byte) error {
	var c config
	if kind != "config" {
		return refuse("the first message must be config")
	}
	if err := sandbox.Strict(data, &c); err != nil {
		return refuse("%v", err)
	}
	if wrong := c.wrong(); len(wrong) > 0 {
		return &refusal{"invalid config", wrong}
	}
	n.setup = &c
	n.t.Begin()
	n.send(map[string]any{"type": "conversation_created", "conversation_id": metrics.NewID("conv_")})
	n.tell("ready_to_start_conversation")
	n.silence()
	return nil
}

// silence is what comes between answers.
func (n *conversation) silence() {
	n.send(map[string]any{"type": "audio_chunk", "text": "", "audio": base64.StdEncoding.EncodeToString(make([]byte, 960))})
}

func (n *conversation) note(role, text string) {
	n.t.Turns = append(n.t.Turns, sandbox.Turn{Role: role, Text: text})
}

// hear takes audio.
func (n *conversation) hear(s string) error {
	pcm, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(pcm) == 0 || len(pcm)%2 != 0 {
		return refuse("audio cannot be read")
	}
	d := audio.Samples(len(pcm) / 2).At(rate)
	if d > maxChunk {
		return refuse("audio chunks have 40 ms at most")
	}
	if n.o.Heard != nil {
		n.o.Heard(d)
	}
	for _, h := range n.ear.Hear(pcm) {
		switch h.Kind {
		case sandbox.Began:
			n.t.Cut()
			n.tell("user_started_speaking")
			for id, name := range n.calls {
				delete(n.calls, id)
				n.send(map[string]any{"type": "tool_call_interrupted", "tool_call_id": id, "tool_name": name})
			}
		case sandbox.Ended:
			n.tell("user_finished_speaking")
			n.send(map[string]any{"type": "input_text", "text": h.Transcript(), "language": "en"})
			n.note("user", h.Transcript())
			n.t.Answer(n.setup.Prompt, n.setup.tools, "")
		}
	}
	return nil
}

// reply answers at once, instead of what is being said.
func (n *conversation) reply(system, say string) {
	n.t.Cut()
	prompt := n.setup.Prompt
	if system != "" {
		prompt += "\n\n" + system
	}
	n.t.Answer(prompt, n.setup.tools, say)
}

func (n *conversation) returned(id string, output any) error {
	name, ok := n.calls[id]
	if !ok {
		return refuse("no tool call %q", id)
	}
	delete(n.calls, id)
	text, isText := output.(string)
	if !isText {
		raw, _ := json.Marshal(output)
		text = string(raw)
	}
	n.t.Turns = append(n.t.Turns, sandbox.Turn{Role: "output", Text: text, Tool: name})
	n.send(map[string]any{"type": "tool_call_output_processed", "tool_call_id": id, "tool": map[string]any{"name": name}})
	if len(n.calls) == 0 {
		n.t.Answer(n.setup.Prompt, n.setup.tools, "")
	}
	return nil
}

func (n *conversation) began() { n.spoke = false }

func (n *conversation) word(w string, pcm []byte) error {
	if !n.spoke {
		n.spoke = true
		n.tell("assistant_started_speaking")
	}
	return n.ws.Send(map[string]any{"type": "audio_chunk", "text": w, "audio": base64.StdEncoding.EncodeToString(pcm)}, true)
}

// finished ends what is spoken. One that was cut ends with what cut it.
func (n *conversation) finished(whole bool) {
	if n.spoke && whole {
		n.tell("assistant_finished_speaking")
	}
	n.spoke = false
	n.silence()
}

func (n *conversation) called(c llm.ToolCall) error {
	n.finished(true)
	n.calls[c.CallID] = c.Name
	n.t.Turns = append(n.t.Turns, sandbox.Turn{Role: "call", Text: c.Arguments, Tool: c.Name})
	return n.ws.Send(map[string]any{"type": "tool_call", "tool_call_id": c.CallID, "tool_name": c.Name,
		"parameters": json.RawMessage(c.Arguments)}, true)
}

func (n *conversation) ended(_ string, whole bool) { n.finished(whole) }
