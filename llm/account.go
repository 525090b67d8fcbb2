package llm

import (
	"context"
	"log/slog"

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

// usage is the sum of what the attempts stated. Callers hold s.mu.
func (s *Stream) usage() Usage {
	u := s.past
	if c := s.current; c != nil {
		u = add(u, normal(*c))
	}
	u.Measured = s.reported && s.measured
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
// Callers hold s.mu.
func (s *Stream) event() *metrics.LLM {
	switch s.outcome {
	case metrics.Delivered:
		if !s.arrived {
			return nil
		}
	case metrics.Failed:
		if !s.reported {
			return nil
		}
	default:
		if !s.sent {
			return nil
		}
	}
	info, u := s.m.Info(), s.usage()
	e := &metrics.LLM{
		Header: metrics.Header{
			Label: info.Label, RequestID: s.requestID(), Attempt: 0,
			Outcome: s.outcome, Source: metrics.FromProvider,
			Metadata: metrics.Metadata{ModelName: info.Model, ModelProvider: info.Provider},
		},
		Duration:            s.duration,
		TTFT:                s.ttft,
		Cancelled:           s.outcome == metrics.Interrupted || s.outcome == metrics.Discarded,
		CompletionTokens:    u.CompletionTokens,
		PromptTokens:        u.PromptTokens,
		PromptCachedTokens:  u.PromptCachedTokens,
		CacheCreationTokens: u.CacheCreationTokens,
		TotalTokens:         u.TotalTokens,
	}
	if u.Measured {
		e.Source = metrics.Measured
	}
	if sec := s.duration.Seconds(); s.reported && sec > 0 {
		e.TokensPerSecond = float64(u.CompletionTokens) / sec
	}
	return e
}

func (s *Stream) requestID() string {
	if n := len(s.ids); n > 0 {
		return s.ids[n-1]
	}
	return metrics.NewID("llm_")
}
