package livekit

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/plugins/openai"
)

// LLMOptions are the options of NewLLM. Model must be set.
type LLMOptions struct {
	// Model is its name at the gateway, e.g. "openai/gpt-4.1-mini" or "google/gemini-3-flash".
	Model     string
	APIKey    string // default LIVEKIT_INFERENCE_API_KEY, else LIVEKIT_API_KEY
	APISecret string // default LIVEKIT_INFERENCE_API_SECRET, else LIVEKIT_API_SECRET
	BaseURL   string // default LIVEKIT_INFERENCE_URL, else LiveKit's

	// Provider is who is to run the model, for those that several run; unset: the gateway's choice.
	Provider string
	// Priority is "priority", "standard" or "low"; unset: the gateway's choice.
	Priority string

	Temperature opt.Value[float64] // 0 to 2; unset: the provider's
	MaxTokens   int                // of the answer; 0: the provider's
	// ReasoningEffort is "none", "minimal", "low", "medium" or "high". Default: the least that the
	// model takes, for models of OpenAI that reason, since a voice cannot wait.
	ReasoningEffort string
	// Extra are further fields of the request's body, as OpenAI's chat completions have them.
	Extra map[string]any
	// HTTPClient does the requests; nil for one that all plugins share. Its timeout would end answers.
	HTTPClient *http.Client
	// Front are retries, timeouts and draining; nil for the defaults.
	Front *llm.Options
}

// NewLLM returns a language model of the gateway. Missing credentials are an error that names the
// environment variables.
func NewLLM(o *LLMOptions) (*llm.Model, error) {
	if o == nil {
		o = &LLMOptions{}
	}
	a, err := newAccess("LLMOptions", "llm", o.Model, o.APIKey, o.APISecret, o.BaseURL)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"", "priority", "standard", "low"}, o.Priority) {
		return nil, fmt.Errorf("livekit: LLMOptions.Priority is %q: want priority, standard or low", o.Priority)
	}
	h := http.Header{}
	for name, v := range map[string]string{headProvider: o.Provider, headPriority: o.Priority} {
		if v != "" {
			h.Set(name, v)
		}
	}
	return openai.NewLLM(&openai.LLMOptions{
		Gateway: &openai.Gateway{Info: a.Info, Authorize: a.authorize, Refusal: a.Refusal, Secrets: a.Secrets},
		BaseURL: a.base.String(), Model: o.Model, Header: h,
		Temperature: o.Temperature, MaxTokens: o.MaxTokens, ReasoningEffort: o.ReasoningEffort, Extra: o.Extra,
		HTTPClient: o.HTTPClient, Front: o.Front,
	})
}
