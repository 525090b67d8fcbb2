// Package scripted is a language model whose answers are written down beforehand, for tests of
// agents, sessions and of package llm itself. Nothing leaves the process, and all waiting is on
// timers, so that it runs on the virtual time of a testing/synctest bubble.
//
//	script := scripted.New(&scripted.Options{Answers: []scripted.Answer{
//		{Calls: []driver.ToolCall{{Name: "lookup_weather", Arguments: `{"location":"Paris"}`}}},
//		{Text: "It is sunny in Paris.", TTFT: 300 * time.Millisecond},
//	}})
//	model := llm.New(script, nil)
//
// What it was asked and what it would bill can be read afterwards.
package scripted

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/model"
)

// Options say how an LLM answers. The zero value answers every request with an error.
type Options struct {
	// Info is who the model says it is; the default is scripted.LLM of provider "scripted".
	Info model.Info
	// Answers are given in turn, one per request. Every attempt is a request.
	Answers []Answer
	// Respond makes the answers when there are no more Answers. turn counts requests from 0. It may
	// be called concurrently.
	Respond func(turn int, r *driver.Request) Answer
}

// Answer is what one request gets.
type Answer struct {
	ID    string            // of the answer; default "scripted_<turn>"
	TTFT  time.Duration     // wait before the first chunk
	Delay time.Duration     // wait before each later chunk
	Text  string            // handed out word by word
	Calls []driver.ToolCall // after the text, one per chunk; an empty CallID is filled
	// Chunks replaces Text and Calls.
	Chunks []driver.Chunk
	// Usage is stated in a chunk of its own after all others; nil counts words. Its zero value
	// states that the answer cost nothing; see NoUsage.
	Usage *driver.Usage
	// EarlyUsage is stated with the first chunk, as some providers do with input tokens.
	EarlyUsage *driver.Usage
	// NoUsage states no usage at the end.
	NoUsage bool
	Fault   *Fault
}

// Fault is what goes wrong with an answer.
type Fault struct {
	InChat bool  // the request fails and there is no stream; only Err and Panic count
	After  int   // chunks that arrive before it happens
	Err    error // the stream ends with it
	Stall  bool  // nothing arrives any more, until the request is ended
	Panic  any   // the driver panics
}

// Served is the account of one request as a provider would bill it.
type Served struct {
	Turn   int
	ID     string
	Usage  driver.Usage // of what was produced until the end
	Stated driver.Usage // what the client was told
	Told   bool         // whether it was told anything
	End    End
}

// End says how a request ended on the side of the model.
type End string

// The ends.
const (
	Open   End = "open"   // still running
	Whole  End = "whole"  // all was delivered
	Cut    End = "cut"    // the client left
	Broken End = "broken" // by a Fault
)

// LLM is the driver. It is safe for concurrent use.
type LLM struct {
	o        Options
	mu       sync.Mutex
	requests []*driver.Request
	served   []*Served
	prewarms int
}

var (
	_ driver.LLM       = (*LLM)(nil)
	_ driver.Prewarmer = (*LLM)(nil)
)

// New returns a model that answers as o says.
func New(o *Options) *LLM {
	if o == nil {
		o = &Options{}
	}
	l := &LLM{o: *o}
	if l.o.Info == (model.Info{}) {
		l.o.Info = model.Info{Label: "scripted.LLM", Provider: "scripted", Model: "scripted"}
	}
	return l
}

// Info implements driver.LLM.
func (l *LLM) Info() model.Info { return l.o.Info }

// Prewarm counts that it was called.
func (l *LLM) Prewarm(context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prewarms++
}

// Prewarms is how often Prewarm was called.
func (l *LLM) Prewarms() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.prewarms
}

// Requests are the requests so far, with copies of their conversations as they were.
func (l *LLM) Requests() []*driver.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.requests)
}

// Ledger is what was served so far, in the order of requests.
func (l *LLM) Ledger() []Served {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Served, len(l.served))
	for i, s := range l.served {
		out[i] = *s
	}
	return out
}

// Stated is the sum of the usage that clients were told.
func (l *LLM) Stated() driver.Usage {
	var sum driver.Usage
	for _, s := range l.Ledger() {
		sum.PromptTokens += s.Stated.PromptTokens
		sum.PromptCachedTokens += s.Stated.PromptCachedTokens
		sum.CacheCreationTokens += s.Stated.CacheCreationTokens
		sum.CompletionTokens += s.Stated.CompletionTokens
		sum.TotalTokens += s.Stated.TotalTokens
	}
	return sum
}

// Chat implements driver.LLM.
func (l *LLM) Chat(ctx context.Context, r *driver.Request) (driver.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a, s, err := l.open(r)
	if err != nil {
		return nil, err
	}
	if f := a.Fault; f != nil && f.InChat {
		l.close(s, Broken)
		if f.Panic != nil {
			panic(f.Panic)
		}
		return nil, f.Err
	}
	ctx, cancel := context.WithCancel(ctx)
	return &stream{l: l, ctx: ctx, cancel: cancel, a: a, served: s, chunks: a.chunks(s.ID)}, nil
}

func (l *LLM) open(r *driver.Request) (Answer, *Served, error) {
	kept := *r
	kept.Messages = r.Messages.Copy(nil)
	kept.Tools = slices.Clone(r.Tools)
	l.mu.Lock()
	turn := len(l.requests)
	l.requests = append(l.requests, &kept)
	l.mu.Unlock()

	var a Answer
	switch {
	case turn < len(l.o.Answers):
		a = l.o.Answers[turn]
	case l.o.Respond != nil:
		a = l.o.Respond(turn, &kept)
	default:
		return a, nil, &model.Error{Kind: model.KindRequest, Provider: l.o.Info.Provider, Op: "chat",
			Err: fmt.Errorf("the script has no answer to request %d", turn)}
	}
	s := &Served{Turn: turn, ID: a.ID, End: Open}
	if s.ID == "" {
		s.ID = fmt.Sprintf("scripted_%d", turn)
	}
	s.Usage.PromptTokens = promptTokens(&kept)
	s.Usage.TotalTokens = s.Usage.PromptTokens
	l.mu.Lock()
	l.served = append(l.served, s)
	l.mu.Unlock()
	return a, s, nil
}

func (l *LLM) close(s *Served, end End) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.End == Open {
		s.End = end
	}
}

// book keeps the ledger for a chunk that is handed out.
func (l *LLM) book(s *Served, c *driver.Chunk, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int64(words(c.Text))
	for _, call := range c.ToolCalls {
		n += int64(words(call.Name + " " + call.Arguments))
	}
	s.Usage.CompletionTokens += n
	s.Usage.TotalTokens += n
	if c.Usage == nil {
		return
	}
	if last {
		s.Usage = *c.Usage
	}
	s.Stated, s.Told = *c.Usage, true
}

// LastUser is the text of the last user message of a request, for Respond.
func LastUser(r *driver.Request) string {
	text := ""
	for m := range r.Messages.Messages() {
		if m.Role == chat.User {
			text = m.Text()
		}
	}
	return text
}

// LastOutput is the tool output that a request ends with, for Respond. Without one it is nil.
func LastOutput(r *driver.Request) *chat.FunctionCallOutput {
	items := r.Messages.Items()
	if len(items) == 0 {
		return nil
	}
	out, _ := items[len(items)-1].(*chat.FunctionCallOutput)
	return out
}

func words(s string) int { return len(strings.Fields(s)) }

func promptTokens(r *driver.Request) int64 {
	n := 0
	for it := range r.Messages.All() {
		switch it := it.(type) {
		case *chat.Message:
			n += words(it.Text())
		case *chat.FunctionCall:
			n += words(it.Name + " " + it.Arguments)
		case *chat.FunctionCallOutput:
			n += words(it.Output)
		}
	}
	return int64(n)
}
