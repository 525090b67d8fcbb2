// Package driver is the contract between package llm and language models.
//
// A driver only speaks its provider's protocol. Package llm does the rest: retry, timing,
// metrics, usage, errors as events, cancellation. A driver never retries and never counts.
package driver

import (
	"context"
	"encoding/json"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

// LLM is a language model. It is safe for concurrent use.
type LLM interface {
	Info() model.Info
	// Chat sends one request. ctx ends the request and its stream.
	Chat(ctx context.Context, r *Request) (Stream, error)
}

// Prewarmer is implemented by drivers that can open a connection ahead of the first request.
type Prewarmer interface {
	// Prewarm is best effort and returns when ctx ends.
	Prewarm(ctx context.Context)
}

// Request is one chat request. The driver must not change it or keep it.
type Request struct {
	Messages          *chat.Context
	Tools             []ToolSpec
	ToolChoice        ToolChoice
	ParallelToolCalls *bool          // nil leaves it to the provider
	Extra             map[string]any // provider-specific fields
}

// ToolSpec is a tool as the model sees it.
type ToolSpec struct {
	Name        string
	Description string
	Parameters  json.RawMessage // JSON schema of an object
}

// ToolChoice says whether the model may or must call tools: "", "auto", "none", "required", or
// the name of the one function to call in Function.
type ToolChoice struct {
	Mode     ToolMode
	Function string
}

// ToolMode is how free the model is to call tools.
type ToolMode string

// The modes; the empty mode means ToolAuto.
const (
	ToolAuto     ToolMode = "auto"
	ToolNone     ToolMode = "none"
	ToolRequired ToolMode = "required"
	ToolFunction ToolMode = "function" // exactly the named one
)

// Stream is the answer to a request. It is used by one goroutine, but for Close.
type Stream interface {
	// Next waits for the next chunk; io.EOF ends the answer well. The chunk belongs to the caller.
	Next() (*Chunk, error)
	// Close ends the request; it may be called more than once and from any goroutine.
	Close() error
}

// Chunk is a piece of an answer. Any part may be empty.
type Chunk struct {
	ID        string // the provider's id of the answer
	Text      string
	Flush     bool       // set by LLM nodes only: what follows Text is spoken as a segment of its own
	ToolCalls []ToolCall // each complete
	Usage     *Usage     // the final figures when they are known; the last one counts
	Extra     map[string]any
}

// ToolCall is a call the model decided on.
type ToolCall struct {
	CallID    string
	Name      string
	Arguments string // JSON text as the model wrote it
	Extra     map[string]any
}

// Usage is what the provider will bill for a request.
type Usage struct {
	PromptTokens        int64 // includes cached and cache-creation tokens
	PromptCachedTokens  int64
	CacheCreationTokens int64
	CompletionTokens    int64
	TotalTokens         int64
	Partial             bool        // stated before the end of the answer: CompletionTokens does not count all of it
	Measured            bool        // counted by the driver, not stated by a provider
	Raw                 metrics.Raw // what the provider wrote; see metrics.RawOf
}
