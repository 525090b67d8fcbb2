package llm

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/attempt"
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
	size     size  // of the request
	start    time.Time
	sent     bool // the driver was asked
	attempt  int  // the last one
	arrived  bool // any chunk came
	ttft     time.Duration
	duration time.Duration
	ids      []string
	past     cost            // of the attempts that are over
	now      try             // the attempt that runs
	text     strings.Builder // of the answer, for the span, as is calls
	calls    []ToolCall
}

// try is what is known of one attempt.
type try struct {
	runs  bool
	taken bool                 // the driver has the provider's answer
	conn  *attempt.Acquisition // of the connection
	came  bool                 // a chunk came
	got   size                 // of the answer so far
	usage *Usage               // as stated last; nil for not
}

// began reports whether the provider has the request: it answers, or there is a connection.
func (t *try) began() bool { return t.taken || t.conn != nil && t.conn.Known() }

// cost is what attempts have cost.
type cost struct {
	Usage
	stated    bool // any of it
	believed  bool // any of that is a provider's word, and not measured by the driver
	estimated bool // some was not stated
	raw       []metrics.Raw
}

func newLeg(ctx context.Context, m *Model) *leg {
	l := &leg{m: m, start: time.Now(), ttft: metrics.NoOutput}
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

// sofar is what the attempts have cost, that which runs included.
func (l *leg) sofar() cost {
	c := l.past
	if u := l.now.usage; u != nil {
		c.join(stated(normal(*u)))
	}
	return c
}

// stated is the cost of an attempt as it was stated.
func stated(u Usage) cost {
	return cost{Usage: u, stated: true, believed: !u.Measured, raw: []metrics.Raw{u.Raw}}
}

// join adds another cost.
func (c *cost) join(o cost) {
	c.Usage = add(c.Usage, o.Usage)
	c.stated, c.believed, c.estimated = c.stated || o.stated, c.believed || o.believed, c.estimated || o.estimated
	c.raw = slices.Concat(c.raw, o.raw)
}

// source is where the numbers come from: the least certain counts.
func (c *cost) source() metrics.Source {
	switch {
	case c.estimated:
		return metrics.Estimated
	case c.stated && !c.believed:
		return metrics.Measured
	}
	return metrics.FromProvider
}

// settle closes the books of the attempt that runs, if one does. owed says that it costs something, whole
// that all of the answer came. What the provider has not stated then is estimated; what it has teaches to.
func (l *leg) settle(owed, whole bool) {
	t := l.now
	l.now = try{}
	if !t.runs {
		return
	}
	g := &l.m.gauge
	var c cost
	switch {
	case t.usage != nil:
		c = stated(normal(*t.usage))
		g.learnPrompt(c.PromptTokens, l.size)
	case owed:
		c.PromptTokens = g.promptTokens(l.size)
	default:
		return
	}
	if t.usage != nil && !c.Partial {
		if whole {
			g.learnReply(c.CompletionTokens, t.got)
		}
	} else {
		c.estimated = true
		c.CompletionTokens = max(c.CompletionTokens, g.replyTokens(t.got))
		c.TotalTokens = c.PromptTokens + c.CompletionTokens
	}
	l.past.join(c)
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

// event is the account of the request once its attempts are over, or nil when there is nothing to
// account for: an answer without a single chunk, a failure that costs nothing, a request that was never
// sent.
func (l *leg) event(o metrics.Outcome) *metrics.LLM {
	switch o {
	case metrics.Delivered:
		if !l.arrived {
			return nil
		}
	case metrics.Failed:
		if !l.past.stated && !l.past.estimated {
			return nil
		}
	default:
		if !l.sent {
			return nil
		}
	}
	info, u := l.m.Info(), l.past.Usage
	e := &metrics.LLM{
		Header: metrics.Header{
			Label: info.Label, RequestID: l.requestID(), Attempt: l.attempt,
			Outcome: o, Source: l.past.source(), Raw: metrics.JoinRaw(l.past.raw...),
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
	worked := l.duration
	if e.Cancelled {
		worked = time.Since(l.start) // the provider went on while its usage was waited for
	}
	if sec := worked.Seconds(); l.past.stated && !l.past.estimated && sec > 0 {
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
