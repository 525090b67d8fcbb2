package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/parley-go/parley/examples/internal/cloud"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/plugins/google"
	"github.com/parley-go/parley/plugins/openai"
	"github.com/parley-go/parley/plugins/phonic"
	"github.com/parley-go/parley/plugins/ultravox"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/session"
)

// providers are asked in this order, if their key is set.
var providers = []struct {
	key string
	new func() (*realtime.Model, error)
}{
	{"OPENAI_API_KEY", func() (*realtime.Model, error) { return openai.NewRealtime(nil) }},
	{"GOOGLE_API_KEY", func() (*realtime.Model, error) { return google.NewRealtime(nil) }},
	{"XAI_API_KEY", func() (*realtime.Model, error) {
		return openai.NewRealtime(&openai.RealtimeOptions{Service: openai.XAI})
	}},
	{"ULTRAVOX_API_KEY", func() (*realtime.Model, error) { return ultravox.NewRealtime(nil) }},
	{"PHONIC_API_KEY", func() (*realtime.Model, error) { return phonic.NewRealtime(nil) }},
}

// pickModel takes the first provider whose key is set, else a stand-in in the process, and says so.
func pickModel() (*realtime.Model, *standIn, error) {
	for _, p := range providers {
		if os.Getenv(p.key) == "" {
			continue
		}
		m, err := p.new()
		if err == nil {
			fmt.Printf("realtime: %s %s, since %s is set\n", m.Info().Provider, m.Info().Model, p.key)
		}
		return m, nil, err
	}
	here, err := newStandIn()
	if err != nil {
		return nil, nil, err
	}
	m, err := openai.NewRealtime(&openai.RealtimeOptions{APIKey: here.Key, BaseURL: here.URL() + "/v1"})
	if err == nil {
		fmt.Println("realtime: a stand-in of OpenAI in this process, since no key is set")
	}
	return m, here, err
}

// standIn is OpenAI on this machine. It lives as long as the program.
type standIn struct {
	*sandbox.Server

	mu  sync.Mutex
	cut map[string]time.Duration // items that the session had cut, and where
}

func newStandIn() (*standIn, error) {
	s, err := sandbox.New(sandbox.Options{})
	if err != nil {
		return nil, err
	}
	s.Understand = cloud.Understand(context.Background())
	here := &standIn{Server: s, cut: map[string]time.Duration{}}
	openaibox.Converse(s, "/v1", openaibox.ConverseOptions{Talk: cloud.Talk(), Cut: here.note})
	return here, nil
}

func (s *standIn) note(item string, heard time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut[item] = heard
}

// check compares what the session has remembered with what the stand-in remembers, and its usage with what the
// stand-in has served.
func (s *standIn) check(r *session.Report) error {
	for m := range r.History.Messages() {
		if m.Role != chat.Assistant || !m.Interrupted {
			continue
		}
		s.mu.Lock()
		at, ok := s.cut[m.ID]
		s.mu.Unlock()
		heard := m.Metrics.AudioPlayed
		if !ok || heard == nil || at != heard.Truncate(time.Millisecond) {
			return fmt.Errorf("%s was cut at %v of its audio, the stand-in has cut it at %v", m.ID, heard, at)
		}
		fmt.Printf("\n%s was heard until %.3f s of its audio, and so remembers the stand-in\n", m.ID, at.Seconds())
	}
	served := s.Ledger.Billed()
	want, got := tokens(served), tokens(r.Usage)
	if want != got || want.InputAudioTokens == 0 || want.OutputAudioTokens == 0 {
		return fmt.Errorf("the session has used %+v, the stand-in served %+v", got, want)
	}
	fmt.Printf("\nthe stand-in served the same: %d tokens in, of these %d audio, and %d out, of these %d audio\n",
		want.InputTokens, want.InputAudioTokens, want.OutputTokens, want.OutputAudioTokens)
	return nil
}

// tokens are those of the model that converses.
func tokens(u metrics.Usage) (sum metrics.LLMUsage) {
	for _, m := range u.Models {
		if l, ok := m.(metrics.LLMUsage); ok {
			sum = l
			sum.Provider = ""
		}
	}
	return sum
}
