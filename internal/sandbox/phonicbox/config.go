package phonicbox

import (
	"encoding/json"
	"slices"

	llm "github.com/parley-go/parley/llm/driver"
)

// config is the first message.
type config struct {
	Type         string            `json:"type"`
	Agent        string            `json:"agent"`
	Project      string            `json:"project"`
	Model        string            `json:"model"`
	Prompt       string            `json:"system_prompt"`
	Voice        string            `json:"voice_id"`
	Input        string            `json:"input_format"`
	Output       string            `json:"output_format"`
	Ahead        bool              `json:"stream_ahead_of_real_time"`
	Welcome      *string           `json:"welcome_message"`
	Greet        bool              `json:"generate_welcome_message"`
	Idle         *int              `json:"websocket_timeout_sec"`
	Language     string            `json:"default_language"`
	Languages    []string          `json:"additional_languages"`
	Multilingual string            `json:"multilingual_mode"`
	Intelligence string            `json:"intelligence_level"`
	Keywords     []string          `json:"boosted_keywords"`
	Speed        *float64          `json:"audio_speed"`
	Prebuffer    int               `json:"vad_prebuffer_duration_ms"`
	MinSpeech    int               `json:"vad_min_speech_duration_ms"`
	MinSilence   int               `json:"vad_min_silence_duration_ms"`
	Threshold    float64           `json:"vad_threshold"`
	MinWords     int               `json:"min_words_to_interrupt"`
	Variables    map[string]string `json:"template_variables"`
	Tools        []json.RawMessage `json:"tools"`

	tools []llm.ToolSpec
}

// tool is one that the client carries out.
type tool struct {
	Type   string `json:"type"`
	Schema struct {
		Type     string `json:"type"`
		Function struct {
			Name        string          `json:"name"`
			Description string          `json:"description"`
			Parameters  json.RawMessage `json:"parameters"`
		} `json:"function"`
	} `json:"tool_schema"`
	Timeout  int  `json:"tool_call_output_timeout_ms"`
	Wait     bool `json:"wait_for_speech_before_tool_call"`
	Chaining bool `json:"allow_tool_chaining"`
}

// wrong are the fields that Phonic does not take, or this sandbox does not make.
func (c *config) wrong() map[string]string {
	wrong := map[string]string{}
	mark := func(bad bool, name, why string) {
		if bad {
			wrong[name] = why
		}
	}
	mark(c.Input != format, "input_format", "not made here")
	mark(c.Output != format, "output_format", "not made here")
	mark(c.Welcome != nil || c.Greet, "welcome_message", "not made here")
	mark(c.Idle != nil && *c.Idle <= 0, "websocket_timeout_sec", "must be positive")
	mark(!slices.Contains([]string{"", "merritt"}, c.Model), "model", "unknown")
	mark(!slices.Contains([]string{"", "auto", "request", "initial"}, c.Multilingual), "multilingual_mode", "unknown")
	mark(!slices.Contains([]string{"", "standard", "high"}, c.Intelligence), "intelligence_level", "unknown")
	mark(c.Multilingual == "auto" && len(c.Languages) > 2 || slices.Contains(c.Languages, c.Language), "additional_languages", "too many")
	for _, raw := range c.Tools {
		var name string
		if json.Unmarshal(raw, &name) == nil && name != "" {
			continue // one that Phonic carries out
		}
		var t tool
		f := &t.Schema.Function
		bad := json.Unmarshal(raw, &t) != nil || t.Type != "custom_websocket" || t.Schema.Type != "function" || f.Name == "" ||
			!json.Valid(f.Parameters) || t.Timeout <= 0 || !t.Wait
		mark(bad, "tools", "invalid")
		c.tools = append(c.tools, llm.ToolSpec{Name: f.Name, Description: f.Description, Parameters: f.Parameters})
	}
	return wrong
}
