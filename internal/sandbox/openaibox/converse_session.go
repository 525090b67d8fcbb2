package openaibox

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/parley-go/parley/internal/sandbox"
)

// session is what the client configured.
type session struct {
	raw          json.RawMessage // as it was sent; what a later one leaves out stays
	text         bool
	instructions string
	tools        []converseTool
	choice       json.RawMessage
	script       *script
	turns        *turnDetection
}

type script struct {
	Model    string `json:"model"`
	Language string `json:"language"`
	Prompt   string `json:"prompt"`
}

type turnDetection struct {
	Type      string  `json:"type"`
	Eagerness string  `json:"eagerness"`
	Threshold float64 `json:"threshold"`
	Prefix    int     `json:"prefix_padding_ms"`
	Silence   int     `json:"silence_duration_ms"`
	Create    bool    `json:"create_response"`
	Interrupt bool    `json:"interrupt_response"`
}

// silence is what ends a turn; 0 for the default. By meaning it takes longer than by silence.
func (t *turnDetection) silence() time.Duration {
	switch {
	case t == nil:
		return 0
	case t.Type == "semantic_vad":
		return 600 * time.Millisecond
	default:
		return time.Duration(t.Silence) * time.Millisecond
	}
}

type converseTool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
}

// common is what all forms of a session have.
type common struct {
	Instructions string          `json:"instructions"`
	Tools        []converseTool  `json:"tools"`
	ToolChoice   json.RawMessage `json:"tool_choice"`
	Truncation   json.RawMessage `json:"truncation"`
	Reasoning    json.RawMessage `json:"reasoning"`
	Tracing      json.RawMessage `json:"tracing"`
	Include      []string        `json:"include"`
}

// presentSession is the object of session.update.
type presentSession struct {
	common
	Type       string          `json:"type"`
	Model      string          `json:"model"`
	Modalities []string        `json:"output_modalities"`
	MaxTokens  json.RawMessage `json:"max_output_tokens"`
	Audio      struct {
		Input struct {
			Format soundFormat     `json:"format"`
			Script *script         `json:"transcription"`
			Turns  *turnDetection  `json:"turn_detection"`
			Noise  json.RawMessage `json:"noise_reduction"`
		} `json:"input"`
		Output struct {
			Format soundFormat `json:"format"`
			Voice  string      `json:"voice"`
			Speed  float64     `json:"speed"`
		} `json:"output"`
	} `json:"audio"`
}

// xaiSession has voice and turns a floor above.
type xaiSession struct {
	presentSession
	Voice string         `json:"voice"`
	Turns *turnDetection `json:"turn_detection"`
}

type soundFormat struct {
	Type string `json:"type"`
	Rate int    `json:"rate"`
}

// olderSession is the object of Azure's older form.
type olderSession struct {
	common
	Modalities []string        `json:"modalities"`
	Voice      string          `json:"voice"`
	InFormat   string          `json:"input_audio_format"`
	OutFormat  string          `json:"output_audio_format"`
	Script     *script         `json:"input_audio_transcription"`
	Noise      json.RawMessage `json:"input_audio_noise_reduction"`
	Turns      *turnDetection  `json:"turn_detection"`
	MaxTokens  json.RawMessage `json:"max_response_output_tokens"`
	Speed      float64         `json:"speed"`
}

// read understands a session object; false for one that is not allowed.
func (p *presentSession) read(s *session) bool {
	in, out := &p.Audio.Input, &p.Audio.Output
	sound := soundFormat{"audio/pcm", converseRate}
	s.script, s.turns = in.Script, in.Turns
	s.text = len(p.Modalities) == 1 && p.Modalities[0] == "text"
	return p.Type == "realtime" && in.Format == sound && out.Format == sound && p.Model != "" &&
		(s.text || len(p.Modalities) == 1 && p.Modalities[0] == "audio") && limits(p.MaxTokens, out.Speed) && p.common.read(s)
}

func (p *olderSession) read(s *session) bool {
	s.script, s.turns = p.Script, p.Turns
	s.text = len(p.Modalities) == 1 && p.Modalities[0] == "text"
	return p.InFormat == "pcm16" && p.OutFormat == "pcm16" && (s.text || len(p.Modalities) == 2) && p.Voice != "" &&
		limits(p.MaxTokens, p.Speed) && p.common.read(s)
}

func (p *common) read(s *session) bool {
	s.instructions, s.tools, s.choice = p.Instructions, p.Tools, p.ToolChoice
	return true
}

// valid reports whether the provider would take it.
func (t *converseTool) valid(f Form) bool {
	if t.Type == "function" {
		return t.Name != "" && json.Valid(t.Parameters)
	}
	return f == XAI && slices.Contains([]string{"web_search", "x_search", "file_search"}, t.Type)
}

// valid reports whether the provider would take it.
func (t *turnDetection) valid() bool {
	switch {
	case t == nil:
		return true
	case t.Type == "semantic_vad":
		return slices.Contains([]string{"", "auto", "low", "medium", "high"}, t.Eagerness) && t.Threshold == 0 && t.Prefix == 0 && t.Silence == 0
	default:
		return t.Type == "server_vad" && t.Threshold > 0 && t.Threshold <= 1 && t.Prefix >= 0 && t.Silence > 0 && t.Eagerness == ""
	}
}

// limits reports whether a limit of tokens and a speed are allowed, where they are given.
func limits(tokens json.RawMessage, speed float64) bool {
	var n int
	ok := len(tokens) == 0 || string(tokens) == `"inf"` || json.Unmarshal(tokens, &n) == nil && n >= 1 && n <= 4096
	return ok && (speed == 0 || speed >= 0.25 && speed <= 1.5)
}

// update takes a session object.
func (t *converser) update(data []byte) error {
	var m struct {
		Type    string          `json:"type"`
		EventID string          `json:"event_id"`
		Session json.RawMessage `json:"session"`
	}
	if err := sandbox.Strict(data, &m); err != nil {
		return refuse("invalid_session", "%s", err.Error())
	}
	raw, err := merged(t.session.raw, m.Session)
	if err != nil {
		return refuse("invalid_session", "%s", err.Error())
	}
	s := session{raw: raw}
	allowed := false
	switch t.o.Form {
	case Present:
		var p presentSession
		err = sandbox.Strict(raw, &p)
		allowed = p.read(&s) && p.Audio.Output.Voice != ""
	case XAI:
		var p xaiSession
		err = sandbox.Strict(raw, &p)
		allowed = p.read(&s) && s.turns == nil && p.Voice != "" && p.Audio.Output.Voice == ""
		s.turns = p.Turns
	case Older:
		var p olderSession
		err = sandbox.Strict(raw, &p)
		allowed = p.read(&s)
	}
	if err != nil {
		return refuse("invalid_session", "%s", err.Error())
	}
	if !allowed || !s.turns.valid() || slices.ContainsFunc(s.tools, func(tool converseTool) bool { return !tool.valid(t.o.Form) }) {
		return refuse("invalid_session", "invalid session")
	}
	t.session, t.ready = s, true
	t.ear.Silence = s.turns.silence()
	return t.send(map[string]any{"type": "session.updated"}, false)
}

// merged is an object with the fields of a newer one.
func merged(old, newer json.RawMessage) (json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	if len(old) > 0 {
		if err := json.Unmarshal(old, &all); err != nil {
			return nil, err
		}
	}
	if err := json.Unmarshal(newer, &all); err != nil {
		return nil, err
	}
	return json.Marshal(all)
}
