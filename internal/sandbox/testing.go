package sandbox

import (
	"testing"
	"time"

	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// Start is New for a test, which closes the sandbox at its end.
func Start(t testing.TB, p fault.Plan) *Server {
	t.Helper()
	s, err := New(Options{Plan: p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// LLM is what clients were told that language models cost, as llmtest wants it.
func (s *Server) LLM() driver.Usage { return thought(s.Ledger.Stated()) }

// LLMBilled is what language models are billed for.
func (s *Server) LLMBilled() driver.Usage { return thought(s.Ledger.Billed()) }

func thought(all metrics.Usage) (u driver.Usage) {
	for _, m := range all.Models {
		if l, ok := m.(metrics.LLMUsage); ok {
			u.PromptTokens += l.InputTokens
			u.PromptCachedTokens += l.InputCachedTokens
			u.CacheCreationTokens += l.InputCacheCreationTokens
			u.CompletionTokens += l.OutputTokens
			u.TotalTokens += l.InputTokens + l.OutputTokens
		}
	}
	return u
}

// Audio is how much audio recognisers were billed.
func (s *Server) Audio() (d time.Duration) {
	for _, m := range s.Ledger.Billed().Models {
		if u, ok := m.(metrics.STTUsage); ok {
			d += u.AudioDuration
		}
	}
	return d
}

// Characters is how many characters synthesisers were billed.
func (s *Server) Characters() (n int64) {
	for _, m := range s.Ledger.Billed().Models {
		if u, ok := m.(metrics.TTSUsage); ok {
			n += u.CharactersCount
		}
	}
	return n
}
