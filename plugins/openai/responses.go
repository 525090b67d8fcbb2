package openai

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
)

// ResponsesOptions are the options of NewResponses. The zero value, or nil, is OpenAI over a websocket
// with the key in OPENAI_API_KEY.
type ResponsesOptions struct {
	// Service is who is asked: default OpenAI. Many others have responses too, mostly without websocket.
	Service Service
	// APIKey: default the service's environment variable, e.g. OPENAI_API_KEY.
	APIKey string
	// ADToken is for Azure: a token of Entra ID instead of a key; default AZURE_OPENAI_AD_TOKEN.
	ADToken string
	// BaseURL: default the service's environment variable, e.g. OPENAI_BASE_URL, else its address. For
	// Azure the resource's endpoint, e.g. "https://name.openai.azure.com" (AZURE_OPENAI_ENDPOINT).
	BaseURL string
	// Model: default gpt-4.1, or the service's; for Azure the name of the deployment.
	Model string

	// HTTP asks with a request for each answer. By default OpenAI and xAI are asked over websockets
	// that are kept open, which saves the time to connect; the others are always asked over HTTP.
	HTTP bool
	// Store lets the service keep its answers: then each request sends only what is new in the
	// conversation. Unset, it is left to the service, which is taken to keep them.
	Store opt.Value[bool]

	Temperature       opt.Value[float64] // 0 to 2; unset: the provider's
	TopP              opt.Value[float64] // 0 to 1; unset: the provider's
	MaxTokens         int                // of the answer, thoughts included; 0: the provider's
	ParallelToolCalls opt.Value[bool]    // unset: the provider's; a request's own wins
	// ReasoningEffort is "none", "minimal", "low", "medium" or "high". Default: the least that the
	// model takes, for models of OpenAI that reason, since a voice cannot wait.
	ReasoningEffort string
	Verbosity       string // "low", "medium", "high"
	ServiceTier     string
	User            string
	PromptCacheKey  string
	// ProviderTools are tools that the service runs by itself, as it wants them described, e.g.
	// {"type": "web_search"}.
	ProviderTools []map[string]any
	// Extra are further fields of the request, such as "metadata". They replace ours of the same name.
	Extra map[string]any
	// Header is added to every request, and to the opening of websockets.
	Header http.Header
	// HTTPClient does the requests, but not the websockets; nil for one that all plugins share. Its
	// timeout would end answers.
	HTTPClient *http.Client
	// Front are retries, timeouts and draining; nil for the defaults.
	Front *llm.Options
}

// NewResponses returns a model that speaks OpenAI's Responses. Over a websocket it keeps connections
// for all its sessions: close the model to close them. A missing key is an error that names the
// environment variable.
func NewResponses(o *ResponsesOptions) (*llm.Model, error) {
	c, err := newResponses(o)
	if err != nil {
		return nil, err
	}
	return llm.New(c, c.o.Front), nil
}

const (
	// socketAge is less than the hour after which OpenAI ends a websocket.
	socketAge = 55 * time.Minute
	// closeLimit bounds the wait for answers that are still being read.
	closeLimit = time.Second
)

// responsesLLM implements driver.LLM.
type responsesLLM struct {
	*endpoint
	o    ResponsesOptions
	pool *wire.Pool // nil: over HTTP
	kept *chains    // nil: the service keeps nothing
}

func newResponses(o *ResponsesOptions) (*responsesLLM, error) {
	c := &responsesLLM{}
	if o != nil {
		c.o = *o
	}
	var err error
	c.endpoint, err = account{
		kind: "llm", label: "openai.Responses", options: "ResponsesOptions", service: c.o.Service,
		key: c.o.APIKey, token: c.o.ADToken, base: c.o.BaseURL, model: c.o.Model, std: func(p preset) string { return p.model },
		azureV1: true, header: c.o.Header, http: c.o.HTTPClient,
	}.endpoint()
	if err != nil {
		return nil, err
	}
	if c.o.Store.IsUnset() || c.o.Store.Default(false) {
		c.kept = newChains()
	}
	if c.socket && !c.o.HTTP {
		c.pool = wire.NewPool(&c.Peer, wire.PoolOptions{
			Open: func(context.Context) (wire.SocketOptions, error) {
				return wire.SocketOptions{URL: c.socketURL(), Header: c.header, Reason: c.reason}, nil
			},
			MaxAge: socketAge,
		})
	}
	return c, nil
}

// Info implements driver.LLM.
func (c *responsesLLM) Info() model.Info { return c.Client.Info }

// Prewarm implements driver.Prewarmer.
func (c *responsesLLM) Prewarm(ctx context.Context) {
	if c.pool != nil {
		c.pool.Prewarm()
		return
	}
	c.Client.Prewarm(ctx, wire.Join(c.base, "/models", nil), c.header)
}

// Close ends the connections.
func (c *responsesLLM) Close() error {
	if c.pool == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	return c.pool.Close(ctx)
}

// Chat implements driver.LLM. What the service still knows of the conversation is not sent again; when
// it turns out that it does not, all of it is.
func (c *responsesLLM) Chat(ctx context.Context, r *driver.Request) (driver.Stream, error) {
	input := c.input(r.Messages)
	rest, previous := c.kept.find(input)
	s, err := c.ask(ctx, input, c.body(r, rest, previous))
	if previous != "" && unknown(err) {
		c.kept.lost()
		s, err = c.ask(ctx, input, c.body(r, input, ""))
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// unknown reports whether a request may have been refused for what it builds on.
func unknown(err error) bool {
	var e *model.Error
	return errors.As(err, &e) && (e.Status == http.StatusBadRequest || e.Status == http.StatusNotFound)
}

// body is the request as it is sent.
func (c *responsesLLM) body(r *driver.Request, input []inputItem, previous string) map[string]any {
	b := map[string]any{"model": c.model, "input": input}
	if c.pool != nil {
		b["type"] = "response.create"
	} else {
		b["stream"] = true
	}
	if !c.o.Store.IsUnset() {
		b["store"] = c.o.Store.Default(false)
	}
	put(b, "temperature", c.o.Temperature)
	put(b, "top_p", c.o.TopP)
	if c.o.MaxTokens > 0 {
		b["max_output_tokens"] = c.o.MaxTokens
	}
	if e := c.effort(c.o.ReasoningEffort); e != "" {
		b["reasoning"] = map[string]any{"effort": e}
	}
	if c.o.Verbosity != "" {
		b["text"] = map[string]any{"verbosity": c.o.Verbosity}
	}
	for k, v := range map[string]string{
		"previous_response_id": previous, "service_tier": c.o.ServiceTier, "user": c.o.User, "prompt_cache_key": c.o.PromptCacheKey,
	} {
		if v != "" {
			b[k] = v
		}
	}
	if tools := c.tools(r.Tools); len(tools) > 0 {
		b["tools"] = tools
		if choice := responsesChoice(r.ToolChoice); choice != nil {
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
