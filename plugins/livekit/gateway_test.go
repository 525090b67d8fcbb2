package livekit

import (
	"strings"
	"testing"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/livekitbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/session"
)

// A session makes its models of names, and books on the names what the gateway has served.
func TestASessionOfNames(t *testing.T) {
	t.Parallel()
	box := sandbox.Start(t, fault.Plan{})
	g := livekitbox.New(box)
	g.Chat(openaibox.ChatOptions{})
	s := session.New(session.Options{
		Gateway: &Gateway{APIKey: livekitbox.APIKey, APISecret: box.Key, BaseURL: box.URL() + "/v1"},
		Models:  session.Models{STT: "deepgram/nova-3:en", LLM: "openai/gpt-4.1-mini", TTS: "cartesia/sonic-3:katie"},
	})
	if err := s.Start(jobOf(t.Context(), "AJ_1"), &agent.Agent{}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.GenerateReply(agent.Reply{UserInput: "Hi."}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, billed := s.Usage().Models, box.Ledger.Billed().Models
	if len(got) != 1 || len(billed) != 1 || got[0] != billed[0] {
		t.Errorf("used %+v, billed %+v", got, billed)
	}
	if u, ok := got[0].(metrics.LLMUsage); !ok || u.Provider != "livekit" || u.Model != "openai/gpt-4.1-mini" {
		t.Errorf("usage is %+v", got[0])
	}
	if h := g.Headers()[0]; h.Get("X-LiveKit-Job-ID") != "AJ_1" {
		t.Errorf("headers are %v", h)
	}
}

func TestStartTellsWhatIsMissing(t *testing.T) {
	for _, name := range []string{"LIVEKIT_INFERENCE_API_KEY", "LIVEKIT_API_KEY"} {
		t.Setenv(name, "")
	}
	s := session.New(session.Options{Gateway: &Gateway{}, Models: session.Models{LLM: "openai/gpt-4.1-mini"}})
	err := s.Start(t.Context(), &agent.Agent{}, nil)
	if err == nil || !strings.Contains(err.Error(), `LLM model "openai/gpt-4.1-mini"`) || !strings.Contains(err.Error(), "LIVEKIT_API_KEY") {
		t.Errorf("error is %v", err)
	}
}
