package anthropic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tokenize"
)

// event is one event of an answer.
type event struct {
	Type    string `json:"type"`
	Message *struct {
		ID    string `json:"id"`
		Usage *usage `json:"usage"`
	} `json:"message"`
	Block *block `json:"content_block"`
	Delta *struct {
		Type        string `json:"type"`
		Text        string `json:"text"`
		PartialJSON string `json:"partial_json"`
		Thinking    string `json:"thinking"`
		Signature   string `json:"signature"`
		StopReason  string `json:"stop_reason"`
	} `json:"delta"`
	Usage *usage          `json:"usage"`
	Error json.RawMessage `json:"error"`
}

// usage counts from the start of the answer. What an event does not state stays as it was.
type usage struct {
	Input         *int64 `json:"input_tokens"` // less what went to and came from the cache
	CacheCreation *int64 `json:"cache_creation_input_tokens"`
	CacheRead     *int64 `json:"cache_read_input_tokens"`
	Output        *int64 `json:"output_tokens"`

	words json.RawMessage
}

// UnmarshalJSON implements json.Unmarshaler.
func (u *usage) UnmarshalJSON(b []byte) error {
	type plain usage
	u.words = bytes.Clone(b)
	return json.Unmarshal(b, (*plain)(u))
}

// errStop is what message_stop gives.
var errStop = errors.New("the answer is complete")

// errRefused is the cause when the provider's classifiers stop an answer.
var errRefused = errors.New("the model refuses to answer")

// stream implements driver.Stream.
type stream struct {
	ctx    context.Context
	client *wire.Client
	body   io.ReadCloser
	events *wire.Events
	id     string
	filter tokenize.Thinking
	block  *block // that is coming
	input  []byte // of a tool_use
	kept   []*block
	total  struct{ input, creation, read, output int64 }
	words  map[string]json.RawMessage // the same as it was stated
	ready  []*driver.Chunk
	last   bool // a reason to stop was given
	end    error
}

func newStream(ctx context.Context, c *wire.Client, body io.ReadCloser) *stream {
	return &stream{ctx: ctx, client: c, body: body, events: wire.NewEvents(body), filter: tokenize.Thinking{Tag: "thinking"}}
}

// Close implements driver.Stream.
func (s *stream) Close() error { return s.body.Close() }

// Next implements driver.Stream.
func (s *stream) Next() (*driver.Chunk, error) {
	for {
		if len(s.ready) > 0 {
			c := s.ready[0]
			s.ready = s.ready[1:]
			return c, nil
		}
		if s.end != nil {
			return nil, s.end
		}
		_, data, err := s.events.Next()
		if err != nil {
			s.end = s.broken(err)
			continue
		}
		if s.end = s.take(data); s.end == errStop {
			wire.Finish(s.body)
			s.end = io.EOF
		}
	}
}

// broken is the end of a stream that did not say message_stop.
func (s *stream) broken(err error) error {
	switch {
	case err == io.EOF && s.last:
		return io.EOF
	case err == io.EOF:
		return s.client.Error(model.KindConnection, "chat", fmt.Errorf("the answer broke off: %w", io.ErrUnexpectedEOF))
	case err == wire.ErrEventTooLarge:
		return s.client.Error(model.KindProtocol, "chat", err)
	}
	return s.client.ReadError(s.ctx, "chat", err)
}

// take understands one event; those of unknown types are for later versions. The error ends the stream.
func (s *stream) take(data []byte) error {
	var e event
	if err := json.Unmarshal(data, &e); err != nil {
		return s.client.Protocol("chat", "event cannot be read: %v", err)
	}
	switch e.Type {
	case "message_start":
		if e.Message != nil {
			s.id = e.Message.ID
			s.count(e.Message.Usage, false)
		}
	case "content_block_start":
		s.block, s.input = e.Block, nil
		if b := e.Block; b != nil && b.Type == "text" {
			s.say(s.filter.Push(b.Text))
		}
	case "content_block_delta":
		s.grow(&e)
	case "content_block_stop":
		s.complete()
	case "message_delta":
		s.count(e.Usage, e.Usage != nil && e.Usage.Output != nil)
		if d := e.Delta; d != nil && d.StopReason != "" {
			s.last = true
			if d.StopReason == "refusal" {
				return &model.Error{
					Kind: model.KindProtocol, Provider: s.client.Info.Provider, Op: "chat", RequestID: s.id, Permanent: true, Err: errRefused,
				}
			}
		}
	case "message_stop":
		return errStop
	case "error":
		return s.refused(e.Error)
	}
	return nil
}

// count states what is known of the price, so that an answer that is cut short is paid too.
func (s *stream) count(u *usage, final bool) {
	if u == nil {
		return
	}
	t := &s.total
	for to, from := range map[*int64]*int64{&t.input: u.Input, &t.creation: u.CacheCreation, &t.read: u.CacheRead, &t.output: u.Output} {
		if from != nil {
			*to = *from
		}
	}
	_ = json.Unmarshal(u.words, &s.words) // an object, or u would not be there; what is new replaces what was
	raw, _ := json.Marshal(s.words)
	prompt := t.input + t.creation + t.read
	s.put(&driver.Chunk{Usage: &driver.Usage{
		PromptTokens: prompt, PromptCachedTokens: t.read, CacheCreationTokens: t.creation,
		CompletionTokens: t.output, TotalTokens: prompt + t.output, Partial: !final, Raw: metrics.RawOf(raw),
	}})
}

// grow adds to the block that is coming.
func (s *stream) grow(e *event) {
	d := e.Delta
	if d == nil {
		return
	}
	switch d.Type {
	case "text_delta":
		s.say(s.filter.Push(d.Text))
	case "input_json_delta":
		s.input = append(s.input, d.PartialJSON...)
	}
	if s.block == nil || s.block.Type != "thinking" {
		return
	}
	switch d.Type {
	case "thinking_delta":
		text := d.Thinking
		if s.block.Thinking != nil {
			text = *s.block.Thinking + text
		}
		s.block.Thinking = &text
	case "signature_delta":
		s.block.Signature += d.Signature
	}
}

// complete ends the block that was coming.
func (s *stream) complete() {
	b := s.block
	s.block = nil
	s.say(s.filter.Flush())
	switch {
	case b == nil:
	case b.Type == "thinking" || b.Type == "redacted_thinking":
		s.kept = append(s.kept, b)
	case b.Type == "tool_use":
		s.call(b)
	}
}

func (s *stream) call(b *block) {
	args := string(s.input)
	if args == "" && len(b.Input) > 0 {
		args = string(b.Input)
	}
	if args == "" {
		args = "{}"
	}
	c := driver.ToolCall{CallID: b.ID, Name: b.Name, Arguments: args}
	if c.CallID == "" {
		c.CallID = metrics.NewID("call_")
	}
	if len(s.kept) > 0 {
		c.Extra = map[string]any{thinkingKey: s.kept}
		s.kept = nil
	}
	s.put(&driver.Chunk{ToolCalls: []driver.ToolCall{c}})
}

// statuses are the HTTP statuses of the errors that come inside of a stream.
var statuses = map[string]int{
	"invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
	"not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504,
	"overloaded_error": 529,
}

// refused is an error that comes in a stream that began well.
func (s *stream) refused(raw json.RawMessage) error {
	var e struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(raw, &e)
	status := statuses[e.Type]
	if status == 0 {
		return s.client.Protocol("chat", "the provider broke off: %s", wire.Explain(raw))
	}
	err := s.client.Status("chat", status, wire.Explain(raw))
	err.RequestID = s.id
	return err
}

func (s *stream) say(text string) {
	if text != "" {
		s.put(&driver.Chunk{Text: text})
	}
}

func (s *stream) put(c *driver.Chunk) {
	c.ID = s.id
	s.ready = append(s.ready, c)
}
