// Package ultravoxbox is the sandbox of Ultravox's protocol: calls are created over HTTP and joined over a
// websocket.
package ultravoxbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/sandbox"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
)

// Options are the options of Converse.
type Options struct {
	sandbox.Talk
	// Pace makes audio come no faster than so many times real time; 0 at once.
	Pace float64
	// Created, if set, gets every request that creates a call.
	Created func(fields map[string]any)
	// Seen, if set, gets every text message of the client.
	Seen func(fields map[string]any)
}

// Converse serves POST {prefix}/calls, and the websockets of the calls that it creates.
func Converse(s *sandbox.Server, prefix string, o Options) {
	o.Talk = o.Talk.Defaults()
	b := &box{o: o, waiting: map[string]*setup{}}
	s.HandleFirst("POST "+prefix+"/calls", b.create)
	s.HandleSocket(prefix+"/calls/{id}/server_web_socket", func(c *sandbox.Call, ws *sandbox.Socket) {
		if w := b.join(c.R.PathValue("id")); w != nil {
			newConversation(w, o, c, ws).serve()
		}
	}, func(c *sandbox.Call) bool {
		if b.has(c.R.PathValue("id")) {
			return true
		}
		c.Refuse(http.StatusNotFound, "no such call")
		return false
	})
}

// box knows the calls that nobody joined yet.
type box struct {
	o Options

	mu      sync.Mutex
	waiting map[string]*setup
}

func (b *box) has(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting[id] != nil
}

// join takes a call, which can be joined once.
func (b *box) join(id string) *setup {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.waiting[id]
	delete(b.waiting, id)
	return w
}

// request creates a call.
type request struct {
	Prompt          string                     `json:"systemPrompt"`
	Temperature     *float64                   `json:"temperature"`
	Model           string                     `json:"model"`
	Voice           string                     `json:"voice"`
	ExternalVoice   json.RawMessage            `json:"externalVoice"`
	Language        string                     `json:"languageHint"`
	Messages        []message                  `json:"initialMessages"`
	MaxDuration     duration                   `json:"maxDuration"`
	TimeExceeded    string                     `json:"timeExceededMessage"`
	Selected        []selected                 `json:"selectedTools"`
	Recording       bool                       `json:"recordingEnabled"`
	Medium          map[string]json.RawMessage `json:"medium"`
	OutputMedium    string                     `json:"initialOutputMedium"`
	VAD             vad                        `json:"vadSettings"`
	FirstSpeaker    map[string]json.RawMessage `json:"firstSpeakerSettings"`
	Metadata        map[string]string          `json:"metadata"`
	RetentionPolicy string                     `json:"retentionPolicy"`
}

type message struct {
	Role       string `json:"role"`
	Text       string `json:"text"`
	Invocation string `json:"invocationId"`
	Tool       string `json:"toolName"`
}

type selected struct {
	Tool *struct {
		Name        string `json:"modelToolName"`
		Description string `json:"description"`
		Parameters  []struct {
			Name     string         `json:"name"`
			Location string         `json:"location"`
			Schema   map[string]any `json:"schema"`
			Required bool           `json:"required"`
		} `json:"dynamicParameters"`
		Timeout duration  `json:"timeout"`
		Client  *struct{} `json:"client"`
	} `json:"temporaryTool"`
}

type vad struct {
	EndpointDelay   duration `json:"turnEndpointDelay"`
	MinTurn         duration `json:"minimumTurnDuration"`
	MinInterruption duration `json:"minimumInterruptionDuration"`
	Threshold       *float64 `json:"frameActivationThreshold"`
}

// duration is a time in the provider's form.
type duration string

var durations = regexp.MustCompile(`^-?(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,9})?s$`)

func (d duration) ok() bool { return d == "" || durations.MatchString(string(d)) }

type medium struct {
	InputRate  int             `json:"inputSampleRate"`
	OutputRate int             `json:"outputSampleRate"`
	Buffer     int             `json:"clientBufferSizeMs"`
	Data       map[string]bool `json:"dataMessages"`
}

// setup is a call that was created.
type setup struct {
	request
	medium
	id    string
	turns []sandbox.Turn
	tools []llm.ToolSpec
}

func (b *box) create(c *sandbox.Call) {
	if !c.Authorized("X-Api-Key", "") {
		return
	}
	var raw json.RawMessage
	if !c.Read(&raw) {
		return
	}
	w := &setup{id: metrics.NewID("")}
	if err := sandbox.Strict(raw, &w.request); err != nil {
		c.Refuse(http.StatusBadRequest, err.Error())
		return
	}
	if why := w.wrong(); why != "" {
		c.Refuse(http.StatusBadRequest, why)
		return
	}
	if b.o.Created != nil {
		var fields map[string]any
		_ = json.Unmarshal(raw, &fields)
		b.o.Created(fields)
	}
	b.mu.Lock()
	b.waiting[w.id] = w
	b.mu.Unlock()
	sandbox.JSON(c.W, http.StatusCreated, map[string]any{
		"callId": w.id, "created": time.Now().UTC().Format(time.RFC3339Nano),
		"joinUrl": fmt.Sprintf("ws://%s%s/%s/server_web_socket", c.R.Host, c.R.URL.Path, w.id),
	})
}

// wrong says what the provider does not take, or this sandbox does not make; "" for nothing.
func (w *setup) wrong() string {
	ws, ok := w.request.Medium["serverWebSocket"]
	switch {
	case !ok || len(w.request.Medium) != 1 || sandbox.Strict(ws, &w.medium) != nil || w.InputRate < 8000 || w.OutputRate < 8000:
		return "medium: serverWebSocket wants sample rates"
	case w.Voice != "" && w.ExternalVoice != nil:
		return "voice: only one of voice and externalVoice may be set"
	case w.Temperature != nil && (*w.Temperature < 0 || *w.Temperature > 1):
		return "temperature: must be between 0 and 1"
	case !slices.Contains([]string{"ultravox-v0.7", "ultravox-v0.6"}, w.Model):
		return "model: unknown"
	case !w.MaxDuration.ok() || !w.VAD.EndpointDelay.ok() || !w.VAD.MinTurn.ok() || !w.VAD.MinInterruption.ok():
		return "durations look like 1.5s"
	case w.VAD.Threshold != nil && (*w.VAD.Threshold < 0.1 || *w.VAD.Threshold > 1):
		return "vadSettings: frameActivationThreshold must be between 0.1 and 1"
	case !slices.Contains([]string{"", "MESSAGE_MEDIUM_VOICE", "MESSAGE_MEDIUM_TEXT"}, w.OutputMedium):
		return "initialOutputMedium: unknown"
	case len(w.FirstSpeaker) != 1 || w.FirstSpeaker["user"] == nil:
		return "the agent does not speak first here"
	}
	if why := w.wrongTools(); why != "" {
		return why
	}
	return w.wrongMessages()
}

var toolNames = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

func (w *setup) wrongTools() string {
	for _, s := range w.Selected {
		t := s.Tool
		if t == nil || !toolNames.MatchString(t.Name) || t.Client == nil || !t.Timeout.ok() {
			return "selectedTools: invalid temporaryTool"
		}
		schema := map[string]any{"type": "object"}
		properties, required := map[string]any{}, []string{}
		for _, p := range t.Parameters {
			if p.Name == "" || p.Location != "PARAMETER_LOCATION_BODY" || p.Schema == nil {
				return "selectedTools: invalid dynamicParameters"
			}
			properties[p.Name] = p.Schema
			if p.Required {
				required = append(required, p.Name)
			}
		}
		schema["properties"], schema["required"] = properties, required
		raw, _ := json.Marshal(schema)
		w.tools = append(w.tools, llm.ToolSpec{Name: t.Name, Description: t.Description, Parameters: raw})
	}
	return ""
}

func (w *setup) wrongMessages() string {
	called := map[string]bool{}
	for _, m := range w.Messages {
		t := sandbox.Turn{Text: m.Text, Tool: m.Tool}
		switch m.Role {
		case "MESSAGE_ROLE_USER":
			t.Role = "user"
		case "MESSAGE_ROLE_AGENT":
			t.Role = "assistant"
		case "MESSAGE_ROLE_TOOL_CALL":
			t.Role = "call"
			called[m.Invocation] = true
		case "MESSAGE_ROLE_TOOL_RESULT":
			t.Role = "output"
			if !called[m.Invocation] {
				return "initialMessages: result without a call"
			}
		default:
			return "initialMessages: unknown role"
		}
		if strings.TrimSpace(m.Text) == "" && t.Role != "output" || (t.Tool != "") != (t.Role == "call" || t.Role == "output") {
			return "initialMessages: invalid message"
		}
		w.turns = append(w.turns, t)
	}
	return ""
}
