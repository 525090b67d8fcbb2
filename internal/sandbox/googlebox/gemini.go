package googlebox

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// Answer is what the model answers to a request.
type Answer struct {
	Thought string // before the text
	Text    string
	Calls   []driver.ToolCall // with a CallID or without; they are signed where the model does so
	Finish  string            // default "STOP"
	Blocked string            // why the prompt is blocked
	Found   int64             // tokens that a tool of the provider's own found
	Error   int               // status of an error that comes after the text
}

// Text is the default answer.
const Text = "It is sunny in Paris today, with a light wind."

// Says answers with Text, or with a call of the first tool about Paris if there is one and tool is set.
func Says(tool bool) func(*Request) Answer {
	return func(r *Request) Answer {
		if names := r.functions(); tool && len(names) > 0 {
			return Answer{Calls: []driver.ToolCall{{Name: names[0], Arguments: `{"location":"Paris"}`}}}
		}
		return Answer{Text: Text}
	}
}

// refusal is Google's form of an error.
func refusal(status int, message string) any {
	name := map[int]string{
		400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
	}[status]
	return map[string]any{"error": map[string]any{"code": status, "message": message, "status": name}}
}

// Gemini serves the models as AI Studio and Vertex AI do; nil answers are Says(false). The key is the API
// key there, and the access token here.
func Gemini(s *sandbox.Server, answer func(*Request) Answer) {
	if answer == nil {
		answer = Says(false)
	}
	s.Errors(refusal)
	s.HandlePlain("GET /v1beta/models", func(w http.ResponseWriter, _ *http.Request) {
		sandbox.JSON(w, http.StatusOK, map[string]any{"models": []any{}})
	})
	s.Handle("POST /v1beta/models/{call}", func(c *sandbox.Call) {
		if c.R.Header.Get("Authorization") != "" {
			c.Refuse(400, "expected an API key")
			return
		}
		if c.Authorized("X-Goog-Api-Key", "") {
			generate(c, answer, false)
		}
	})
	s.Handle("POST /v1beta1/projects/{project}/locations/{location}/publishers/google/models/{call}", func(c *sandbox.Call) {
		if c.Authorized("Authorization", "Bearer ") {
			generate(c, answer, true)
		}
	})
}

func generate(c *sandbox.Call, answer func(*Request) Answer, vertex bool) {
	name, method, _ := strings.Cut(c.R.PathValue("call"), ":")
	r := Request{Model: name, Vertex: vertex}
	switch {
	case method != "streamGenerateContent" || c.R.URL.RawQuery != "alt=sse":
		c.Refuse(404, "this sandbox only streams events")
		return
	case c.R.Header.Get("X-Goog-Api-Client") == "":
		c.Refuse(400, "no x-goog-api-client")
		return
	case !c.Read(&r):
		return
	}
	if err := r.check(); err != nil {
		c.Refuse(400, err.Error())
		return
	}
	a := &answering{c: c, r: &r, id: metrics.NewID("resp"), prompt: r.tokens()}
	defer func() { a.book(c.Ledger.Bill, a.prompt+a.found, a.prompt/4, a.output) }()
	w := answer(&r)
	if w.Blocked != "" {
		a.out = c.Stream("text/event-stream")
		a.send(map[string]any{"promptFeedback": map[string]any{"blockReason": w.Blocked}})
		return
	}
	a.out = c.Stream("text/event-stream")
	a.say(w)
}

// answering is one answer on its way.
type answering struct {
	c      *sandbox.Call
	r      *Request
	out    *sandbox.Stream
	id     string
	prompt int64
	found  int64
	output int64

	stated struct{ prompt, cached, output int64 }
}

func (a *answering) book(book func(metrics.Event), prompt, cached, output int64) {
	provider := "google"
	if a.r.Vertex {
		provider = "google-vertex"
	}
	e := &metrics.LLM{PromptTokens: prompt, PromptCachedTokens: cached, CompletionTokens: output, TotalTokens: prompt + output}
	e.Metadata = metrics.Metadata{ModelName: a.r.Model, ModelProvider: provider}
	book(e)
}

// send sends an event, and states the usage so far.
func (a *answering) send(m map[string]any) bool {
	m["modelVersion"], m["responseId"] = a.r.Model, a.id
	state := a.c.Fault != fault.UsageMissing
	if state {
		m["usageMetadata"] = map[string]any{
			"promptTokenCount": a.prompt, "cachedContentTokenCount": a.prompt / 4, "toolUsePromptTokenCount": a.found,
			"candidatesTokenCount": a.output - a.output/4, "thoughtsTokenCount": a.output / 4,
			"totalTokenCount": a.prompt + a.found + a.output, "promptTokensDetails": []any{},
		}
	}
	if !a.out.Event("", m) {
		return false
	}
	if t := &a.stated; state {
		prompt, cached := a.prompt+a.found, a.prompt/4
		a.book(a.c.Ledger.State, prompt-t.prompt, cached-t.cached, a.output-t.output)
		t.prompt, t.cached, t.output = prompt, cached, a.output
	}
	return true
}

func (a *answering) part(p map[string]any, finish string) bool {
	c := map[string]any{"index": 0, "content": map[string]any{"role": "model", "parts": []any{p}}}
	if finish != "" {
		c["finishReason"] = finish
	}
	return a.send(map[string]any{"candidates": []any{c}})
}

func (a *answering) say(w Answer) {
	if w.Thought != "" && !a.part(map[string]any{"text": w.Thought, "thought": true}, "") {
		return
	}
	for _, word := range strings.SplitAfter(w.Text, " ") {
		if word == "" {
			continue
		}
		a.output += sandbox.GoogleTokens.Count(word)
		if !a.c.Think(a.c.Fault) || !a.part(map[string]any{"text": word}, "") {
			return
		}
	}
	if w.Error != 0 {
		a.out.Event("", refusal(w.Error, "it broke"))
		return
	}
	for i, t := range w.Calls {
		a.output += 3 + sandbox.GoogleTokens.Count(t.Name) + sandbox.GoogleTokens.Count(t.Arguments)
		call := map[string]any{"name": t.Name, "args": json.RawMessage(t.Arguments)}
		if t.CallID != "" {
			call["id"] = t.CallID
		}
		p := map[string]any{"functionCall": call}
		if i == 0 && a.r.signs() {
			p["thoughtSignature"] = signed(t.Name)
		}
		if !a.part(p, "") {
			return
		}
	}
	a.found = w.Found
	if w.Finish == "" {
		w.Finish = "STOP"
	}
	last := func() bool {
		if w.Text == "" && len(w.Calls) == 0 {
			return a.send(map[string]any{"candidates": []any{map[string]any{"index": 0, "finishReason": w.Finish}}})
		}
		return a.part(map[string]any{"text": ""}, w.Finish)
	}
	if last() && (a.c.Fault == fault.DoubleFinal || a.c.Fault == fault.UsageRepeated) {
		last()
	}
}
