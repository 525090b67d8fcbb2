package llm

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

type endSpan = func(err error, attrs ...slog.Attr)

func startRequestSpan(ctx context.Context, info model.Info) (context.Context, endSpan) {
	return model.StartSpan(ctx, "llm_request",
		slog.String("gen_ai.operation.name", "chat"),
		slog.String("gen_ai.provider.name", info.Provider),
		slog.String("gen_ai.request.model", info.Model))
}

func requestAttrs(e *metrics.LLM) []slog.Attr {
	if e == nil {
		return nil
	}
	return []slog.Attr{
		slog.Any("lk.llm_metrics", e),
		slog.Int64("gen_ai.usage.input_tokens", e.PromptTokens),
		slog.Int64("gen_ai.usage.cache_read.input_tokens", e.PromptCachedTokens),
		slog.Int64("gen_ai.usage.output_tokens", e.CompletionTokens),
	}
}

// leg is the account of one model that was asked, retries included. It belongs to the lock of its stream.
type leg struct {
	m        *Model
	ctx      context.Context // inside of its span; ends with the work of the stream
	endOf    endSpan
	err      error // why it failed
	start    time.Time
	sent     bool // the driver was asked
	arrived  bool // any chunk came
	ttft     time.Duration
	duration time.Duration
	ids      []string
	past     Usage           // of earlier attempts
	current  *Usage          // of the running attempt
	reported bool            // any attempt stated its usage
	measured bool            // all of those counted by the driver
	text     strings.Builder // of the answer, for the span, as is calls
	calls    []ToolCall
}

func newLeg(ctx context.Context, m *Model) *leg {
	l := &leg{m: m, start: time.Now(), ttft: metrics.NoOutput, measured: true}
	l.ctx, l.endOf = startRequestSpan(ctx, m.Info())
	return l
}

// end records e, the event of the leg, and ends its span. It is called without the lock.
func (l *leg) end(e *metrics.LLM, err error) {
	if e != nil {
		metrics.Record(l.ctx, e)
	}
	l.endOf(err, append(requestAttrs(e), slog.String("lk.pii.response.text", l.text.String()), slog.Any("lk.pii.response.function_calls", l.calls))...)
}

// usage is the sum of what the attempts stated.
func (l *leg) usage() Usage {
	u := l.past
	if c := l.current; c != nil {
		u = add(u, normal(*c))
	}
	u.Measured = l.reported && l.measured
	return u
}

// normal makes the figures of a provider keep their own rules: nothing is negative, the prompt
// includes what came from and went to the cache, and there is a total.
func normal(u Usage) Usage {
	for _, n := range []*int64{&u.PromptTokens, &u.PromptCachedTokens, &u.CacheCreationTokens, &u.CompletionTokens, &u.TotalTokens} {
		*n = max(*n, 0)
	}
	u.PromptCachedTokens = min(u.PromptCachedTokens, u.PromptTokens)
	u.CacheCreationTokens = min(u.CacheCreationTokens, u.PromptTokens-u.PromptCachedTokens)
	if u.TotalTokens == 0 {
		u.TotalTokens = u.PromptTokens + u.CompletionTokens
	}
	return u
}

func add(a, b Usage) Usage {
	a.PromptTokens += b.PromptTokens
	a.PromptCachedTokens += b.PromptCachedTokens
	a.CacheCreationTokens += b.CacheCreationTokens
	a.CompletionTokens += b.CompletionTokens
	a.TotalTokens += b.TotalTokens
	return a
}

// event is the account of the request, or nil when there is nothing to account for: an answer
// without a single chunk, a failure that cost nothing we know of, a request that was never sent.
func (l *leg) event(o metrics.Outcome) *metrics.LLM {
	switch o {
	case metrics.Delivered:
		if !l.arrived {
			return nil
		}
	case metrics.Failed:
		if !l.reported {
			return nil
		}
	default:
		if !l.sent {
			return nil
		}
	}
	info, u := l.m.Info(), l.usage()
	e := &metrics.LLM{
		Header: metrics.Header{
			Label: info.Label, RequestID: l.requestID(), Attempt: 0,
			Outcome: o, Source: metrics.FromProvider,
			Metadata: metrics.Metadata{ModelName: info.Model, ModelProvider: info.Provider},
		},
		Duration:            l.duration,
		TTFT:                l.ttft,
		Cancelled:           o == metrics.Interrupted || o == metrics.Discarded,
		CompletionTokens:    u.CompletionTokens,
		PromptTokens:        u.PromptTokens,
		PromptCachedTokens:  u.PromptCachedTokens,
		CacheCreationTokens: u.CacheCreationTokens,
		TotalTokens:         u.TotalTokens,
	}
	if u.Measured {
		e.Source = metrics.Measured
	}
	if sec := l.duration.Seconds(); l.reported && sec > 0 {
		e.TokensPerSecond = float64(u.CompletionTokens) / sec
	}
	return e
}

func (l *leg) requestID() string {
	if n := len(l.ids); n > 0 {
		return l.ids[n-1]
	}
	return metrics.NewID("llm_")
}
