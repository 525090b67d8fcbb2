package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
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
	Error json.RawMessage `json:"error"`
}

type chatDelta struct {
	Content   string `json:"content"`
	ToolCalls []struct {
		Index    *int   `json:"index"`
		ID       string `json:"id"`
		Function struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
		Extra any `json:"extra_content"`
	} `json:"tool_calls"`
}

type chatUsage struct {
	PromptTokens        int64 `json:"prompt_tokens"`
	CompletionTokens    int64 `json:"completion_tokens"`
	TotalTokens         int64 `json:"total_tokens"`
	PromptTokensDetails *struct {
		CachedTokens int64 `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	PromptCacheHitTokens int64 `json:"prompt_cache_hit_tokens"` // DeepSeek
}

func (u *chatUsage) driver() *driver.Usage {
	d := &driver.Usage{PromptTokens: u.PromptTokens, CompletionTokens: u.CompletionTokens, TotalTokens: u.TotalTokens,
		PromptCachedTokens: u.PromptCacheHitTokens}
	if p := u.PromptTokensDetails; p != nil {
		d.PromptCachedTokens = p.CachedTokens
	}
	return d
}

// chatStream implements driver.Stream.
type chatStream struct {
	ctx    context.Context
	client *wire.Client
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

func newChatStream(ctx context.Context, c *wire.Client, body io.ReadCloser) *chatStream {
	return &chatStream{ctx: ctx, client: c, body: body, events: wire.NewEvents(body)}
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
			return nil, s.broken(err)
		}
		data = bytes.TrimSpace(data)
		if string(data) == "[DONE]" {
			s.end()
			continue
		}
		if err := s.take(data); err != nil {
			return nil, err
		}
	}
}

// broken is the error of a stream that ended without saying so.
func (s *chatStream) broken(err error) error {
	switch err {
	case io.EOF:
		return s.client.Error(model.KindConnection, "chat", fmt.Errorf("the answer broke off: %w", io.ErrUnexpectedEOF))
	case wire.ErrEventTooLarge:
		return s.client.Error(model.KindProtocol, "chat", err)
	}
	return s.client.ReadError(s.ctx, "chat", err)
}

func (s *chatStream) take(data []byte) error {
	var c chatChunk
	if err := json.Unmarshal(data, &c); err != nil {
		return s.client.Protocol("chat", "event cannot be read: %v", err)
	}
	if len(c.Error) > 0 && string(c.Error) != "null" {
		return s.refused(c.Error)
	}
	if c.ID != "" {
		s.id = c.ID
	}
	for _, choice := range c.Choices[:min(len(c.Choices), 1)] {
		if d := choice.Delta; d != nil {
			if text := s.think.Push(d.Content); text != "" {
				s.put(&driver.Chunk{Text: text})
			}
			s.assemble(d)
		}
		if choice.FinishReason != "" {
			s.last = true
			s.complete()
		}
	}
	u := c.Usage
	if u == nil && c.XGroq != nil {
		u = c.XGroq.Usage
	}
	if u != nil {
		s.put(&driver.Chunk{Usage: u.driver()})
	}
	return nil
}

// refused is an error that comes in a stream that began well.
func (s *chatStream) refused(raw json.RawMessage) error {
	var e struct {
		Code   json.Number `json:"code"`
		Status int         `json:"status"`
	}
	_ = json.Unmarshal(raw, &e) // a code that is a word is no status
	status := e.Status
	if n, err := e.Code.Int64(); err == nil && n >= 400 && n < 600 {
		status = int(n)
	}
	if status == 0 {
		return s.client.Protocol("chat", "the provider broke off: %s", wire.Explain(raw))
	}
	return s.client.Status("chat", status, wire.Explain(raw))
}

// assemble adds what came of tool calls. Servers number them, but some number all of them 0 and some
// not at all: a new id or name begins a new call too.
func (s *chatStream) assemble(d *chatDelta) {
	for _, t := range d.ToolCalls {
		n := len(s.calls)
		fresh := n == 0
		if !fresh {
			last := s.calls[n-1]
			fresh = t.Index != nil && *t.Index != last.index || t.ID != "" && t.ID != last.CallID ||
				t.ID == "" && t.Function.Name != "" && last.Arguments != "" && json.Valid([]byte(last.Arguments))
		}
		if fresh {
			s.complete()
			p := pendingCall{}
			if t.Index != nil {
				p.index = *t.Index
			}
			p.CallID = t.ID
			s.calls = append(s.calls, p)
		}
		call := &s.calls[len(s.calls)-1]
		call.Name += t.Function.Name
		call.Arguments += t.Function.Arguments
		if t.Extra != nil {
			call.Extra = map[string]any{"extra_content": t.Extra}
		}
	}
}

// complete hands out the calls that have all their arguments.
func (s *chatStream) complete() {
	for _, p := range s.calls {
		if p.CallID == "" {
			p.CallID = metrics.NewID("call_")
		}
		if p.Arguments == "" {
			p.Arguments = "{}"
		}
		s.put(&driver.Chunk{ToolCalls: []driver.ToolCall{p.ToolCall}})
	}
	s.calls = nil
}

// end is the good end.
func (s *chatStream) end() {
	if text := s.think.Flush(); text != "" {
		s.put(&driver.Chunk{Text: text})
	}
	s.complete()
	s.ended = true
}

func (s *chatStream) put(c *driver.Chunk) {
	c.ID = s.id
	s.ready = append(s.ready, c)
}
