package google

import (
	"encoding/json"
	"strings"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
)

// content is one turn of a conversation.
type content struct {
	Role  string  `json:"role,omitempty"` // "user" or "model"
	Parts []*part `json:"parts"`

	answers bool // of tools
}

// part is a piece of a turn.
type part struct {
	Text             string            `json:"text,omitempty"`
	InlineData       *blob             `json:"inlineData,omitempty"`
	FileData         *fileData         `json:"fileData,omitempty"`
	FunctionCall     *functionCall     `json:"functionCall,omitempty"`
	FunctionResponse *functionResponse `json:"functionResponse,omitempty"`
	Thought          bool              `json:"thought,omitempty"`
	ThoughtSignature string            `json:"thoughtSignature,omitempty"`
}

type blob struct {
	MimeType string `json:"mimeType"`
	Data     string `json:"data"`
}

type fileData struct {
	MimeType string `json:"mimeType,omitempty"`
	FileURI  string `json:"fileUri"`
}

type functionCall struct {
	ID   string          `json:"id,omitempty"`
	Name string          `json:"name"`
	Args json.RawMessage `json:"args,omitempty"`
}

type functionResponse struct {
	ID         string            `json:"id,omitempty"`
	Name       string            `json:"name"`
	Response   map[string]string `json:"response"`
	Scheduling string            `json:"scheduling,omitempty"` // of live models
}

// A call keeps the signature of the thought before it in Extra, the way that Google's other interfaces
// name it, since the provider wants it back with the tool's answer.
const (
	extraKey     = "google"
	signatureKey = "thought_signature"
)

// unsigned stands for the signature of a call that the model never made, e.g. one of another model.
const unsigned = "skip_thought_signature_validator"

type contentOptions struct {
	ids    bool // calls have ids
	signed bool // calls must be signed
}

// contents is the instructions, and the turns as the provider wants them: the user first and last, and
// the answers of tools in a turn of their own.
func contents(c *chat.Context, o contentOptions) (instructions string, list []*content) {
	instructions, rest := c.Preamble()
	add := func(role string, answers bool, parts ...*part) {
		if n := len(list); n > 0 && list[n-1].Role == role && list[n-1].answers == answers {
			list[n-1].Parts = append(list[n-1].Parts, parts...)
		} else if len(parts) > 0 {
			list = append(list, &content{role, parts, answers})
		}
	}
	groups, _ := rest.Groups()
	for _, g := range groups {
		role, parts := "model", []*part(nil)
		if g.Message != nil {
			if g.Message.Role == chat.User {
				role = "user"
			}
			parts = messageParts(g.Message.Content)
		}
		for i, call := range g.Calls {
			p := &part{FunctionCall: o.call(call), ThoughtSignature: signature(call)}
			if i == 0 && o.signed && p.ThoughtSignature == "" {
				p.ThoughtSignature = unsigned
			}
			parts = append(parts, p)
		}
		add(role, false, parts...)
		for i, out := range g.Outputs {
			add("user", true, &part{FunctionResponse: o.response(g.Calls[i], out)})
		}
	}
	if len(list) == 0 || list[0].Role != "user" {
		list = append([]*content{{Role: "user", Parts: []*part{{Text: "."}}}}, list...)
	}
	if list[len(list)-1].Role != "user" {
		add("user", false, &part{Text: "."})
	}
	return instructions, list
}

func messageParts(parts []chat.Part) (list []*part) {
	for _, p := range parts {
		switch p := p.(type) {
		case chat.Text:
			list = appendText(list, string(p))
		case *chat.Audio:
			list = appendText(list, p.Transcript)
		case *chat.Image:
			list = append(list, picture(p))
		}
	}
	return list
}

func appendText(list []*part, text string) []*part {
	if strings.TrimSpace(text) == "" {
		return list
	}
	return append(list, &part{Text: text})
}

func picture(p *chat.Image) *part {
	mime, data, ok := wire.DataURL(p.URL)
	if !ok {
		return &part{FileData: &fileData{p.MIMEType, p.URL}}
	}
	if p.MIMEType != "" {
		mime = p.MIMEType
	}
	return &part{InlineData: &blob{mime, data}}
}

func (o contentOptions) call(c *chat.FunctionCall) *functionCall {
	f := &functionCall{Name: c.Name, Args: json.RawMessage(c.Arguments)}
	var object map[string]json.RawMessage
	if json.Unmarshal(f.Args, &object) != nil || object == nil {
		f.Args = json.RawMessage("{}")
	}
	if o.ids {
		f.ID = c.CallID
	}
	return f
}

func (o contentOptions) response(c *chat.FunctionCall, out *chat.FunctionCallOutput) *functionResponse {
	key := "output"
	if out.IsError {
		key = "error"
	}
	f := &functionResponse{Name: c.Name, Response: map[string]string{key: out.Output}}
	if o.ids {
		f.ID = c.CallID
	}
	return f
}

// signature is that of the thought before the call.
func signature(c *chat.FunctionCall) string {
	extra, _ := c.Extra[extraKey].(map[string]any)
	s, _ := extra[signatureKey].(string)
	return s
}

type declaration struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parametersJsonSchema,omitempty"`
}

func declarations(specs []driver.ToolSpec) (list []declaration) {
	for _, t := range specs {
		d := declaration{Name: t.Name, Description: t.Description}
		var schema struct {
			Properties map[string]json.RawMessage `json:"properties"`
		}
		if json.Unmarshal(t.Parameters, &schema) == nil && len(schema.Properties) > 0 {
			d.Parameters = t.Parameters // an object without properties is refused
		}
		list = append(list, d)
	}
	return list
}

// calling is nil when the provider is to decide.
func calling(r *driver.Request) map[string]any {
	switch r.ToolChoice.Mode {
	case driver.ToolNone:
		return map[string]any{"mode": "NONE"}
	case driver.ToolRequired:
		return map[string]any{"mode": "ANY"}
	case driver.ToolFunction:
		return map[string]any{"mode": "ANY", "allowedFunctionNames": []string{r.ToolChoice.Function}}
	}
	return nil
}
