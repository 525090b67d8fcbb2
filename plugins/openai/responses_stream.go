package openai

import (
	"context"
	"encoding/json"
	"io"
	"strings"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

// response is an answer as its first and last events tell of it.
type response struct {
	ID     string          `json:"id"`
	Output []outputItem    `json:"output"`
	Usage  *responseUsage  `json:"usage"`
	Error  json.RawMessage `json:"error"`
}

// outputItem is one thing that the model made.
type outputItem struct {
	Type      string `json:"type"`
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type responseUsage struct {
	InputTokens  int64 `json:"input_tokens"`
	InputDetails *struct {
		CachedTokens int64 `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	OutputTokens int64 `json:"output_tokens"`
	TotalTokens  int64 `json:"total_tokens"`

	raw metrics.Raw
}

// UnmarshalJSON implements json.Unmarshaler.
func (u *responseUsage) UnmarshalJSON(b []byte) error {
	type plain responseUsage
	u.raw = metrics.RawOf(b)
	return json.Unmarshal(b, (*plain)(u))
}

func (u *responseUsage) driver() *driver.Usage {
	d := &driver.Usage{PromptTokens: u.InputTokens, CompletionTokens: u.OutputTokens, TotalTokens: u.TotalTokens, Raw: u.raw}
	if u.InputDetails != nil {
		d.PromptCachedTokens = u.InputDetails.CachedTokens
	}
	return d
}

// responseStream implements driver.Stream.
type responseStream struct {
	ctx   context.Context
	c     *responsesLLM
	src   source
	asked []inputItem // the whole conversation
	built bool        // only what is new in it was sent

	id    string
	text  strings.Builder
	calls []inputItem // that were handed out
	ready []*driver.Chunk
	late  error // comes after what is ready
	ended bool
}

// Close implements driver.Stream.
func (s *responseStream) Close() error {
	s.src.end(false)
	return nil
}

// Next implements driver.Stream.
func (s *responseStream) Next() (*driver.Chunk, error) {
	for {
		if len(s.ready) > 0 {
			c := s.ready[0]
			s.ready = s.ready[1:]
			return c, nil
		}
		if s.late != nil {
			return nil, s.late
		}
		if s.ended {
			return nil, io.EOF
		}
		data, err := s.src.next(s.ctx)
		if err == nil {
			err = s.take(data)
		}
		if err != nil {
			s.late = err
			s.src.end(false)
		}
	}
}

// take understands an event. Its error ends the answer, after what is ready.
func (s *responseStream) take(data []byte) error {
	var e struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return s.c.Protocol("chat", "event cannot be read: %v", err)
	}
	switch e.Type {
	case "response.created", "response.completed", "response.incomplete", "response.failed":
		return s.state(e.Type, data)
	case "response.output_text.delta", "response.refusal.delta":
		var d struct {
			Delta string `json:"delta"`
		}
		if err := json.Unmarshal(data, &d); err != nil {
			return s.c.Protocol("chat", "event cannot be read: %v", err)
		}
		if d.Delta != "" {
			s.text.WriteString(d.Delta)
			s.put(&driver.Chunk{Text: d.Delta})
		}
	case "response.output_item.done":
		var d struct {
			Item outputItem `json:"item"`
		}
		if err := json.Unmarshal(data, &d); err != nil {
			return s.c.Protocol("chat", "event cannot be read: %v", err)
		}
		s.call(d.Item)
	case "error":
		return s.c.failed(data)
	}
	return nil
}

// state understands the events of the answer as a whole.
func (s *responseStream) state(kind string, data []byte) error {
	var d struct {
		Response response `json:"response"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return s.c.Protocol("chat", "event cannot be read: %v", err)
	}
	r := &d.Response
	if r.ID != "" {
		s.id = r.ID
	}
	if kind == "response.created" {
		s.put(&driver.Chunk{}) // the answer has begun, and costs something
		return nil
	}
	if r.Usage != nil {
		s.put(&driver.Chunk{Usage: r.Usage.driver()})
	}
	if kind == "response.failed" {
		return s.c.failed(r.Error)
	}
	for _, it := range r.Output {
		s.call(it) // servers forget the event of its own
	}
	s.ended = true
	s.src.end(true)
	if kind == "response.completed" {
		s.remember()
	}
	return nil
}

// call hands out a call of a tool, once.
func (s *responseStream) call(it outputItem) {
	if it.Type != "function_call" {
		return
	}
	if it.CallID == "" {
		it.CallID = metrics.NewID("call_")
	}
	for _, known := range s.calls {
		if known.CallID == it.CallID {
			return
		}
	}
	if it.Arguments == "" {
		it.Arguments = "{}"
	}
	s.calls = append(s.calls, callItem(it.CallID, it.Name, it.Arguments))
	s.put(&driver.Chunk{ToolCalls: []driver.ToolCall{{CallID: it.CallID, Name: it.Name, Arguments: it.Arguments}}})
}

// remember notes that the service keeps this answer, in the form in which it comes back to us.
func (s *responseStream) remember() {
	var answer []inputItem
	if s.text.Len() > 0 {
		answer = append(answer, assistantItem(s.text.String()))
	}
	if answer = append(answer, s.calls...); len(answer) > 0 {
		s.c.kept.add(s.asked, answer, s.id, s.built)
	}
}

// reason is the error that a message states, if any.
func (c *responsesLLM) reason(text []byte) error {
	return wire.Reason(func(e *struct {
		Type string `json:"type"`
	}) error {
		if e.Type != "error" {
			return nil
		}
		return c.failed(text)
	})(text)
}

// failed is the error that the service states: at the top of the event, below "error", or in the
// answer. One of unknown kind is not tried again.
func (c *responsesLLM) failed(data json.RawMessage) error {
	raw := data
	var d struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(data, &d) == nil && !isNull(d.Error) {
		raw = d.Error
	}
	status, _ := stated(raw)
	if status == 0 {
		status, _ = stated(data)
	}
	if status != 0 {
		return c.Status("chat", status, wire.Explain(raw))
	}
	err := c.Protocol("chat", "the provider broke off: %s", wire.Explain(raw))
	if e, ok := err.(*model.Error); ok {
		e.Permanent = true
	}
	return err
}

func (s *responseStream) put(c *driver.Chunk) {
	c.ID = s.id
	s.ready = append(s.ready, c)
}
