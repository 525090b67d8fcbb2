// Package googlebox is the sandbox of Google's protocols: Gemini, Gemini Live, Speech-to-Text, and access tokens.
package googlebox

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/parley-go/parley/internal/sandbox"
)

// Request is the body of a request to Gemini. It has the fields that the provider takes, of those that we
// send.
type Request struct {
	Model    string `json:"-"` // from the path
	Vertex   bool   `json:"-"`
	Contents []Turn `json:"contents"`
	System   *Turn  `json:"systemInstruction"`
	Tools    []Tool `json:"tools"`
	Config   struct {
		Calling *Calling `json:"functionCallingConfig"`
		Where   *struct {
			Language string `json:"languageCode"`
		} `json:"retrievalConfig"`
	} `json:"toolConfig"`
	Generation Generation `json:"generationConfig"`
	Safety     []struct {
		Category  string `json:"category"`
		Threshold string `json:"threshold"`
	} `json:"safetySettings"`
	Cached string `json:"cachedContent"`
	Tier   string `json:"serviceTier"`
}

// Generation is the generationConfig.
type Generation struct {
	Temperature      *float64 `json:"temperature"`
	TopP             *float64 `json:"topP"`
	TopK             *int     `json:"topK"`
	MaxOutputTokens  int      `json:"maxOutputTokens"`
	PresencePenalty  *float64 `json:"presencePenalty"`
	FrequencyPenalty *float64 `json:"frequencyPenalty"`
	Seed             *int     `json:"seed"`
	MediaResolution  string   `json:"mediaResolution"`
	Thinking         *struct {
		Budget *int   `json:"thinkingBudget"`
		Level  string `json:"thinkingLevel"`
	} `json:"thinkingConfig"`
}

// Turn is one turn.
type Turn struct {
	Role  string `json:"role"`
	Parts []Part `json:"parts"`
}

// Part is a piece of a turn.
type Part struct {
	Text   *string `json:"text"`
	Inline *struct {
		MimeType string `json:"mimeType"`
		Data     []byte `json:"data"`
	} `json:"inlineData"`
	File *struct {
		MimeType string `json:"mimeType"`
		URI      string `json:"fileUri"`
	} `json:"fileData"`
	Call *struct {
		ID   string         `json:"id"`
		Name string         `json:"name"`
		Args map[string]any `json:"args"`
	} `json:"functionCall"`
	Answer *struct {
		ID       string         `json:"id"`
		Name     string         `json:"name"`
		Response map[string]any `json:"response"`
	} `json:"functionResponse"`
	Signature string `json:"thoughtSignature"`
}

// Tool is a list of functions, or a tool of the provider's own.
type Tool struct {
	Functions []struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Schema      json.RawMessage `json:"parametersJsonSchema"`
	} `json:"functionDeclarations"`
	GoogleSearch *struct{} `json:"googleSearch"`
	URLContext   *struct{} `json:"urlContext"`
}

// Calling is the functionCallingConfig.
type Calling struct {
	Mode    string   `json:"mode"`
	Allowed []string `json:"allowedFunctionNames"`
}

var functionName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}$`)

// Skip is the signature with which calls are taken that the model never made.
const Skip = "skip_thought_signature_validator"

// functions are the functions that may be called.
func (r *Request) functions() (names []string) {
	for _, t := range r.Tools {
		for _, f := range t.Functions {
			names = append(names, f.Name)
		}
	}
	return names
}

// check refuses what the provider refuses.
func (r *Request) check() error {
	if len(r.Contents) == 0 {
		return fmt.Errorf("contents is not specified")
	}
	if s := r.System; s != nil && (len(s.Parts) != 1 || s.Parts[0].Text == nil) {
		return fmt.Errorf("system_instruction: invalid")
	}
	for i, t := range r.Tools {
		if kinds := count(len(t.Functions) > 0, t.GoogleSearch != nil, t.URLContext != nil); kinds != 1 {
			return fmt.Errorf("tools[%d].tool_type: required one_of 'tool_type' must have one initialized field", i)
		}
		for _, f := range t.Functions {
			if !functionName.MatchString(f.Name) {
				return fmt.Errorf("tools[%d]: invalid function name", i)
			}
			var schema struct {
				Type       string                     `json:"type"`
				Properties map[string]json.RawMessage `json:"properties"`
			}
			if len(f.Schema) > 0 && (json.Unmarshal(f.Schema, &schema) != nil || schema.Type != "object" || len(schema.Properties) == 0) {
				return fmt.Errorf("tools[%d]: properties: should be non-empty for OBJECT type", i)
			}
		}
	}
	if err := r.checkConfig(); err != nil {
		return err
	}
	return r.checkTurns()
}

func count(conditions ...bool) (n int) {
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

func (r *Request) checkConfig() error {
	if c := r.Config.Calling; c != nil {
		if !slices.Contains([]string{"AUTO", "ANY", "NONE"}, c.Mode) || len(c.Allowed) > 0 && c.Mode != "ANY" {
			return fmt.Errorf("function_calling_config: invalid mode %q", c.Mode)
		}
		for _, name := range c.Allowed {
			if !slices.Contains(r.functions(), name) {
				return fmt.Errorf("allowed_function_names: unknown function %q", name)
			}
		}
	}
	if t := r.Generation.Thinking; t != nil {
		switch {
		case t.Budget != nil && t.Level != "":
			return fmt.Errorf("you can only set only one of thinking budget and thinking level")
		case t.Level != "" && !r.signs():
			return fmt.Errorf("thinking level is not supported for this model")
		}
	}
	return nil
}

// signs reports whether the model wants its thoughts back.
func (r *Request) signs() bool { return strings.HasPrefix(r.Model, "gemini-3") }

func (r *Request) checkTurns() error {
	for i, t := range r.Contents {
		calls, answers, rest := 0, 0, 0
		for j, p := range t.Parts {
			if err := p.check(r.Vertex); err != nil {
				return fmt.Errorf("contents[%d].parts[%d]: %w", i, j, err)
			}
			switch {
			case p.Call != nil:
				calls++
			case p.Answer != nil:
				answers++
			default:
				rest++
			}
		}
		switch {
		case t.Role != "user" && t.Role != "model":
			return fmt.Errorf("please use a valid role: user, model")
		case len(t.Parts) == 0:
			return fmt.Errorf("contents[%d].parts: must not be empty", i)
		case t.Role == "user" && calls > 0 || t.Role == "model" && answers > 0 || answers > 0 && rest > 0:
			return fmt.Errorf("contents[%d]: parts of the wrong role", i)
		case calls > 0 && (i == 0 || r.Contents[i-1].Role != "user"):
			return fmt.Errorf("please ensure that function call turn comes immediately after a user turn or after a function response turn")
		case answers > 0 && i == 0, i > 0 && r.Contents[i-1].calls() != answers:
			return fmt.Errorf("please ensure that the number of function response parts is equal to the number of function call parts of the function call turn")
		}
	}
	if r.Contents[len(r.Contents)-1].Role != "user" {
		return fmt.Errorf("please ensure that multiturn requests end with a user role or a function response")
	}
	return r.checkSignatures()
}

func (t *Turn) calls() (n int) {
	for _, p := range t.Parts {
		if p.Call != nil {
			n++
		}
	}
	return n
}

// checkSignatures looks at the calls since the user spoke last.
func (r *Request) checkSignatures() error {
	if !r.signs() {
		return nil
	}
	for i := len(r.Contents) - 1; i >= 0; i-- {
		t := r.Contents[i]
		if t.Role == "user" && t.Parts[0].Answer == nil {
			return nil
		}
		for _, p := range t.Parts {
			if p.Call == nil {
				continue
			}
			if p.Signature != signed(p.Call.Name) && p.Signature != Skip {
				return fmt.Errorf("function call is missing a thought_signature in functionCall parts")
			}
			break
		}
	}
	return nil
}

func signed(name string) string { return "c2lnbmVk" + name }

func (p *Part) check(vertex bool) error {
	if count(p.Text != nil, p.Inline != nil, p.File != nil, p.Call != nil, p.Answer != nil) != 1 {
		return fmt.Errorf("required oneof field 'data' must have one initialized field")
	}
	switch {
	case p.Text != nil && *p.Text == "":
		return fmt.Errorf("text is empty")
	case p.Inline != nil && (len(p.Inline.Data) == 0 || p.Inline.MimeType == ""):
		return fmt.Errorf("inline_data: invalid")
	case p.File != nil && p.File.URI == "":
		return fmt.Errorf("file_data: invalid")
	case vertex && (p.Call != nil && p.Call.ID != "" || p.Answer != nil && p.Answer.ID != ""):
		return fmt.Errorf("unknown name \"id\"")
	case p.Call != nil && (p.Call.Args == nil || !functionName.MatchString(p.Call.Name)):
		return fmt.Errorf("function_call: invalid")
	case p.Answer != nil && (len(p.Answer.Response) != 1 || p.Answer.Name == ""):
		return fmt.Errorf("function_response: invalid")
	}
	return nil
}

// tokens is what the prompt costs.
func (r *Request) tokens() (n int64) {
	count := sandbox.GoogleTokens.Count
	turns := r.Contents
	if r.System != nil {
		turns = append([]Turn{*r.System}, turns...)
	}
	for _, t := range turns {
		n += 2
		for _, p := range t.Parts {
			switch {
			case p.Text != nil:
				n += count(*p.Text)
			case p.Call != nil:
				b, _ := json.Marshal(p.Call.Args)
				n += count(p.Call.Name) + count(string(b))
			case p.Answer != nil:
				b, _ := json.Marshal(p.Answer.Response)
				n += count(p.Answer.Name) + count(string(b))
			}
		}
	}
	for _, t := range r.Tools {
		for _, f := range t.Functions {
			n += 6 + count(f.Name) + count(f.Description) + count(string(f.Schema))
		}
	}
	return n
}
