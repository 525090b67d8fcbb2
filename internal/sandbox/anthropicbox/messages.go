package anthropicbox

import (
	"net/http"
	"strings"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// Answer is what the model answers to a request.
type Answer struct {
	Thinking string // before the text
	Text     string
	Calls    []driver.ToolCall
	Stop     string // default "end_turn", or "tool_use" with calls
	Error    string // the type of an error that comes after the text
}

// Text is the default answer.
const Text = "It is sunny in Paris today, with a light wind."

// Says answers with Text, or with a call of the first tool about Paris if there is one and tool is set.
func Says(tool bool) func(*Request) Answer {
	return func(r *Request) Answer {
		if tool && len(r.Tools) > 0 {
			return Answer{Calls: []driver.ToolCall{{CallID: metrics.NewID("toolu_"), Name: r.Tools[0].Name, Arguments: `{"location":"Paris"}`}}}
		}
		return Answer{Text: Text}
	}
}

// Messages serves POST /v1/messages and GET /v1/models; nil answers are Says(false).
func Messages(s *sandbox.Server, answer func(*Request) Answer) {
	if answer == nil {
		answer = Says(false)
	}
	s.Errors(func(status int, message string) any {
		return map[string]any{"type": "error", "error": map[string]any{"type": kinds[status], "message": message}}
	})
	s.HandlePlain("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		sandbox.JSON(w, http.StatusOK, map[string]any{"data": []any{}, "has_more": false})
	})
	s.Handle("POST /v1/messages", func(c *sandbox.Call) {
		var r Request
		switch {
		case !c.Authorized("X-Api-Key", ""):
			return
		case c.R.Header.Get("Anthropic-Version") != "2023-06-01":
			c.Refuse(400, "anthropic-version: header is required")
			return
		case c.R.URL.RawQuery != "":
			c.Refuse(400, "unexpected query")
			return
		case !c.Read(&r):
			return
		}
		if err := r.check(); err != nil {
			c.Refuse(400, err.Error())
			return
		}
		c.W.Header().Set("Request-Id", metrics.NewID("req_"))
		a := &answering{c: c, r: &r, out: c.Stream("text/event-stream")}
		defer func() { a.book(c.Ledger.Bill, a.prompt(), a.output) }()
		a.say(answer(&r))
	})
}

var kinds = map[int]string{
	400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error", 503: "overloaded_error",
}

// answering is one answer on its way.
type answering struct {
	c      *sandbox.Call
	r      *Request
	out    *sandbox.Stream
	index  int
	output int64 // tokens
	stated int64 // of them
}

func (a *answering) prompt() int64 { return a.r.tokens() }

// shares are the parts of a prompt that are new, written to the cache, and read from it.
func shares(prompt int64) (fresh, created, read int64) {
	read, created = prompt/4, prompt/8
	return prompt - read - created, created, read
}

func (a *answering) book(book func(metrics.Event), prompt, output int64) {
	var created, read int64
	if prompt > 0 {
		_, created, read = shares(prompt)
	}
	e := &metrics.LLM{
		PromptTokens: prompt, PromptCachedTokens: read, CacheCreationTokens: created,
		CompletionTokens: output, TotalTokens: prompt + output,
	}
	e.Metadata = metrics.Metadata{ModelName: a.r.Model, ModelProvider: "anthropic"}
	book(e)
}

func (a *answering) say(w Answer) {
	if !a.begin() || !a.think(w.Thinking) || !a.text(w.Text) {
		return
	}
	if w.Error != "" {
		a.out.Note("error", map[string]any{"type": "error", "error": map[string]any{"type": w.Error, "message": "Overloaded"}})
		return
	}
	for _, t := range w.Calls {
		if !a.call(t) {
			return
		}
	}
	if w.Stop == "" {
		w.Stop = "end_turn"
		if len(w.Calls) > 0 {
			w.Stop = "tool_use"
		}
	}
	a.end(w.Stop)
}

func (a *answering) begin() bool {
	message := map[string]any{
		"id": metrics.NewID("msg_"), "type": "message", "role": "assistant", "model": a.r.Model, "content": []any{},
		"stop_reason": nil, "stop_sequence": nil,
	}
	a.output = 1
	if a.c.Fault != fault.UsageMissing {
		fresh, created, read := shares(a.prompt())
		message["usage"] = map[string]any{
			"input_tokens": fresh, "cache_creation_input_tokens": created, "cache_read_input_tokens": read, "output_tokens": 1,
			"service_tier": "standard",
		}
	}
	if !a.out.Note("message_start", map[string]any{"type": "message_start", "message": message}) {
		return false
	}
	if a.c.Fault != fault.UsageMissing {
		a.book(a.c.Ledger.State, a.prompt(), 1)
		a.stated = 1
	}
	return a.out.Note("ping", map[string]any{"type": "ping"})
}

// block sends a content block whose deltas are content.
func (a *answering) block(begin map[string]any, deltas ...map[string]any) bool {
	head := map[string]any{"type": "content_block_start", "index": a.index, "content_block": begin}
	if !a.out.Note("content_block_start", head) {
		return false
	}
	for _, d := range deltas {
		for _, k := range []string{"text", "thinking", "partial_json"} {
			if s, ok := d[k].(string); ok {
				a.output += sandbox.AnthropicTokens.Count(s)
			}
		}
		if !a.c.Think(a.c.Fault) || !a.out.Event("content_block_delta", map[string]any{"type": "content_block_delta", "index": a.index, "delta": d}) {
			return false
		}
	}
	tail := map[string]any{"type": "content_block_stop", "index": a.index}
	a.index++
	return a.out.Note("content_block_stop", tail)
}

func (a *answering) think(text string) bool {
	if text == "" {
		return true
	}
	return a.block(map[string]any{"type": "thinking", "thinking": "", "signature": ""},
		map[string]any{"type": "thinking_delta", "thinking": text},
		map[string]any{"type": "signature_delta", "signature": "c2lnbmVk"})
}

func (a *answering) text(text string) bool {
	if text == "" {
		return true
	}
	var deltas []map[string]any
	for _, w := range strings.SplitAfter(text, " ") {
		deltas = append(deltas, map[string]any{"type": "text_delta", "text": w})
	}
	return a.block(map[string]any{"type": "text", "text": ""}, deltas...)
}

func (a *answering) call(t driver.ToolCall) bool {
	half := len(t.Arguments) / 2
	a.output += 20 + sandbox.AnthropicTokens.Count(t.Name)
	return a.block(map[string]any{"type": "tool_use", "id": t.CallID, "name": t.Name, "input": map[string]any{}},
		map[string]any{"type": "input_json_delta", "partial_json": ""},
		map[string]any{"type": "input_json_delta", "partial_json": t.Arguments[:half]},
		map[string]any{"type": "input_json_delta", "partial_json": t.Arguments[half:]})
}

func (a *answering) end(stop string) {
	delta := map[string]any{"type": "message_delta", "delta": map[string]any{"stop_reason": stop, "stop_sequence": nil}}
	if a.c.Fault != fault.UsageMissing {
		delta["usage"] = map[string]any{"output_tokens": a.output}
	}
	if !a.out.Event("message_delta", delta) {
		return
	}
	if a.c.Fault != fault.UsageMissing {
		a.book(a.c.Ledger.State, 0, a.output-a.stated)
	}
	if a.c.Fault == fault.UsageRepeated {
		a.out.Event("message_delta", delta)
	}
	a.out.Event("message_stop", map[string]any{"type": "message_stop"})
	if a.c.Fault == fault.DoubleFinal {
		a.out.Event("message_stop", map[string]any{"type": "message_stop"})
	}
}
