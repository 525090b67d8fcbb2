package novabox

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	llm "github.com/parley-go/parley/llm/driver"
)

type sessionStart struct {
	Inference struct {
		MaxTokens   int      `json:"maxTokens"`
		TopP        *float64 `json:"topP"`
		Temperature *float64 `json:"temperature"`
	} `json:"inferenceConfiguration"`
	Sensitivity string `json:"endpointingSensitivity"` // of the first model
	Turns       *struct {
		Sensitivity string `json:"endpointingSensitivity"`
	} `json:"turnDetectionConfiguration"` // of the second
}

type media struct {
	Type string `json:"mediaType"`
}

type sound struct {
	media
	Rate     int    `json:"sampleRateHertz"`
	Bits     int    `json:"sampleSizeBits"`
	Channels int    `json:"channelCount"`
	Voice    string `json:"voiceId"`
	Encoding string `json:"encoding"`
	Kind     string `json:"audioType"`
}

func (s *sound) valid(rate int) bool {
	return s != nil && s.Type == "audio/lpcm" && s.Rate == rate && s.Bits == 16 && s.Channels == 1 && s.Encoding == "base64" && s.Kind == "SPEECH"
}

type promptStart struct {
	Name  string `json:"promptName"`
	Text  media  `json:"textOutputConfiguration"`
	Audio *sound `json:"audioOutputConfiguration"`
	Tool  *media `json:"toolUseOutputConfiguration"`
	Tools *struct {
		Tools []struct {
			Spec struct {
				Name        string `json:"name"`
				Description string `json:"description"`
				Schema      struct {
					JSON string `json:"json"`
				} `json:"inputSchema"`
			} `json:"toolSpec"`
		} `json:"tools"`
		Choice map[string]map[string]string `json:"toolChoice"`
	} `json:"toolConfiguration"`
}

type contentStart struct {
	Prompt      string `json:"promptName"`
	Name        string `json:"contentName"`
	Type        string `json:"type"`
	Interactive bool   `json:"interactive"`
	Role        string `json:"role"`
	Text        *media `json:"textInputConfiguration"`
	Audio       *sound `json:"audioInputConfiguration"`
	Result      *struct {
		ID   string `json:"toolUseId"`
		Type string `json:"type"`
		Text media  `json:"textInputConfiguration"`
	} `json:"toolResultInputConfiguration"`
}

type piece struct {
	Prompt  string `json:"promptName"`
	Name    string `json:"contentName"`
	Content string `json:"content"`
}

// take does what an event asks for.
func (t *conversation) take(raw []byte) error {
	var e struct {
		Event map[string]json.RawMessage `json:"event"`
	}
	if err := sandbox.Strict(raw, &e); err != nil || len(e.Event) != 1 {
		return refuse("Invalid input request")
	}
	for name, body := range e.Event {
		if t.o.Seen != nil {
			var fields map[string]any
			_ = json.Unmarshal(body, &fields)
			t.o.Seen(name, fields)
		}
		switch {
		case t.ended:
			return refuse("the session has ended")
		case name == "sessionStart":
			return t.startSession(body)
		case !t.started:
			return refuse("the session has not started")
		case name == "promptStart":
			return t.startPrompt(body)
		case name == "sessionEnd":
			t.ended = true
			if t.prompt != "" {
				return refuse("the prompt has not ended")
			}
			return nil
		case t.prompt == "":
			return refuse("the prompt has not started")
		case name == "contentStart":
			return t.startContent(body)
		}
		var p piece
		if err := sandbox.Strict(body, &p); err != nil {
			return refuse("%s", err.Error())
		}
		if p.Prompt != t.prompt {
			return refuse("unknown prompt")
		}
		if name == "promptEnd" {
			if len(t.open) > 0 {
				return refuse("there are open contents")
			}
			t.tell("completionEnd", map[string]any{"stopReason": "END_TURN"}, false)
			t.prompt = ""
			return nil
		}
		c := t.open[p.Name]
		if c == nil {
			return refuse("content %s is not open", p.Name)
		}
		return t.piece(name, c, p.Content)
	}
	return nil
}

func (t *conversation) startSession(body []byte) error {
	var s sessionStart
	if err := sandbox.Strict(body, &s); err != nil {
		return refuse("%s", err.Error())
	}
	level := s.Sensitivity
	if s.Turns != nil {
		level = s.Turns.Sensitivity
	}
	if t.started || s.Inference.MaxTokens < 1 || s.Inference.TopP == nil || s.Inference.Temperature == nil ||
		t.second() != (s.Turns != nil) || level != "HIGH" && level != "MEDIUM" && level != "LOW" {
		return refuse("Invalid session")
	}
	t.started = true
	return nil
}

func (t *conversation) startPrompt(body []byte) error {
	var p promptStart
	if err := sandbox.Strict(body, &p); err != nil {
		return refuse("%s", err.Error())
	}
	if t.prompt != "" || p.Name == "" || p.Text.Type != "text/plain" || !p.Audio.valid(outputRate) || p.Audio.Voice == "" {
		return refuse("Invalid prompt")
	}
	if p.Tools != nil {
		if p.Tool == nil || p.Tool.Type != "application/json" || len(p.Tools.Tools) == 0 || len(p.Tools.Choice) > 1 {
			return refuse("Invalid tools")
		}
		for _, x := range p.Tools.Tools {
			if x.Spec.Name == "" || x.Spec.Description == "" || !json.Valid([]byte(x.Spec.Schema.JSON)) {
				return refuse("Invalid tool")
			}
			t.tools = append(t.tools, llm.ToolSpec{Name: x.Spec.Name, Description: x.Spec.Description, Parameters: json.RawMessage(x.Spec.Schema.JSON)})
		}
	}
	t.prompt = p.Name
	return nil
}

func (t *conversation) startContent(body []byte) error {
	var s contentStart
	if err := sandbox.Strict(body, &s); err != nil {
		return refuse("%s", err.Error())
	}
	c := &content{name: s.Name, kind: s.Type, role: s.Role, interactive: s.Interactive}
	switch {
	case s.Prompt != t.prompt || s.Name == "" || t.open[s.Name] != nil:
		return refuse("Invalid content")
	case s.Type == "AUDIO":
		if !s.Interactive || s.Role != "USER" || !s.Audio.valid(inputRate) || t.mic != nil || len(t.open) > 0 {
			return refuse("Invalid audio content")
		}
		t.mic = c
	case s.Type == "TOOL":
		if s.Interactive || s.Role != "TOOL" || s.Result == nil || s.Result.Type != "TEXT" || s.Result.Text.Type != "text/plain" || t.calls[s.Result.ID] == "" {
			return refuse("No tool use for a tool result")
		}
		c.call = s.Result.ID
	case s.Type != "TEXT" || s.Text == nil || s.Text.Type != "text/plain":
		return refuse("Invalid content")
	default:
		if err := t.mayWrite(c); err != nil {
			return err
		}
	}
	t.open[s.Name] = c
	return nil
}

// mayWrite checks the place of a text.
func (t *conversation) mayWrite(c *content) error {
	switch {
	case c.interactive:
		if !t.second() || c.role != "USER" || t.mic == nil {
			return refuse("Text input is not possible")
		}
	case t.mic != nil:
		return refuse("Chat history should be sent completely before streaming audio.")
	case c.role == "SYSTEM":
		if t.system != "" || len(t.turns) > 0 {
			return refuse("The system prompt comes first, and once")
		}
	case c.role != "USER" && c.role != "ASSISTANT":
		return refuse("Invalid role")
	case t.system == "":
		return refuse("The system prompt is missing")
	case len(t.turns) == 0 && c.role != "USER":
		return refuse("First message must be from the user")
	case len(t.turns) > 0 && (t.turns[len(t.turns)-1].Role == "user") == (c.role == "USER"):
		return refuse("Roles must alternate")
	case len(t.turns) == 40:
		return refuse("Too many messages")
	}
	return nil
}

// piece takes a piece of a content, or its end.
func (t *conversation) piece(name string, c *content, text string) error {
	switch {
	case name == "contentEnd":
		delete(t.open, c.name)
		return t.finish(c)
	case name == "audioInput" && c == t.mic:
		if len(t.open) > 1 {
			return refuse("Chat history should be sent completely before streaming audio.")
		}
		pcm, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(pcm)%2 != 0 || len(pcm) == 0 || audio.Samples(len(pcm)/2).At(inputRate) > time.Second {
			return refuse("Invalid audio")
		}
		t.hears(pcm)
		return nil
	case name == "textInput" && c.kind == "TEXT", name == "toolResult" && c.kind == "TOOL":
		limit := 50 << 10
		if !t.second() && c.role != "SYSTEM" {
			limit = 1024
		}
		if c.pieces++; c.pieces > 1 || text == "" || len(text) > limit {
			return refuse("Invalid text")
		}
		c.text = text
		return nil
	}
	return refuse("Invalid event %s", name)
}

// finish takes a content that is complete.
func (t *conversation) finish(c *content) error {
	if c != t.mic && c.pieces == 0 {
		return refuse("Empty content")
	}
	switch {
	case c == t.mic:
	case c.kind == "TOOL":
		var o map[string]json.RawMessage
		if json.Unmarshal([]byte(c.text), &o) != nil {
			return refuse("Tool Response parsing error")
		}
		t.turns = append(t.turns, sandbox.Turn{Role: "output", Text: c.text, Tool: t.calls[c.call]})
		t.use(tally{Input: tokens{Text: sandbox.TextTokens(c.text)}})
		delete(t.calls, c.call)
		if len(t.calls) == 0 {
			t.reply()
		}
	case c.role == "SYSTEM":
		t.system = c.text
		t.use(tally{Input: tokens{Text: sandbox.TextTokens(c.text)}})
	default:
		role := "user"
		if c.role == "ASSISTANT" {
			role = "assistant"
		}
		t.turns = append(t.turns, sandbox.Turn{Role: role, Text: c.text})
		t.use(tally{Input: tokens{Text: sandbox.TextTokens(c.text)}})
		if !c.interactive {
			return nil
		}
		if t.o.Echo {
			t.complete()
			t.words("USER", "FINAL", c.text)
		}
		t.reply()
	}
	return nil
}
