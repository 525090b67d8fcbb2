package livekit

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/livekitbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	sttdriver "github.com/parley-go/parley/stt/driver"
)

// asking is a model whose sandbox keeps what it was asked.
func asking(t *testing.T, o LLMOptions) (*llm.Model, *livekitbox.Gateway, func() *openaibox.ChatRequest) {
	t.Helper()
	box := sandbox.Start(t, fault.Plan{})
	g := livekitbox.New(box)
	asked := make(chan *openaibox.ChatRequest, 8)
	g.Chat(openaibox.ChatOptions{Answer: func(r *openaibox.ChatRequest) openaibox.Answer {
		asked <- r
		return openaibox.Answer{Text: "Hi."}
	}})
	o.APIKey, o.APISecret, o.BaseURL = livekitbox.APIKey, box.Key, box.URL()+"/v1/"
	m, err := NewLLM(&o)
	if err != nil {
		t.Fatal(err)
	}
	return m, g, func() *openaibox.ChatRequest { return <-asked }
}

func ask(ctx context.Context, m *llm.Model, r *driver.Request) error {
	r.Messages = &chat.Context{}
	r.Messages.Add(chat.NewMessage(chat.Developer, "Be brief."), chat.NewMessage(chat.User, "Hi."))
	s, err := m.Driver().Chat(ctx, r)
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		if _, err := s.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestRequestsOfLLM(t *testing.T) {
	t.Setenv("LIVEKIT_WORKER_TOKEN", "")
	t.Setenv("OPENAI_ORG_ID", "mine")
	m, g, asked := asking(t, LLMOptions{
		Model: "openai/gpt-5-mini", Provider: "azure", Priority: "priority", Temperature: opt.Some(0.5), MaxTokens: 90,
		Extra: map[string]any{"verbosity": "low"},
	})
	if i := m.Info(); i != (model.Info{Label: "livekit.LLM", Provider: "livekit", Model: "openai/gpt-5-mini"}) {
		t.Errorf("info is %+v", i)
	}
	agent := ""
	ctx := model.WithJob(t.Context(), func() model.Job { return model.Job{ID: "AJ_1", RoomID: "RM_1", AgentID: agent} })
	for range 2 {
		if err := ask(ctx, m, &driver.Request{}); err != nil {
			t.Fatal(err)
		}
		r := asked()
		if r.Model != "openai/gpt-5-mini" || r.Temperature != nil || r.MaxCompletionTokens != 90 || r.ReasoningEffort != "minimal" ||
			r.Verbosity != "low" || r.Messages[0].Role != "system" {
			t.Errorf("asked %+v", r)
		}
		agent = "PA_1" // it joins
	}
	a, b := g.Headers()[0], g.Headers()[1]
	for name, want := range map[string]string{
		"X-LiveKit-Inference-Provider": "azure", "X-LiveKit-Inference-Priority": "priority", "X-LiveKit-Job-ID": "AJ_1",
		"X-LiveKit-Room-ID": "RM_1", "X-LiveKit-Agent-ID": "", "OpenAI-Organization": "", "X-LiveKit-Worker-Token": "",
	} {
		if got := a.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if b.Get("X-LiveKit-Agent-ID") != "PA_1" || a.Get(headSession) == b.Get(headSession) {
		t.Errorf("second request has %v", b)
	}
}

func TestEffortGoesNotWithTools(t *testing.T) {
	t.Parallel()
	m, _, asked := asking(t, LLMOptions{Model: "openai/gpt-5.4"})
	tool := driver.ToolSpec{Name: "look", Parameters: json.RawMessage(`{"type":"object"}`)}
	for want, tools := range map[string][]driver.ToolSpec{"none": nil, "": {tool}} {
		if err := ask(t.Context(), m, &driver.Request{Tools: tools}); err != nil {
			t.Fatal(err)
		}
		if r := asked(); r.ReasoningEffort != want {
			t.Errorf("with %d tools the effort is %q, want %q", len(tools), r.ReasoningEffort, want)
		}
	}
}

func TestPrewarmIsAuthorized(t *testing.T) {
	t.Parallel()
	box := sandbox.Start(t, fault.Plan{})
	seen := make(chan string, 1)
	box.HandlePlain("GET /v1/models", func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Get("Authorization") })
	m, err := NewLLM(&LLMOptions{Model: "a/b", APIKey: livekitbox.APIKey, APISecret: box.Key, BaseURL: box.URL() + "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	m.Prewarm(t.Context())
	if got := <-seen; !strings.HasPrefix(got, "Bearer eyJ") {
		t.Errorf("authorization is %q", got)
	}
}

// A request beyond a limit tells which; what is used up for the month is not tried again.
func TestQuotas(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header, body string
		want         string
		retry        bool
	}{
		"a minute": {"RPM-Limit: 100,RPM-Used: 101,TPM-Limit: 50000,TPM-Used: 48000",
			`{"type":"inference_quota_exceeded","category":"MaxConcurrentGatewayLLMRpm","hint":"Slow down."}`,
			"(Slow down., MaxConcurrentGatewayLLMRpm, requests a minute: 101 of 100, tokens a minute: 48000 of 50000)", true},
		"the month": {"Credits-Limit: 10,Credits-Used: 11",
			`{"type":"inference_quota_exceeded","category":"MaxGatewayCredits","hint":"You're out of credits."}`,
			"(You're out of credits., MaxGatewayCredits, credits: 11 of 10)", false},
		"half": {"Credits-Used: 11", `{"message":"too many"}`, "too many (credits: 11 of ?)", true},
		"none": {"", `{"error":{"message":"too many"}}`, "too many", true},
	} {
		box := sandbox.Start(t, fault.Plan{})
		for _, path := range []string{"/v1/chat/completions", "/v1/stt"} {
			box.HandlePlain(path, func(w http.ResponseWriter, _ *http.Request) {
				for _, line := range strings.Split(c.header, ",") {
					if k, v, ok := strings.Cut(line, ": "); ok {
						w.Header().Set("X-LiveKit-Inference-"+k, v)
					}
				}
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(http.StatusTooManyRequests)
				_, _ = io.WriteString(w, c.body)
			})
		}
		m, err := NewLLM(&LLMOptions{Model: "a/b", APIKey: "k", APISecret: box.Key, BaseURL: box.URL() + "/v1"})
		if err != nil {
			t.Fatal(err)
		}
		r, err := newSTT(&STTOptions{Model: "a/b", APIKey: "k", APISecret: box.Key, BaseURL: box.URL() + "/v1"})
		if err != nil {
			t.Fatal(err)
		}
		_, heard := r.Open(t.Context(), sttdriver.Options{})
		for _, err := range []error{ask(t.Context(), m, &driver.Request{}), heard} {
			var e *model.Error
			if !errors.As(err, &e) || !strings.HasSuffix(err.Error(), "(status 429): "+c.want) || e.Retryable() != c.retry || e.RetryAfter != 7*time.Second {
				t.Errorf("%s: error is %v, retryable %v", name, err, model.Retryable(err))
			}
		}
	}
}
