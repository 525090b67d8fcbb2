package googlebox

import (
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
)

// liveInput is what the user does.
type liveInput struct {
	Audio *liveBlob `json:"audio"`
	Video *liveBlob `json:"video"`
	Text  string    `json:"text"`
	Start *struct{} `json:"activityStart"`
	End   *struct{} `json:"activityEnd"`
	Over  bool      `json:"audioStreamEnd"`
}

type liveBlob struct {
	MimeType string `json:"mimeType"`
	Data     []byte `json:"data"`
}

// liveContent are turns that the client adds.
type liveContent struct {
	Turns    []Turn `json:"turns"`
	Complete bool   `json:"turnComplete"`
}

// liveOutput is the output of a tool.
type liveOutput struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Response   map[string]string `json:"response"`
	Scheduling string            `json:"scheduling"`
}

// liveCall is a call that waits for its output.
type liveCall struct{ id, name string }

// input takes what the user does.
func (t *liver) input(m *liveInput) error {
	if count(m.Audio != nil, m.Video != nil, m.Text != "", m.Start != nil, m.End != nil, m.Over) != 1 {
		return invalid("realtime_input: required oneof field must have one initialized field")
	}
	manual := t.setup.Turns.Detection.Disabled
	switch {
	case m.Audio != nil:
		return t.hear(m.Audio)
	case m.Video != nil:
		if !strings.HasPrefix(m.Video.MimeType, "image/") || len(m.Video.Data) == 0 {
			return invalid("video: invalid mime type %q", m.Video.MimeType)
		}
		t.turns = append(t.turns, sandbox.Turn{Role: "user", Images: 1})
	case m.Text != "":
		t.turns = append(t.turns, sandbox.Turn{Role: "user", Text: m.Text})
		t.answer()
	case m.Over:
		return t.noticed(t.ear.Finish())
	case !manual:
		return invalid("Explicit activity control is not supported when automatic activity detection is enabled.")
	case (m.Start != nil) == t.inTurn:
		return invalid("activity_start and activity_end must alternate")
	case m.Start != nil:
		t.inTurn, t.from, t.said = true, t.at, sandbox.Heard{}
		if t.setup.Turns.Handling != "NO_INTERRUPTION" {
			t.stop()
		}
	default:
		t.inTurn = false
		if err := t.noticed(t.ear.Finish()); err != nil {
			return err
		}
		t.turn(t.said, t.at-t.from)
	}
	return nil
}

// hear takes audio of the user. What is in no turn is dropped.
func (t *liver) hear(b *liveBlob) error {
	if b.MimeType != "audio/pcm;rate=16000" || len(b.Data) == 0 || len(b.Data)%2 != 0 {
		return invalid("audio: invalid")
	}
	if t.setup.Turns.Detection.Disabled && !t.inTurn {
		return nil
	}
	t.at += audio.Samples(len(b.Data) / 2).At(hearRate)
	return t.noticed(t.ear.Hear(b.Data))
}

func (t *liver) noticed(all []sandbox.Heard) error {
	manual := t.setup.Turns.Detection.Disabled
	for _, h := range all {
		t.transcribe(h, false)
		switch {
		case manual && h.Kind == sandbox.Ended: // a turn is what the client says
			h.Words = append(slices.Clone(t.said.Words), h.Words...)
			t.said = h
		case manual:
		case h.Kind == sandbox.Began:
			if t.setup.Turns.Handling != "NO_INTERRUPTION" {
				t.stop()
			}
		case h.Kind == sandbox.Ended:
			heard := h.End - h.Start
			if t.setup.Turns.Coverage == "TURN_INCLUDES_ALL_INPUT" {
				heard = t.at - t.from
			}
			t.from = t.at
			t.turn(h, heard)
		}
	}
	return nil
}

// turn is what the user said, which is answered.
func (t *liver) turn(said sandbox.Heard, heard time.Duration) {
	t.turns = append(t.turns, sandbox.Turn{Role: "user", Text: said.Transcript(), Audio: heard})
	t.answer()
	switch a := t.active; {
	case !t.s.o.Late:
	case a != nil && !t.again:
		a.late = &said
	default:
		t.transcribe(said, true)
	}
}

// transcribe writes the words down that are new; late also those that come late.
func (t *liver) transcribe(h sandbox.Heard, late bool) {
	words := h.Words
	if t.setup.Input == nil {
		words = nil
	}
	if n := len(words); t.s.o.Late && !late && n > 0 && h.Kind == sandbox.Ended {
		words = words[:n-1]
	}
	for ; t.written < len(words); t.written++ {
		_ = t.ws.Send(map[string]any{"serverContent": map[string]any{"inputTranscription": map[string]any{"text": " " + words[t.written].Text}}}, false)
	}
	if h.Kind == sandbox.Ended && (late || !t.s.o.Late) {
		t.written = 0
	}
}

// content takes turns of the client's. They interrupt.
func (t *liver) content(m *liveContent, first bool) error {
	if t.setup.fixed() && (!first || t.setup.History == nil || !t.setup.History.Initial) {
		return invalid("Request contains an invalid argument.")
	}
	for i := range m.Turns {
		turn, err := t.told(&m.Turns[i])
		if err != nil {
			return err
		}
		t.turns = append(t.turns, turn)
	}
	t.stop()
	if m.Complete && !t.setup.fixed() {
		if n := len(t.turns); n == 0 || t.turns[n-1].Role != "user" {
			return invalid("the last turn must be the user's")
		}
		t.answer()
	}
	return nil
}

// told is a turn that the client tells.
func (t *liver) told(m *Turn) (sandbox.Turn, error) {
	role, known := map[string]string{"user": "user", "model": "assistant", "": "system"}[m.Role]
	if !known || t.vertex && role == "system" || len(m.Parts) == 0 {
		return sandbox.Turn{}, invalid("Please use a valid role: user, model.")
	}
	turn := sandbox.Turn{Role: role}
	var text []string
	for _, p := range m.Parts {
		switch {
		case p.check(t.vertex) != nil:
			return turn, invalid("%s", p.check(t.vertex).Error())
		case p.Text != nil:
			text = append(text, *p.Text)
		case p.Inline != nil:
			turn.Images++
		default:
			return turn, invalid("Request contains an invalid argument.")
		}
	}
	turn.Text = strings.Join(text, "\n")
	return turn, nil
}

// outputs takes outputs of tools.
func (t *liver) outputs(list []liveOutput) error {
	if len(list) == 0 {
		return invalid("tool_response: no function responses")
	}
	silent := true
	for _, o := range list {
		i := slices.IndexFunc(t.calls, func(c *liveCall) bool {
			return t.vertex && c.name == o.Name || !t.vertex && c.id == o.ID
		})
		behavior := t.setup.behavior(o.Name)
		switch {
		case i < 0, len(o.Response) != 1, o.Name == "", t.vertex && o.ID != "":
			return invalid("tool_response: invalid")
		case o.Scheduling != "" && behavior != "NON_BLOCKING",
			!slices.Contains([]string{"", "SILENT", "WHEN_IDLE", "INTERRUPT"}, o.Scheduling):
			return invalid("tool_response: scheduling is only for functions that do not block")
		}
		t.calls = slices.Delete(t.calls, i, i+1)
		silent = silent && o.Scheduling == "SILENT"
		for _, out := range o.Response {
			t.turns = append(t.turns, sandbox.Turn{Role: "output", Text: out, Tool: o.Name})
		}
	}
	switch a := t.active; {
	case len(t.calls) > 0:
	case a != nil && a.waits:
		a.goOn(!silent)
	case !silent:
		t.answer() // of Vertex AI, which does not wait, once it is done with what called
	}
	return nil
}
