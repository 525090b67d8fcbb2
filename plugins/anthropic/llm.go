package anthropic

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
)

const (
	defaultBase  = "https://api.anthropic.com"
	defaultModel = "claude-sonnet-4-6"
	version      = "2023-06-01" // of the protocol
	maxTokens    = 1024
)

// LLMOptions are the options of NewLLM. The zero value, or nil, takes the key from ANTHROPIC_API_KEY.
type LLMOptions struct {
	APIKey  string // default ANTHROPIC_API_KEY
	BaseURL string // default ANTHROPIC_BASE_URL, else https://api.anthropic.com
	Model   string // default claude-sonnet-4-6

	MaxTokens         int                // of an answer; default 1024
	Temperature       opt.Value[float64] // 0 to 1; unset: the provider's. The newest models refuse it
	TopP              opt.Value[float64] // 0 to 1; unset: the provider's
	TopK              opt.Value[int]     // unset: the provider's
	ParallelToolCalls opt.Value[bool]    // unset: the provider's; a request's own wins
	// StrictTools makes the model keep to the schemas of tools, whose objects must all say
	// additionalProperties false. Schemas made from Go structs do.
	StrictTools bool
	// Caching lets the provider keep the prompt for five minutes: writing costs more than plain input,
	// and reading much less, so it pays in conversations with long instructions.
	Caching bool
	User    string // an opaque id of the user, for the provider's abuse detection
	// Extra are further fields of the request's body, e.g. "thinking". They replace ours of the same
	// name, and a request's own replace these.
	Extra map[string]any
	// Header is added to every request, e.g. "anthropic-beta".
	Header http.Header
	// HTTPClient does the requests; nil for one that all plugins share. Its timeout would end answers.
	HTTPClient *http.Client
	// Front are retries, timeouts and draining; nil for the defaults.
	Front *llm.Options
}

// NewLLM returns a model that speaks Anthropic's Messages API. A missing key is an error that names the
// environment variable.
func NewLLM(o *LLMOptions) (*llm.Model, error) {
	m, err := newMessages(o)
	if err != nil {
		return nil, err
	}
	return llm.New(m, m.o.Front), nil
}

// messages implements driver.LLM.
type messages struct {
	o      LLMOptions
	client wire.Client
	base   *url.URL
	header http.Header
}

func newMessages(o *LLMOptions) (*messages, error) {
	m := &messages{}
	if o != nil {
		m.o = *o
	}
	if m.o.Model == "" {
		m.o.Model = defaultModel
	}
	if m.o.MaxTokens <= 0 {
		m.o.MaxTokens = maxTokens
	}
	key, err := wire.Key("anthropic", "LLMOptions.APIKey", m.o.APIKey, "ANTHROPIC_API_KEY")
	if err != nil {
		return nil, err
	}
	if m.base, err = wire.Base("anthropic", m.o.BaseURL, defaultBase, "ANTHROPIC_BASE_URL"); err != nil {
		return nil, err
	}
	m.header = http.Header{"Content-Type": {"application/json"}, "Anthropic-Version": {version}}
	maps.Copy(m.header, m.o.Header)
	m.header.Set("X-Api-Key", key)
	m.client = wire.Client{
		Peer: wire.Peer{
			Info: model.Info{Label: "anthropic.LLM", Provider: "anthropic", Model: m.o.Model},
			Kind: "llm", Secrets: []string{key},
		},
		HTTP: m.o.HTTPClient,
	}
	return m, nil
}

// Info implements driver.LLM.
func (m *messages) Info() model.Info { return m.client.Info }

// Prewarm implements driver.Prewarmer.
func (m *messages) Prewarm(ctx context.Context) {
	m.client.Prewarm(ctx, wire.Join(m.base, "/v1/models", url.Values{"limit": {"1"}}), m.header)
}

// Chat implements driver.LLM.
func (m *messages) Chat(ctx context.Context, r *driver.Request) (driver.Stream, error) {
	body, err := json.Marshal(m.body(r))
	if err != nil {
		return nil, m.client.Error(model.KindRequest, "chat", fmt.Errorf("encoding request: %w", err))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, wire.Join(m.base, "/v1/messages", nil), bytes.NewReader(body))
	if err != nil {
		return nil, m.client.Error(model.KindRequest, "chat", err)
	}
	req.Header = m.header.Clone()
	req.Header.Set("Accept", "text/event-stream")
	resp, err := m.client.Do(ctx, "chat", req)
	if err != nil {
		return nil, err
	}
	return newStream(ctx, &m.client, resp.Body), nil
}

// body is the request as it is sent.
func (m *messages) body(r *driver.Request) map[string]any {
	system, list := conversation(r.Messages, continues(m.o.Model))
	tools := toolSpecs(r.Tools, m.o.StrictTools)
	if m.o.Caching {
		cache(system, tools, list)
	}
	b := map[string]any{"model": m.o.Model, "max_tokens": m.o.MaxTokens, "messages": list, "stream": true}
	if len(system) > 0 {
		b["system"] = system
	}
	put(b, "temperature", m.o.Temperature)
	put(b, "top_p", m.o.TopP)
	put(b, "top_k", m.o.TopK)
	if m.o.User != "" {
		b["metadata"] = map[string]any{"user_id": m.o.User}
	}
	if len(tools) > 0 {
		b["tools"] = tools
		parallel, set := m.o.ParallelToolCalls.Get()
		if p := r.ParallelToolCalls; p != nil {
			parallel, set = *p, true
		}
		if c := choice(r.ToolChoice, set && !parallel); c != nil {
			b["tool_choice"] = c
		}
	}
	maps.Copy(b, m.o.Extra)
	maps.Copy(b, r.Extra)
	return b
}

func put[T any](b map[string]any, name string, v opt.Value[T]) {
	if x, ok := v.Get(); ok {
		b[name] = x
	}
}

// continues reports whether the model takes a conversation that ends with words of its own, and goes on
// from there. Those from 4.6 on refuse it.
func continues(name string) bool {
	if strings.HasPrefix(name, "claude-2") || strings.HasPrefix(name, "claude-3") || strings.HasPrefix(name, "claude-instant") {
		return true
	}
	for _, family := range []string{"opus", "sonnet", "haiku"} {
		rest, ok := strings.CutPrefix(name, "claude-"+family+"-4")
		if !ok {
			continue
		}
		minor, _, _ := strings.Cut(strings.TrimPrefix(rest, "-"), "-")
		return minor == "" || len(minor) == 8 || len(minor) == 1 && minor < "6" // nothing, a date, or a number
	}
	return false
}
