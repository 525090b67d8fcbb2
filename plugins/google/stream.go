package google

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

// response is one event of an answer.
type response struct {
	Candidates []struct {
		Content      content `json:"content"`
		FinishReason string  `json:"finishReason"`
	} `json:"candidates"`
	PromptFeedback struct {
		BlockReason string `json:"blockReason"`
	} `json:"promptFeedback"`
	Usage      *usage          `json:"usageMetadata"`
	ResponseID string          `json:"responseId"`
	Error      json.RawMessage `json:"error"`
}

// usage counts from the start of the answer.
type usage struct {
	Prompt     int64 `json:"promptTokenCount"` // with what came from the cache
	Cached     int64 `json:"cachedContentTokenCount"`
	ToolUse    int64 `json:"toolUsePromptTokenCount"` // what the provider's own tools found
	Candidates int64 `json:"candidatesTokenCount"`
	Thoughts   int64 `json:"thoughtsTokenCount"`
	Total      int64 `json:"totalTokenCount"`

	raw metrics.Raw
}

// UnmarshalJSON implements json.Unmarshaler.
func (u *usage) UnmarshalJSON(b []byte) error {
	type plain usage
	u.raw = metrics.RawOf(b)
	return json.Unmarshal(b, (*plain)(u))
}

func (u *usage) driver() *driver.Usage {
	return &driver.Usage{
		PromptTokens: u.Prompt + u.ToolUse, PromptCachedTokens: u.Cached,
		CompletionTokens: u.Candidates + u.Thoughts, TotalTokens: u.Total, Raw: u.raw,
	}
}

// blocked are the reasons to finish with which the provider keeps an answer back: another try would end
// in the same way.
var blocked = map[string]bool{
	"SAFETY": true, "PROHIBITED_CONTENT": true, "BLOCKLIST": true, "SPII": true, "RECITATION": true, "LANGUAGE": true,
	"IMAGE_SAFETY": true, "IMAGE_PROHIBITED_CONTENT": true, "IMAGE_RECITATION": true,
}

// geminiStream implements driver.Stream.
type geminiStream struct {
	ctx    context.Context
	client *wire.Client
	body   io.ReadCloser
	events *wire.Events
	id     string
	ready  []*driver.Chunk
	any    bool   // a part of an answer came
	reason string // to finish
	end    error
}

func newGeminiStream(ctx context.Context, c *wire.Client, body io.ReadCloser) *geminiStream {
	return &geminiStream{ctx: ctx, client: c, body: body, events: wire.NewEvents(body)}
}

// Close implements driver.Stream.
func (s *geminiStream) Close() error { return s.body.Close() }

// Next implements driver.Stream.
func (s *geminiStream) Next() (*driver.Chunk, error) {
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
			s.end = s.ended(err)
			continue
		}
		s.end = s.take(data)
	}
}

// ended is the end of the stream: it is good when the model gave a reason and said something before.
func (s *geminiStream) ended(err error) error {
	switch {
	case err == io.EOF && s.reason == "":
		return s.client.Error(model.KindConnection, "chat", fmt.Errorf("the answer broke off: %w", io.ErrUnexpectedEOF))
	case err == io.EOF && !s.any:
		return s.client.Protocol("chat", "the model gave no answer (finish reason %s)", s.reason)
	case err == io.EOF:
		return io.EOF
	case err == wire.ErrEventTooLarge:
		return s.client.Error(model.KindProtocol, "chat", err)
	}
	return s.client.ReadError(s.ctx, "chat", err)
}

// take understands one event. The error ends the stream.
func (s *geminiStream) take(data []byte) error {
	var r response
	if err := json.Unmarshal(data, &r); err != nil {
		return s.client.Protocol("chat", "event cannot be read: %v", err)
	}
	if len(r.Error) > 0 && string(r.Error) != "null" {
		return s.refused(r.Error)
	}
	if s.id == "" {
		if s.id = r.ResponseID; s.id == "" {
			s.id = metrics.NewID("gemini_")
		}
	}
	if len(r.Candidates) > 0 {
		c := &r.Candidates[0]
		for _, p := range c.Content.Parts {
			s.part(p)
		}
		if c.FinishReason != "" && c.FinishReason != "FINISH_REASON_UNSPECIFIED" {
			s.reason = c.FinishReason
		}
	}
	if r.Usage != nil {
		u := r.Usage.driver()
		u.Partial = s.reason == "" && r.PromptFeedback.BlockReason == ""
		s.put(&driver.Chunk{Usage: u})
	}
	switch reason := r.PromptFeedback.BlockReason; {
	case reason != "":
		return s.kept("the prompt was blocked: " + reason)
	case blocked[s.reason]:
		return s.kept("the answer was blocked: " + s.reason)
	}
	return nil
}

// kept is the error when the provider keeps an answer back for good.
func (s *geminiStream) kept(why string) error {
	return &model.Error{
		Kind: model.KindProtocol, Provider: s.client.Info.Provider, Op: "chat", RequestID: s.id, Permanent: true, Err: errors.New(why),
	}
}

func (s *geminiStream) part(p *part) {
	if p == nil {
		return
	}
	s.any = true
	switch {
	case p.FunctionCall != nil:
		s.call(p)
	case p.Text != "" && !p.Thought:
		s.put(&driver.Chunk{Text: p.Text})
	}
}

func (s *geminiStream) call(p *part) {
	c := driver.ToolCall{CallID: p.FunctionCall.ID, Name: p.FunctionCall.Name, Arguments: string(p.FunctionCall.Args)}
	if c.CallID == "" {
		c.CallID = metrics.NewID("call_")
	}
	if c.Arguments == "" || c.Arguments == "null" {
		c.Arguments = "{}"
	}
	if p.ThoughtSignature != "" {
		c.Extra = map[string]any{extraKey: map[string]any{signatureKey: p.ThoughtSignature}}
	}
	s.put(&driver.Chunk{ToolCalls: []driver.ToolCall{c}})
}

// refused is an error that comes in a stream that began well.
func (s *geminiStream) refused(raw json.RawMessage) error {
	var e struct {
		Code int `json:"code"`
	}
	_ = json.Unmarshal(raw, &e)
	if http.StatusText(e.Code) == "" && e.Code != 499 || e.Code < 400 {
		return s.client.Protocol("chat", "the provider broke off: %s", wire.Explain(raw))
	}
	err := s.client.Status("chat", e.Code, wire.Explain(raw))
	err.RequestID = s.id
	return err
}

func (s *geminiStream) put(c *driver.Chunk) {
	c.ID = s.id
	s.ready = append(s.ready, c)
}
