package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
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

	// Gateway is for services that speak OpenAI's protocol in a name of their own: the key then counts
	// for nothing, and BaseURL and Model must be set.
	Gateway *Gateway

	// ADToken is for Azure: a token of Entra ID instead of a key; default AZURE_OPENAI_AD_TOKEN.
	ADToken string
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
	// Extra are further fields of the request's body, such as "store", "metadata", or OpenRouter's
	// "provider" and "models". They replace ours of the same name.
	Extra map[string]any
	// Header is added to every request, such as OpenRouter's "X-Title".
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
	*endpoint
	o LLMOptions
}

func newChat(o *LLMOptions) (*chatLLM, error) {
	c := &chatLLM{}
	if o != nil {
		c.o = *o
	}
	var err error
	c.endpoint, err = account{
		kind: "llm", label: "openai.LLM", options: "LLMOptions", service: c.o.Service,
		key: c.o.APIKey, token: c.o.ADToken, base: c.o.BaseURL, model: c.o.Model, std: func(p preset) string { return p.model },
		gateway: c.o.Gateway, deployment: c.o.Deployment, azureVersion: c.o.APIVersion, header: c.o.Header, http: c.o.HTTPClient,
	}.endpoint()
	return c, err
}

// Info implements driver.LLM.
func (c *chatLLM) Info() model.Info { return c.Client.Info }

// Prewarm implements driver.Prewarmer.
func (c *chatLLM) Prewarm(ctx context.Context) {
	h := c.header.Clone()
	if c.sign(ctx, h) == nil {
		c.Client.Prewarm(ctx, wire.Join(c.base, "/models", nil), h)
	}
}

// Chat implements driver.LLM.
func (c *chatLLM) Chat(ctx context.Context, r *driver.Request) (driver.Stream, error) {
	body, err := json.Marshal(c.body(r))
	if err != nil {
		return nil, c.Client.Error(model.KindRequest, "chat", fmt.Errorf("encoding request: %w", err))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, wire.Join(c.base, "/chat/completions", nil), bytes.NewReader(body))
	if err != nil {
		return nil, c.Client.Error(model.KindRequest, "chat", err)
	}
	req.Header = c.jsonHeader()
	req.Header.Set("Accept", "text/event-stream")
	if err := c.sign(ctx, req.Header); err != nil {
		return nil, c.Client.Error(model.KindRequest, "chat", err)
	}
	resp, err := c.Client.Do(ctx, "chat", req)
	if err != nil {
		return nil, err
	}
	if err := c.streams(ctx, "chat", resp); err != nil {
		return nil, err
	}
	return newChatStream(ctx, c.endpoint, resp.Body), nil
}

// body is the request as it is sent.
func (c *chatLLM) body(r *driver.Request) map[string]any {
	b := map[string]any{"model": c.model, "messages": c.messages(r.Messages), "stream": true}
	if !c.noUsage {
		b["stream_options"] = map[string]any{"include_usage": true}
	}
	put(b, "temperature", c.o.Temperature)
	put(b, "top_p", c.o.TopP)
	if c.o.MaxTokens > 0 {
		field := "max_tokens"
		if c.service == OpenAI || c.service == Azure {
			field = "max_completion_tokens"
		}
		b[field] = c.o.MaxTokens
	}
	for k, v := range map[string]string{
		"reasoning_effort": c.effort(c.o.ReasoningEffort), "verbosity": c.o.Verbosity, "service_tier": c.o.ServiceTier,
		"user": c.o.User, "prompt_cache_key": c.o.PromptCacheKey,
	} {
		if v != "" {
			b[k] = v
		}
	}
	if len(r.Tools) > 0 {
		b["tools"] = chatTools(r.Tools)
		if name := c.name(); strings.HasPrefix(name, "gpt-5.2") || strings.HasPrefix(name, "gpt-5.4") {
			delete(b, "reasoning_effort") // they take no effort together with tools
		}
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
