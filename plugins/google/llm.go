package google

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
)

const defaultModel = "gemini-2.5-flash"

// LLMOptions are the options of NewLLM. The zero value, or nil, is Gemini with the key of AI Studio in
// GOOGLE_API_KEY, or on Vertex AI if GOOGLE_GENAI_USE_VERTEXAI is true.
type LLMOptions struct {
	APIKey string // of AI Studio: default GOOGLE_API_KEY, else GEMINI_API_KEY
	// BaseURL: default GOOGLE_GEMINI_BASE_URL, or GOOGLE_VERTEX_BASE_URL on Vertex AI, else Google's.
	BaseURL string
	Model   string // default gemini-2.5-flash

	VertexAI    opt.Value[bool] // default GOOGLE_GENAI_USE_VERTEXAI
	Project     string          // on Vertex AI: default GOOGLE_CLOUD_PROJECT, else that of the credentials
	Location    string          // on Vertex AI: default GOOGLE_CLOUD_LOCATION, else us-central1; "global" is one
	Credentials Credentials     // on Vertex AI

	Temperature      opt.Value[float64] // 0 to 2; unset: the provider's
	TopP             opt.Value[float64] // 0 to 1; unset: the provider's
	TopK             opt.Value[int]     // unset: the provider's
	PresencePenalty  opt.Value[float64] // -2 to 2
	FrequencyPenalty opt.Value[float64] // -2 to 2
	MaxTokens        int                // of an answer, thoughts included; 0: the provider's
	Seed             opt.Value[int]

	// ThinkingBudget is how many tokens the model may think, for Gemini 2.5: 0 for not at all, -1 for as
	// many as it wants. Unset: the provider's. Off is 0.
	ThinkingBudget opt.Value[int]
	// ThinkingLevel is "minimal", "low", "medium" or "high", for Gemini 3. Default: the least that the
	// model takes, since a voice cannot wait: "minimal" for flash, else "low".
	ThinkingLevel string

	SafetySettings  []SafetySetting
	CachedContent   string // name of a cache, e.g. "cachedContents/abc"
	MediaResolution string // e.g. "MEDIA_RESOLUTION_LOW"
	ServiceTier     string
	// Extra are further fields of the request's body; a request's own come after these. Entries of
	// "tools" are added to ours, so that {"tools": []any{map[string]any{"googleSearch": map[string]any{}}}}
	// lets the model search; objects, such as "generationConfig" and "toolConfig", are merged; anything
	// else replaces ours of the same name.
	Extra map[string]any
	// Header is added to every request.
	Header http.Header
	// HTTPClient does the requests; nil for one that all plugins share. Its timeout would end answers.
	HTTPClient *http.Client
	// Front are retries, timeouts and draining; nil for the defaults.
	Front *llm.Options
}

// SafetySetting is what is kept back in one category of harm.
type SafetySetting struct {
	Category  string `json:"category"`  // e.g. "HARM_CATEGORY_HARASSMENT"
	Threshold string `json:"threshold"` // e.g. "BLOCK_ONLY_HIGH"
}

// NewLLM returns a Gemini model. A missing key, or missing credentials, are an error that names the
// environment variable.
func NewLLM(o *LLMOptions) (*llm.Model, error) {
	g, err := newGemini(o)
	if err != nil {
		return nil, err
	}
	return llm.New(g, g.o.Front), nil
}

// gemini implements driver.LLM.
type gemini struct {
	*place
	o    LLMOptions
	path string // of the model
}

func newGemini(o *LLMOptions) (*gemini, error) {
	g := &gemini{}
	if o != nil {
		g.o = *o
	}
	g.o.Model = cmp.Or(g.o.Model, defaultModel)
	if g.o.ThinkingLevel != "" && !g.o.ThinkingBudget.IsUnset() {
		return nil, errThinking
	}
	var err error
	g.place, err = access{
		options: "LLMOptions", kind: "llm", label: "google.LLM", key: g.o.APIKey, base: g.o.BaseURL, model: g.o.Model,
		vertex: onVertex(g.o.VertexAI), project: g.o.Project, location: g.o.Location, credentials: g.o.Credentials,
		header: g.o.Header, http: g.o.HTTPClient,
	}.place()
	if err != nil {
		return nil, err
	}
	if g.path = "/v1beta/" + g.name; g.tokens != nil {
		g.path = "/v1beta1/" + g.name
	}
	return g, nil
}

var errThinking = errors.New("google: set ThinkingBudget for Gemini 2.5, ThinkingLevel for Gemini 3, not both")

// Info implements driver.LLM.
func (g *gemini) Info() model.Info { return g.client.Info }

// Prewarm implements driver.Prewarmer.
func (g *gemini) Prewarm(ctx context.Context) {
	client, h, err := g.authorized(ctx)
	if err != nil {
		return
	}
	path, q := "/v1beta/models", url.Values{"pageSize": {"1"}}
	if g.tokens != nil {
		path, q = "/", nil // whatever the answer, the connection is open
	}
	client.Prewarm(ctx, wire.Join(g.base, path, q), h)
}

// Chat implements driver.LLM.
func (g *gemini) Chat(ctx context.Context, r *driver.Request) (driver.Stream, error) {
	body, err := json.Marshal(g.body(r))
	if err != nil {
		return nil, g.client.Error(model.KindRequest, "chat", fmt.Errorf("encoding request: %w", err))
	}
	address := wire.Join(g.base, g.path+":streamGenerateContent", url.Values{"alt": {"sse"}})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, g.client.Error(model.KindRequest, "chat", err)
	}
	client, h, err := g.authorized(ctx)
	if err != nil {
		return nil, err
	}
	req.Header = h
	resp, err := client.Do(ctx, "chat", req)
	if err != nil {
		return nil, err
	}
	return newGeminiStream(ctx, client, resp.Body), nil
}

// body is the request as it is sent.
func (g *gemini) body(r *driver.Request) map[string]any {
	instructions, list := contents(r.Messages, contentOptions{ids: g.tokens == nil, signed: generation(g.o.Model) >= 3})
	b := map[string]any{"contents": list}
	if strings.TrimSpace(instructions) != "" {
		b["systemInstruction"] = map[string]any{"parts": []*part{{Text: instructions}}}
	}
	if c := g.config(); len(c) > 0 {
		b["generationConfig"] = c
	}
	if len(r.Tools) > 0 {
		b["tools"] = []any{map[string]any{"functionDeclarations": declarations(r.Tools)}}
		if c := calling(r); c != nil {
			b["toolConfig"] = map[string]any{"functionCallingConfig": c}
		}
	}
	if len(g.o.SafetySettings) > 0 {
		b["safetySettings"] = g.o.SafetySettings
	}
	for k, v := range map[string]string{"cachedContent": g.o.CachedContent, "serviceTier": g.o.ServiceTier} {
		if v != "" {
			b[k] = v
		}
	}
	merge(b, g.o.Extra)
	merge(b, r.Extra)
	return b
}

// config is the generationConfig.
func (g *gemini) config() map[string]any {
	c := map[string]any{}
	put(c, "temperature", g.o.Temperature)
	put(c, "topP", g.o.TopP)
	put(c, "topK", g.o.TopK)
	put(c, "presencePenalty", g.o.PresencePenalty)
	put(c, "frequencyPenalty", g.o.FrequencyPenalty)
	put(c, "seed", g.o.Seed)
	if g.o.MaxTokens > 0 {
		c["maxOutputTokens"] = g.o.MaxTokens
	}
	if g.o.MediaResolution != "" {
		c["mediaResolution"] = g.o.MediaResolution
	}
	level := g.o.ThinkingLevel
	if level == "" && g.o.ThinkingBudget.IsUnset() && generation(g.o.Model) == 3 {
		if level = "low"; strings.Contains(g.o.Model, "flash") {
			level = "minimal"
		}
	}
	switch {
	case level != "":
		c["thinkingConfig"] = map[string]any{"thinkingLevel": level}
	case !g.o.ThinkingBudget.IsUnset():
		c["thinkingConfig"] = map[string]any{"thinkingBudget": g.o.ThinkingBudget.Default(0)}
	}
	return c
}

func put[T any](b map[string]any, name string, v opt.Value[T]) {
	if x, ok := v.Get(); ok {
		b[name] = x
	}
}

// merge adds the fields of extra to b, as LLMOptions.Extra says.
func merge(b, extra map[string]any) {
	for k, v := range extra {
		have, isObject := b[k].(map[string]any)
		more, ok := v.(map[string]any)
		if isObject && ok {
			have = maps.Clone(have)
			maps.Copy(have, more)
			b[k] = have
			continue
		}
		if list, ok := v.([]any); ok && k == "tools" {
			ours, _ := b[k].([]any)
			b[k] = append(ours[:len(ours):len(ours)], list...)
			continue
		}
		b[k] = v
	}
}

// generation is the 3 of gemini-3-flash; 0 for models of other names.
func generation(name string) int {
	_, rest, _ := strings.Cut(name, "gemini-")
	digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(rest)
	}
	n, _ := strconv.Atoi(rest[:digits])
	return n
}
