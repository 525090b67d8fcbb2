package openaibox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// ResponsesOptions are the options of Responses.
type ResponsesOptions struct {
	Provider string // in the ledger; default "openai"
	// Answer makes the answers; default SaysResponse(false).
	Answer func(r *ResponsesRequest) Answer
	// Forget keeps no answers, whatever requests say.
	Forget bool
	// Incomplete ends answers as cut short by their length.
	Incomplete bool
	// Seen, if set, gets every request that is answered, with the whole conversation.
	Seen func(r *ResponsesRequest)
	// MaxAge is how many requests a websocket may carry; 0: any. One more ends it, with an error unless
	// Abrupt is set.
	MaxAge int
	Abrupt bool
}

// ResponsesRequest is a request. It has the fields that OpenAI takes, of those that we send.
type ResponsesRequest struct {
	Type              string            `json:"type"`
	Model             string            `json:"model"`
	Input             []InputItem       `json:"input"`
	Previous          string            `json:"previous_response_id"`
	Stream            bool              `json:"stream"`
	Store             *bool             `json:"store"`
	Instructions      string            `json:"instructions"`
	Tools             []json.RawMessage `json:"tools"`
	ToolChoice        json.RawMessage   `json:"tool_choice"`
	ParallelToolCalls *bool             `json:"parallel_tool_calls"`
	Temperature       *float64          `json:"temperature"`
	TopP              *float64          `json:"top_p"`
	MaxOutputTokens   int               `json:"max_output_tokens"`
	Reasoning         json.RawMessage   `json:"reasoning"`
	Text              json.RawMessage   `json:"text"`
	ServiceTier       string            `json:"service_tier"`
	User              string            `json:"user"`
	PromptCacheKey    string            `json:"prompt_cache_key"`
	Metadata          map[string]string `json:"metadata"`

	// Whole is the conversation with what the service kept of it.
	Whole []InputItem `json:"-"`
}

// InputItem is an item of a conversation.
type InputItem struct {
	Type    string `json:"type"`
	Role    string `json:"role"`
	Content []struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		ImageURL string `json:"image_url"`
		Detail   string `json:"detail"`
	} `json:"content"`
	CallID    string  `json:"call_id"`
	Name      string  `json:"name"`
	Arguments *string `json:"arguments"`
	Output    *string `json:"output"`
}

// Text is the text of a message or the output of a function.
func (it *InputItem) Text() (s string) {
	for _, p := range it.Content {
		s += p.Text
	}
	if it.Output != nil {
		s += *it.Output
	}
	return s
}

// SaysResponse answers with ChatText, or with a call of the first tool about Paris if there is one and
// tool is set.
func SaysResponse(tool bool) func(*ResponsesRequest) Answer {
	return func(r *ResponsesRequest) Answer {
		if tool && len(r.Tools) > 0 {
			var t struct{ Name string }
			_ = json.Unmarshal(r.Tools[0], &t)
			return Answer{Calls: []driver.ToolCall{{CallID: metrics.NewID("call_"), Name: t.Name, Arguments: `{"location":"Paris"}`}}}
		}
		return Answer{Text: ChatText}
	}
}

// keeper keeps answers, as the service does.
type keeper struct {
	o  ResponsesOptions
	mu sync.Mutex
	by map[string][]InputItem // the conversation with the answer, by its id
}

// Responses serves POST {prefix}/responses, and its websocket.
func Responses(s *sandbox.Server, prefix string, o ResponsesOptions) {
	if o.Provider == "" {
		o.Provider = "openai"
	}
	if o.Answer == nil {
		o.Answer = SaysResponse(false)
	}
	k := &keeper{o: o, by: map[string][]InputItem{}}
	s.HandlePlain("GET "+prefix+"/models", models)
	s.Handle("POST "+prefix+"/responses", func(c *sandbox.Call) {
		var raw json.RawMessage
		if !c.Authorized("Authorization", "Bearer ") || !c.Read(&raw) {
			return
		}
		r, err := k.request(raw)
		if err == nil && (!r.Stream || r.Type != "") {
			err = fmt.Errorf("the sandbox streams only")
		}
		if err != nil {
			c.Refuse(400, err.Error())
			return
		}
		out := c.Stream("text/event-stream")
		a := k.answering(c, r, c.Fault)
		a.send = func(e map[string]any, _ bool) bool { return out.Event(e["type"].(string), e) }
		a.run()
	})
	s.HandleSocket(prefix+"/responses", func(c *sandbox.Call, ws *sandbox.Socket) { k.serve(c, ws) },
		func(c *sandbox.Call) bool { return c.Authorized("Authorization", "Bearer ") })
}

// request reads a request strictly.
func (k *keeper) request(raw []byte) (*ResponsesRequest, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	for name, v := range fields {
		if string(v) == "null" {
			return nil, fmt.Errorf("invalid type for '%s': got null", name)
		}
	}
	r := &ResponsesRequest{}
	if err := sandbox.Strict(raw, r); err != nil {
		return nil, err
	}
	if r.Previous != "" {
		k.mu.Lock()
		before, ok := k.by[r.Previous]
		k.mu.Unlock()
		if !ok {
			return nil, notFound{r.Previous}
		}
		r.Whole = slices.Clone(before)
	}
	r.Whole = append(r.Whole, r.Input...)
	return r, r.check()
}

type notFound struct{ id string }

func (e notFound) Error() string { return "Previous response with id '" + e.id + "' not found." }

// check refuses what OpenAI refuses.
func (r *ResponsesRequest) check() error {
	switch {
	case r.Model == "":
		return fmt.Errorf("missing required parameter: 'model'")
	case len(r.Input) == 0:
		return fmt.Errorf("missing required parameter: 'input'")
	case len(r.Tools) == 0 && (len(r.ToolChoice) > 0 || r.ParallelToolCalls != nil):
		return fmt.Errorf("'tool_choice' is only allowed when 'tools' are specified")
	}
	open := map[string]bool{}
	for i, it := range r.Whole {
		switch it.Type {
		case "message":
			want := map[string]string{"system": "input_", "developer": "input_", "user": "input_", "assistant": "output_"}[it.Role]
			if want == "" || len(it.Content) == 0 {
				return fmt.Errorf("input[%d]: invalid message", i)
			}
			for _, p := range it.Content {
				if !strings.HasPrefix(p.Type, want) {
					return fmt.Errorf("input[%d]: invalid content type %q for role %q", i, p.Type, it.Role)
				}
			}
		case "function_call":
			if it.CallID == "" || it.Name == "" || it.Arguments == nil || !json.Valid([]byte(*it.Arguments)) {
				return fmt.Errorf("input[%d]: invalid function call", i)
			}
			open[it.CallID] = true
		case "function_call_output":
			if it.Output == nil || !open[it.CallID] {
				return fmt.Errorf("no tool call found for function call output with call_id %s", it.CallID)
			}
			delete(open, it.CallID)
		default:
			return fmt.Errorf("input[%d]: invalid type %q", i, it.Type)
		}
	}
	for id := range open {
		return fmt.Errorf("no tool output found for function call %s", id)
	}
	return nil
}

// serve answers the requests of a websocket, one at a time.
func (k *keeper) serve(c *sandbox.Call, ws *sandbox.Socket) {
	var wg sync.WaitGroup
	defer wg.Wait()
	var mu sync.Mutex
	busy, served := false, 0
	for {
		binary, data, err := ws.Read()
		if err != nil {
			return
		}
		if served++; k.o.MaxAge > 0 && served > k.o.MaxAge {
			if !k.o.Abrupt {
				k.refuse(ws, 400, "websocket_connection_limit_reached", "the connection has reached its limit")
			}
			ws.Close(1000, "")
			return
		}
		mu.Lock()
		free := !busy
		mu.Unlock()
		r, err := k.request(data)
		switch {
		case binary || err == nil && (r.Type != "response.create" || r.Stream):
			k.refuse(ws, 400, "invalid_request_error", "not a response.create")
			continue
		case err != nil:
			code := "invalid_request_error"
			if _, ok := err.(notFound); ok {
				code = "previous_response_not_found"
			}
			k.refuse(ws, 400, code, err.Error())
			continue
		case !free:
			k.refuse(ws, 400, "response_in_progress", "a response is already in progress")
			continue
		}
		f, end := ws.Stream()
		a := k.answering(c, r, f)
		a.send = func(e map[string]any, content bool) bool { return ws.Send(e, content) == nil }
		a.over = func() { mu.Lock(); busy = false; mu.Unlock() }
		mu.Lock()
		busy = true
		mu.Unlock()
		wg.Go(func() {
			defer end()
			if !a.run() {
				ws.Hang()
			}
			if f == fault.Silence {
				ws.Wait()
			}
		})
	}
}

func (k *keeper) refuse(ws *sandbox.Socket, status int, code, message string) {
	_ = ws.Send(map[string]any{"type": "error", "status": status,
		"error": map[string]any{"type": "invalid_request_error", "code": code, "message": message}}, false)
}

// answering is an answer that is being given.
type answering struct {
	k     *keeper
	c     *sandbox.Call
	r     *ResponsesRequest
	fault fault.Kind
	send  func(e map[string]any, content bool) bool
	over  func() // called before the last event

	id                 string
	seq                int
	prompt, completion int64
}

func (k *keeper) answering(c *sandbox.Call, r *ResponsesRequest, f fault.Kind) *answering {
	a := &answering{k: k, c: c, r: r, fault: f, id: metrics.NewID("resp_"), over: func() {}}
	a.prompt = 3 + count(r.Instructions)
	for _, it := range r.Whole {
		a.prompt += 4 + count(it.Text(), it.Name)
		if it.Arguments != nil {
			a.prompt += count(*it.Arguments)
		}
	}
	for i, raw := range r.Tools {
		var t struct {
			Name, Description string
			Parameters        json.RawMessage
		}
		if _ = json.Unmarshal(raw, &t); i == 0 {
			a.prompt += 12
		}
		a.prompt += 7 + count(t.Name, t.Description, string(t.Parameters)) // as chat completions do
	}
	return a
}

func (a *answering) event(kind string, fields map[string]any, content bool) bool {
	e := map[string]any{"type": kind, "sequence_number": a.seq}
	a.seq++
	for k, v := range fields {
		e[k] = v
	}
	return a.send(e, content)
}

func (a *answering) book(f func(metrics.Event)) {
	e := &metrics.LLM{PromptTokens: a.prompt, PromptCachedTokens: a.prompt / 4, CompletionTokens: a.completion, TotalTokens: a.prompt + a.completion}
	e.Metadata = metrics.Metadata{ModelName: a.r.Model, ModelProvider: a.k.o.Provider}
	f(e)
}

// run gives the answer; false when it did not come to its end.
func (a *answering) run() bool {
	if a.fault == fault.Silence {
		a.book(a.c.Unanswered.Bill)
		return true
	}
	if a.k.o.Seen != nil {
		a.k.o.Seen(a.r)
	}
	defer func() { a.book(a.c.Ledger.Bill) }()
	said := a.k.o.Answer(a.r)
	head := map[string]any{"response": map[string]any{"id": a.id, "object": "response", "status": "in_progress", "output": []any{}, "error": nil, "usage": nil}}
	if !a.event("response.created", head, true) {
		return false
	}
	if a.fault == fault.None && !a.event("response.in_progress", head, false) { // the faults of HTTP count events
		return false
	}
	output := []any{}
	kept := slices.Clone(a.r.Whole)
	if said.Text != "" {
		item := map[string]any{"id": metrics.NewID("msg_"), "type": "message", "role": "assistant", "status": "completed",
			"content": []any{map[string]any{"type": "output_text", "text": said.Text, "annotations": []any{}}}}
		for _, w := range strings.SplitAfter(said.Text, " ") {
			a.completion += count(w)
			if !a.c.Think(a.fault) || !a.event("response.output_text.delta", map[string]any{"item_id": item["id"], "output_index": 0, "content_index": 0, "delta": w}, true) {
				return false
			}
		}
		if !a.event("response.output_item.done", map[string]any{"output_index": 0, "item": item}, false) {
			return false
		}
		output = append(output, item)
		var it InputItem
		b, _ := json.Marshal(map[string]any{"type": "message", "role": "assistant", "content": []any{map[string]any{"type": "output_text", "text": said.Text}}})
		_ = json.Unmarshal(b, &it)
		kept = append(kept, it)
	}
	for i, t := range said.Calls {
		a.completion += 3 + count(t.Name, t.Arguments)
		item := map[string]any{"id": metrics.NewID("fc_"), "type": "function_call", "status": "completed", "call_id": t.CallID, "name": t.Name, "arguments": t.Arguments}
		if !a.event("response.function_call_arguments.delta", map[string]any{"output_index": i, "delta": t.Arguments}, true) ||
			!a.event("response.output_item.done", map[string]any{"output_index": i, "item": item}, true) {
			return false
		}
		output = append(output, item)
		kept = append(kept, InputItem{Type: "function_call", CallID: t.CallID, Name: t.Name, Arguments: &t.Arguments})
	}
	return a.finish(output, kept)
}

func (a *answering) finish(output []any, kept []InputItem) bool {
	r := map[string]any{"id": a.id, "object": "response", "status": "completed", "output": output, "error": nil, "service_tier": "default"}
	kind := "response.completed"
	if a.k.o.Incomplete {
		kind, r["status"], r["incomplete_details"] = "response.incomplete", "incomplete", map[string]any{"reason": "max_output_tokens"}
	}
	if a.fault != fault.UsageMissing {
		r["usage"] = map[string]any{"input_tokens": a.prompt, "input_tokens_details": map[string]any{"cached_tokens": a.prompt / 4},
			"output_tokens": a.completion, "output_tokens_details": map[string]any{"reasoning_tokens": 0}, "total_tokens": a.prompt + a.completion}
		a.book(a.c.Ledger.State)
	}
	if (a.r.Store == nil || *a.r.Store) && !a.k.o.Forget {
		a.k.mu.Lock()
		a.k.by[a.id] = kept
		a.k.mu.Unlock()
	}
	a.over()
	if !a.event(kind, map[string]any{"response": r}, false) {
		return false
	}
	if a.fault == fault.DoubleFinal || a.fault == fault.UsageRepeated {
		a.event(kind, map[string]any{"response": r}, false)
	}
	return true
}
