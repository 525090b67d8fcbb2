// Package rules answers like a language model without being one: a small set of fixed rules
// reads the conversation and picks an answer. It needs no network, no key and no memory worth
// mentioning, and the same conversation always gets the same answer, so the examples run on any
// machine and tests of a whole session can rely on it.
//
// What it can do: greet and say goodbye, tell time and date, call the agent's tools when their
// words come up and tell what they returned, follow simple instructions ("Greet the user."), and
// talk for a while when asked for a story. Everything else it admits not to understand. It is not
// a language model and must not be put in front of customers.
package rules

import (
	"context"
	"io"
	"time"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

const (
	defaultTTFT      = 50 * time.Millisecond
	defaultWordDelay = 15 * time.Millisecond
)

// Options are the options of New. The zero value is good.
type Options struct {
	// Now is the clock for questions about time and date; default time.Now.
	Now func() time.Time
	// TTFT is the wait before the first word: default 50 ms, negative none.
	TTFT time.Duration
	// WordDelay is the wait before each later word: default 15 ms, negative none.
	WordDelay time.Duration
	// Model are the options of the front.
	Model *llm.Options
}

// New returns a model that answers by rules. nil options are the defaults.
func New(o *Options) *llm.Model {
	d := NewDriver(o)
	return llm.New(d, d.o.Model)
}

// Driver is the driver behind New. It is safe for concurrent use.
type Driver struct{ o Options }

// NewDriver returns the driver alone, for adapters and conformance tests.
func NewDriver(o *Options) *Driver {
	d := &Driver{}
	if o != nil {
		d.o = *o
	}
	if d.o.Now == nil {
		d.o.Now = time.Now
	}
	d.o.TTFT = orDefault(d.o.TTFT, defaultTTFT)
	d.o.WordDelay = orDefault(d.o.WordDelay, defaultWordDelay)
	return d
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return max(d, 0)
}

// Info implements driver.LLM.
func (d *Driver) Info() model.Info {
	return model.Info{Label: "rules.LLM", Provider: "local", Model: "rules"}
}

// Chat implements driver.LLM.
func (d *Driver) Chat(ctx context.Context, r *driver.Request) (driver.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a := (&mind{r: r, now: d.o.Now}).answer()
	s := &stream{id: metrics.NewID("rules_"), ttft: d.o.TTFT, delay: d.o.WordDelay, words: splitWords(a.text), calls: a.calls}
	s.usage = driver.Usage{PromptTokens: promptTokens(r), Measured: true}
	s.usage.CompletionTokens = tokens(a.text)
	for i := range s.calls {
		s.calls[i].CallID = metrics.NewID("call_")
		s.usage.CompletionTokens += tokens(s.calls[i].Name) + tokens(s.calls[i].Arguments)
	}
	s.usage.TotalTokens = s.usage.PromptTokens + s.usage.CompletionTokens
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s, nil
}

// stream hands an answer out word by word.
type stream struct {
	ctx    context.Context
	cancel context.CancelFunc
	id     string
	ttft   time.Duration
	delay  time.Duration
	words  []string
	calls  []driver.ToolCall
	usage  driver.Usage
	begun  bool
	told   bool // the usage
}

// Next implements driver.Stream.
func (s *stream) Next() (*driver.Chunk, error) {
	if err := s.wait(); err != nil {
		return nil, err
	}
	c := &driver.Chunk{ID: s.id}
	switch {
	case len(s.words) > 0:
		c.Text, s.words = s.words[0], s.words[1:]
	case len(s.calls) > 0:
		c.ToolCalls, s.calls = s.calls, nil
	case !s.told:
		s.told = true
		c.Usage = &s.usage
	default:
		return nil, io.EOF
	}
	return c, nil
}

func (s *stream) wait() error {
	d := s.delay
	if !s.begun {
		s.begun, d = true, s.ttft
	} else if len(s.words) == 0 {
		d = 0
	}
	if d <= 0 {
		return s.ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// Close implements driver.Stream.
func (s *stream) Close() error {
	s.cancel()
	return nil
}
