package openai

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/realtime/driver"
)

// session is the service's session object for a connection that begins.
func (d *converser) session(s *driver.Setup) map[string]any {
	m := map[string]any{
		"instructions": s.Instructions, "tools": d.tools(s.Tools), "tool_choice": realtimeChoice(s.ToolChoice),
	}
	turns := d.turns
	if s.ClientTurns {
		turns = nil
	}
	if d.flat {
		d.older(m, turns, s.TextOnly)
	} else {
		d.present(m, turns, s.TextOnly)
	}
	if d.o.Reasoning != "" {
		m["reasoning"] = map[string]any{"effort": d.o.Reasoning}
	}
	if d.o.Truncation != "" {
		m["truncation"] = d.o.Truncation
	}
	for k, v := range d.o.Extra {
		m[k] = v
	}
	return m
}

// present fills in a session object of the present form.
func (d *converser) present(m, turns map[string]any, textOnly bool) {
	pcm := map[string]any{"type": "audio/pcm", "rate": realtimeRate}
	input := map[string]any{"format": pcm, "transcription": nullable(d.script)}
	output := map[string]any{"format": pcm}
	m["type"], m["model"], m["max_output_tokens"] = "realtime", d.model, d.limit()
	m["output_modalities"] = []string{"audio"}
	if textOnly {
		m["output_modalities"] = []string{"text"}
	}
	m["audio"] = map[string]any{"input": input, "output": output}
	if d.service == XAI { // has these a floor above
		m["turn_detection"] = nullable(turns)
		d.voice(m)
	} else {
		input["turn_detection"] = nullable(turns)
		d.voice(output)
	}
	if v, ok := d.o.Speed.Get(); ok {
		output["speed"] = v
	}
	if d.o.NoiseReduction != "" {
		input["noise_reduction"] = map[string]any{"type": d.o.NoiseReduction}
	}
}

// older fills in a session object of the older form, which has everything on one floor.
func (d *converser) older(m, turns map[string]any, textOnly bool) {
	m["modalities"] = []string{"text", "audio"}
	if textOnly {
		m["modalities"] = []string{"text"}
	}
	m["input_audio_format"], m["output_audio_format"] = "pcm16", "pcm16"
	m["input_audio_transcription"], m["turn_detection"] = nullable(d.script), nullable(turns)
	m["max_response_output_tokens"] = d.limit()
	d.voice(m)
	if v, ok := d.o.Speed.Get(); ok {
		m["speed"] = v
	}
	if d.o.NoiseReduction != "" {
		m["input_audio_noise_reduction"] = map[string]any{"type": d.o.NoiseReduction}
	}
}

// voice names the voice in m, if there is one.
func (d *converser) voice(m map[string]any) {
	if d.o.Voice != "" {
		m["voice"] = d.o.Voice
	}
}

func (d *converser) limit() any {
	if d.o.MaxTokens > 0 {
		return d.o.MaxTokens
	}
	return "inf"
}

// nullable is m, or a nil that JSON writes as null.
func nullable(m map[string]any) any {
	if m == nil {
		return nil
	}
	return m
}

// realtimeTool is a function.
type realtimeTool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
}

// tools are functions, and those of the service.
func (d *converser) tools(specs []llm.ToolSpec) []any {
	list := []any{}
	for _, t := range specs {
		list = append(list, realtimeTool{"function", t.Name, t.Description, t.Parameters})
	}
	for _, t := range d.o.ProviderTools {
		list = append(list, t)
	}
	return list
}

func realtimeChoice(c llm.ToolChoice) any {
	switch c.Mode {
	case llm.ToolFunction:
		return map[string]any{"type": "function", "name": c.Function}
	case llm.ToolNone, llm.ToolRequired:
		return string(c.Mode)
	}
	return "auto"
}

// maxID is how long an id may be.
const maxID = 32

// short is an id as the service takes it.
func short(id string) string {
	if len(id) <= maxID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])[:maxID]
}
