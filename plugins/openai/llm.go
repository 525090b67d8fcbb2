package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
)

// LLMOptions are the options of NewLLM. The zero value, or nil, is OpenAI with the key in OPENAI_API_KEY.
type LLMOptions struct {
	// Service is who is asked: default OpenAI.
	Service Service
	// APIKey: default the service's environment variable, e.g. OPENAI_API_KEY or GROQ_API_KEY.
	APIKey string
	// BaseURL: default the service's environment variable, e.g. OPENAI_BASE_URL, else its address. For
	// Azure the resource's endpoint, e.g. "https://name.openai.azure.com" (AZURE_OPENAI_ENDPOINT).
	BaseURL string
	// Model: default gpt-4.1, or the service's. Services without a default need one.
	Model string

	// Deployment and APIVersion are for Azure: default Model, and OPENAI_API_VERSION or 2024-10-21.
	Deployment, APIVersion string

	Temperature       opt.Value[float64] // 0 to 2; unset: the provider's
	TopP              opt.Value[float64] // 0 to 1; unset: the provider's
	MaxTokens         int                // of the answer; 0: the provider's
	ParallelToolCalls opt.Value[bool]    // unset: the provider's; a request's own wins
	// ReasoningEffort is "none", "minimal", "low", "medium" or "high". Default: the least that the
	// model takes, for models of OpenAI that reason, since a voice cannot wait.
	ReasoningEffort string
	Verbosity       string // "low", "medium", "high"
	ServiceTier     string
	User            string
	PromptCacheKey  string
	// Extra are further fields of the request's body. They replace ours of the same name.
	Extra map[string]any
	// Header is added to every request.
	Header http.Header
	// HTTPClient does the requests; nil for one that all plugins share. Its timeout would end answers.
	HTTPClient *http.Client
	// Front are retries, timeouts and draining; nil for the defaults.
	Front *llm.Options
}

// NewLLM returns a model that speaks chat completions. A missing key is an error that names the
// environment variable.
func NewLLM(o *LLMOptions) (*llm.Model, error) {
	c, err := newChat(o)
	if err != nil {
		return nil, err
	}
	return llm.New(c, c.o.Front), nil
}

// chatLLM implements driver.LLM.
type chatLLM struct {
	o      LLMOptions
	preset preset
	client wire.Client
	base   *url.URL
	header http.Header
}

const defaultAzureVersion = "2024-10-21"

func newChat(o *LLMOptions) (*chatLLM, error) {
	c := &chatLLM{}
	if o != nil {
		c.o = *o
	}
	if c.o.Service == "" {
		c.o.Service = OpenAI
	}
	p, ok := presets[c.o.Service]
	if !ok {
		return nil, fmt.Errorf("openai: unknown service %q", c.o.Service)
	}
	c.preset = p
	if c.o.Model == "" {
		if c.o.Model = p.model; c.o.Model == "" {
			return nil, fmt.Errorf("openai: %s needs LLMOptions.Model", c.o.Service)
		}
	}
	var err error
	if c.base, err = wire.Base("openai", c.o.BaseURL, p.base, p.baseEnv); err != nil {
		return nil, err
	}
	if c.o.Service == Azure {
		c.azure()
	}
	key := c.o.APIKey
	if len(p.keyEnv) > 0 {
		if key, err = wire.Key("openai", "LLMOptions.APIKey", key, p.keyEnv...); err != nil {
			return nil, err
		}
	}
	c.header = http.Header{"Content-Type": {"application/json"}}
	maps.Copy(c.header, c.o.Header)
	switch {
	case p.keyHeader != "":
		c.header.Set(p.keyHeader, key)
	case key != "":
		c.header.Set("Authorization", "Bearer "+key)
	}
	if c.o.Service == OpenAI {
		organisation(c.header)
	}
	c.client = wire.Client{
		Peer: wire.Peer{
			Info: model.Info{Label: "openai.LLM", Provider: c.o.Service.provider(c.base), Model: c.o.Model},
			Kind: "llm", Secrets: []string{key},
		},
		HTTP: c.o.HTTPClient,
	}
	return c, nil
}

// azure makes the base URL that of a deployment.
func (c *chatLLM) azure() {
	if c.o.Deployment == "" {
		c.o.Deployment = c.o.Model
	}
	version := c.o.APIVersion
	if version == "" {
		version = os.Getenv("OPENAI_API_VERSION")
	}
	if version == "" {
		version = defaultAzureVersion
	}
	c.base = c.base.JoinPath("openai", "deployments", c.o.Deployment)
	c.base.RawQuery = url.Values{"api-version": {version}}.Encode()
}

// organisation adds who pays, for keys of several organisations.
func organisation(h http.Header) {
	for header, env := range map[string]string{"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"} {
		if v := os.Getenv(env); v != "" && h.Get(header) == "" {
			h.Set(header, v)
		}
	}
}

// Info implements driver.LLM.
func (c *chatLLM) Info() model.Info { return c.client.Info }

// Prewarm implements driver.Prewarmer.
func (c *chatLLM) Prewarm(ctx context.Context) {
	c.client.Prewarm(ctx, wire.Join(c.base, "/models", nil), c.header)
}

// Chat implements driver.LLM.
func (c *chatLLM) Chat(ctx context.Context, r *driver.Request) (driver.Stream, error) {
	body, err := json.Marshal(c.body(r))
	if err != nil {
		return nil, c.client.Error(model.KindRequest, "chat", fmt.Errorf("encoding request: %w", err))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, wire.Join(c.base, "/chat/completions", nil), bytes.NewReader(body))
	if err != nil {
		return nil, c.client.Error(model.KindRequest, "chat", err)
	}
	req.Header = c.header.Clone()
	req.Header.Set("Accept", "text/event-stream")
	resp, err := c.client.Do(ctx, "chat", req)
	if err != nil {
		return nil, err
	}
	return newChatStream(ctx, &c.client, resp.Body), nil
}

// body is the request as it is sent.
func (c *chatLLM) body(r *driver.Request) map[string]any {
	b := map[string]any{"model": c.o.Model, "messages": chatMessages(r.Messages), "stream": true}
	if !c.preset.noUsage {
		b["stream_options"] = map[string]any{"include_usage": true}
	}
	put(b, "temperature", c.o.Temperature)
	put(b, "top_p", c.o.TopP)
	if c.o.MaxTokens > 0 {
		field := "max_tokens"
		if c.o.Service == OpenAI || c.o.Service == Azure {
			field = "max_completion_tokens"
		}
		b[field] = c.o.MaxTokens
	}
	for k, v := range map[string]string{
		"reasoning_effort": c.effort(), "verbosity": c.o.Verbosity, "service_tier": c.o.ServiceTier,
		"user": c.o.User, "prompt_cache_key": c.o.PromptCacheKey,
	} {
		if v != "" {
			b[k] = v
		}
	}
	if len(r.Tools) > 0 {
		b["tools"] = chatTools(r.Tools)
		if choice := chatChoice(r.ToolChoice); choice != nil {
			b["tool_choice"] = choice
		}
		if p := r.ParallelToolCalls; p != nil {
			b["parallel_tool_calls"] = *p
		} else {
			put(b, "parallel_tool_calls", c.o.ParallelToolCalls)
		}
	}
	if c.reasons() { // such models refuse them
		delete(b, "temperature")
		delete(b, "top_p")
	}
	maps.Copy(b, c.o.Extra)
	maps.Copy(b, r.Extra)
	return b
}

func put[T any](b map[string]any, name string, v opt.Value[T]) {
	if x, ok := v.Get(); ok {
		b[name] = x
	}
}

// reasons reports whether the model is one of OpenAI's that think before they answer.
func (c *chatLLM) reasons() bool {
	if c.o.Service != OpenAI && c.o.Service != Azure {
		return false
	}
	for _, p := range []string{"o1", "o3", "o4", "gpt-5"} {
		if strings.HasPrefix(c.o.Model, p) {
			return true
		}
	}
	return false
}

// effort is how much the model is to think.
func (c *chatLLM) effort() string {
	switch m := c.o.Model; {
	case c.o.ReasoningEffort != "" || !c.reasons() || !strings.HasPrefix(m, "gpt-5") || strings.Contains(m, "chat"):
		return c.o.ReasoningEffort
	case strings.HasPrefix(m, "gpt-5."):
		return "none"
	default:
		return "minimal"
	}
}
