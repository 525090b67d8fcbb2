package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/tokenize"
)

// chatChunk is one event of an answer.
type chatChunk struct {
	ID      string `json:"id"`
	Choices []struct {
		Delta        *chatDelta `json:"delta"`
		FinishReason string     `json:"finish_reason"`
	} `json:"choices"`
	Usage *chatUsage `json:"usage"`
	XGroq *struct {
		Usage *chatUsage `json:"usage"`
	} `json:"x_groq"`
	Object string          `json:"object"`
	Error  json.RawMessage `json:"error"`
}

type chatDelta struct {
	Content   chatText        `json:"content"`
	ToolCalls []chatCallDelta `json:"tool_calls"`
}

type chatCallDelta struct {
	Index    *int   `json:"index"`
	ID       string `json:"id"`
	Function struct {
		Name      string        `json:"name"`
		Arguments chatArguments `json:"arguments"`
	} `json:"function"`
	Extra any `json:"extra_content"`
}

// chatText is text, or parts of which some are text: Mistral's models that think send those.
type chatText string

// UnmarshalJSON implements json.Unmarshaler.
func (t *chatText) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '[' {
		return json.Unmarshal(b, (*string)(t))
	}
	var parts []struct {
		Type string          `json:"type"`
		Text json.RawMessage `json:"text"`
	}
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	*t = ""
	for _, p := range parts {
		var text string
		if p.Type == "text" && json.Unmarshal(p.Text, &text) == nil {
			*t += chatText(text)
		}
	}
	return nil
}

// chatArguments are JSON text, or the JSON itself from servers that forget to make it a text.
type chatArguments string

// UnmarshalJSON implements json.Unmarshaler.
func (a *chatArguments) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		*a = chatArguments(b)
		return nil
	}
	return json.Unmarshal(b, (*string)(a))
}

type chatUsage struct {
	PromptTokens        int64 `json:"prompt_tokens"`
	CompletionTokens    int64 `json:"completion_tokens"`
	TotalTokens         int64 `json:"total_tokens"`
	PromptTokensDetails *struct {
		CachedTokens     int64 `json:"cached_tokens"`
		CacheWriteTokens int64 `json:"cache_write_tokens"` // OpenRouter
	} `json:"prompt_tokens_details"`
	PromptCacheHitTokens int64 `json:"prompt_cache_hit_tokens"` // DeepSeek

	raw metrics.Raw
}

// UnmarshalJSON implements json.Unmarshaler.
func (u *chatUsage) UnmarshalJSON(b []byte) error {
	type plain chatUsage
	u.raw = metrics.RawOf(b)
	return json.Unmarshal(b, (*plain)(u))
}

func (u *chatUsage) driver() *driver.Usage {
	d := &driver.Usage{PromptTokens: u.PromptTokens, CompletionTokens: u.CompletionTokens, TotalTokens: u.TotalTokens,
		PromptCachedTokens: u.PromptCacheHitTokens, Raw: u.raw}
	if p := u.PromptTokensDetails; p != nil {
		d.PromptCachedTokens, d.CacheCreationTokens = max(p.CachedTokens, d.PromptCachedTokens), p.CacheWriteTokens
	}
	return d
}

// chatStream implements driver.Stream.
type chatStream struct {
	ctx    context.Context
	e      *endpoint
	body   io.ReadCloser
	events *wire.Events
	id     string
	think  tokenize.Thinking
	calls  []pendingCall // begun and not handed out
	ready  []*driver.Chunk
	last   bool // a reason to finish was given; some servers say no more
	ended  bool
}

// pendingCall is a tool call whose arguments are still coming.
type pendingCall struct {
	driver.ToolCall
	index int
}

func newChatStream(ctx context.Context, e *endpoint, body io.ReadCloser) *chatStream {
	return &chatStream{ctx: ctx, e: e, body: body, events: wire.NewEvents(body)}
}

// Close implements driver.Stream.
func (s *chatStream) Close() error { return s.body.Close() }

// Next implements driver.Stream.
func (s *chatStream) Next() (*driver.Chunk, error) {
	for {
		if len(s.ready) > 0 {
			c := s.ready[0]
			s.ready = s.ready[1:]
			return c, nil
		}
		if s.ended {
			return nil, io.EOF
		}
		_, data, err := s.events.Next()
		if err == io.EOF && s.last {
			s.end()
			continue
		}
		if err != nil {
			return nil, s.e.broken(s.ctx, "chat", err)
		}
		data = bytes.TrimSpace(data)
		if string(data) == "[DONE]" {
			wire.Finish(s.body)
			s.end()
			continue
		}
		if len(data) == 0 { // to keep the connection alive
			continue
		}
		if err := s.take(data); err != nil {
			return nil, err
		}
	}
}

func (s *chatStream) take(data []byte) error {
	var c chatChunk
	if err := json.Unmarshal(data, &c); err != nil {
		return s.e.Protocol("chat", "event cannot be read: %v", err)
	}
	if !isNull(c.Error) {
		return s.e.refused("chat", c.Error, 0)
	}
	if c.Object == "error" {
		return s.e.refused("chat", data, 0)
	}
	begins := s.id == "" && c.ID != ""
	if c.ID != "" {
		s.id = c.ID
	}
	for _, choice := range c.Choices[:min(len(c.Choices), 1)] {
		if d := choice.Delta; d != nil {
			if text := s.think.Push(string(d.Content)); text != "" {
				s.put(&driver.Chunk{Text: text})
			}
			s.assemble(d)
		}
		if choice.FinishReason != "" {
			s.last = true
			s.complete(true)
		}
	}
	u := c.Usage
	if u == nil && c.XGroq != nil {
		u = c.XGroq.Usage
	}
	if u != nil {
		s.put(&driver.Chunk{Usage: u.driver()})
	}
	if begins && len(s.ready) == 0 {
		s.put(&driver.Chunk{}) // the answer has begun, and costs something
	}
	return nil
}

// assemble adds what came of tool calls. A new call hands out those before it that are complete.
func (s *chatStream) assemble(d *chatDelta) {
	for _, t := range d.ToolCalls {
		call := s.call(&t)
		if call == nil {
			s.complete(false)
			s.calls = append(s.calls, pendingCall{})
			call = &s.calls[len(s.calls)-1]
			if t.Index != nil {
				call.index = *t.Index
			} else if n := len(s.calls); n > 1 {
				call.index = s.calls[n-2].index + 1
			}
		}
		if call.CallID == "" {
			call.CallID = t.ID
		}
		if call.Name == "" {
			call.Name = t.Function.Name
		}
		call.Arguments += string(t.Function.Arguments)
		if t.Extra != nil {
			call.Extra = map[string]any{"extra_content": t.Extra}
		}
	}
}

// call is the pending call that t goes on with; nil when t begins another one. Servers number calls,
// but some number all of them 0, and some repeat the name, or make up a new id, with each piece.
func (s *chatStream) call(t *chatCallDelta) *pendingCall {
	if len(s.calls) == 0 {
		return nil
	}
	name := t.Function.Name
	at := len(s.calls) - 1
	if t.Index != nil {
		at = slices.IndexFunc(s.calls, func(p pendingCall) bool { return p.index == *t.Index })
		if at < 0 && name != "" {
			return nil
		}
		// A number that nobody had belongs to the newest call, as does one that several had.
		for i := range s.calls {
			if at < 0 || s.calls[i].index == *t.Index {
				at = i
			}
		}
	}
	call := &s.calls[at]
	sameID := t.ID != "" && t.ID == call.CallID
	switch {
	case name == "" || call.Name == "" || sameID:
		return call
	case name != call.Name:
		return nil
	case call.Arguments == "": // the same tool again, or its name again
		if t.ID != "" {
			return nil
		}
		return call
	case json.Valid([]byte(call.Arguments)):
		return nil
	}
	return call
}

// complete hands out the calls that have all their arguments, in order; at the end that is all of them.
func (s *chatStream) complete(end bool) {
	for len(s.calls) > 0 {
		p := s.calls[0]
		if !end && !json.Valid([]byte(p.Arguments)) {
			return
		}
		s.calls = s.calls[1:]
		if p.CallID == "" {
			p.CallID = metrics.NewID("call_")
		}
		if p.Arguments == "" {
			p.Arguments = "{}"
		}
		s.put(&driver.Chunk{ToolCalls: []driver.ToolCall{p.ToolCall}})
	}
}

// end is the good end.
func (s *chatStream) end() {
	if text := s.think.Flush(); text != "" {
		s.put(&driver.Chunk{Text: text})
	}
	s.complete(true)
	s.ended = true
}

func (s *chatStream) put(c *driver.Chunk) {
	c.ID = s.id
	s.ready = append(s.ready, c)
}
