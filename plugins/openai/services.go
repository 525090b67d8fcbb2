package openai

import (
	"net/url"
	"slices"
)

// Service is a provider that speaks OpenAI's chat completions.
type Service string

// The services. Each is also the provider's name in usage and metrics.
const (
	OpenAI     Service = "openai"
	Azure      Service = "azure"
	Cerebras   Service = "cerebras"
	CometAPI   Service = "cometapi"
	DeepSeek   Service = "deepseek"
	Fireworks  Service = "fireworks"
	Groq       Service = "groq"
	LlamaCPP   Service = "llama.cpp" // on this machine
	Mistral    Service = "mistral"
	Nebius     Service = "nebius"
	Ollama     Service = "ollama" // on this machine
	OpenRouter Service = "openrouter"
	OVHcloud   Service = "ovhcloud"
	Perplexity Service = "perplexity"
	SambaNova  Service = "sambanova"
	Telnyx     Service = "telnyx"
	Together   Service = "together"
	VLLM       Service = "vllm" // on this machine
	XAI        Service = "xai"
)

// preset is what services differ in.
type preset struct {
	base      string
	baseEnv   string
	keyEnv    []string // none: the service takes requests without a key
	keyHeader string   // default "Authorization", with "Bearer " before the key
	model     string   // default; "" if one must be named
	noUsage   bool     // refuses stream_options, and states usage by itself
}

var presets = map[Service]preset{
	OpenAI:     {base: "https://api.openai.com/v1", baseEnv: "OPENAI_BASE_URL", keyEnv: []string{"OPENAI_API_KEY"}, model: "gpt-4.1"},
	Azure:      {baseEnv: "AZURE_OPENAI_ENDPOINT", keyEnv: []string{"AZURE_OPENAI_API_KEY"}, keyHeader: "api-key", model: "gpt-4o"},
	Cerebras:   {base: "https://api.cerebras.ai/v1", baseEnv: "CEREBRAS_BASE_URL", keyEnv: []string{"CEREBRAS_API_KEY"}, model: "gpt-oss-120b"},
	CometAPI:   {base: "https://api.cometapi.com/v1", baseEnv: "COMETAPI_BASE_URL", keyEnv: []string{"COMETAPI_API_KEY"}},
	DeepSeek:   {base: "https://api.deepseek.com/v1", baseEnv: "DEEPSEEK_BASE_URL", keyEnv: []string{"DEEPSEEK_API_KEY"}, model: "deepseek-chat"},
	Fireworks:  {base: "https://api.fireworks.ai/inference/v1", baseEnv: "FIREWORKS_BASE_URL", keyEnv: []string{"FIREWORKS_API_KEY"}},
	Groq:       {base: "https://api.groq.com/openai/v1", baseEnv: "GROQ_BASE_URL", keyEnv: []string{"GROQ_API_KEY"}, model: "llama-3.3-70b-versatile"},
	LlamaCPP:   {base: "http://localhost:8080/v1", baseEnv: "LLAMA_CPP_BASE_URL", model: "default"},
	Mistral:    {base: "https://api.mistral.ai/v1", baseEnv: "MISTRAL_BASE_URL", keyEnv: []string{"MISTRAL_API_KEY"}, model: "mistral-small-latest", noUsage: true},
	Nebius:     {base: "https://api.studio.nebius.com/v1", baseEnv: "NEBIUS_BASE_URL", keyEnv: []string{"NEBIUS_API_KEY"}},
	Ollama:     {base: "http://localhost:11434/v1", baseEnv: "OLLAMA_BASE_URL", model: "llama3.1"},
	OpenRouter: {base: "https://openrouter.ai/api/v1", baseEnv: "OPENROUTER_BASE_URL", keyEnv: []string{"OPENROUTER_API_KEY"}, model: "openrouter/auto"},
	OVHcloud:   {base: "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1", baseEnv: "OVHCLOUD_BASE_URL", keyEnv: []string{"OVHCLOUD_API_KEY"}},
	Perplexity: {base: "https://api.perplexity.ai", baseEnv: "PERPLEXITY_BASE_URL", keyEnv: []string{"PERPLEXITY_API_KEY"}, model: "sonar", noUsage: true},
	SambaNova:  {base: "https://api.sambanova.ai/v1", baseEnv: "SAMBANOVA_BASE_URL", keyEnv: []string{"SAMBANOVA_API_KEY"}},
	Telnyx:     {base: "https://api.telnyx.com/v2/ai", baseEnv: "TELNYX_BASE_URL", keyEnv: []string{"TELNYX_API_KEY"}},
	Together:   {base: "https://api.together.xyz/v1", baseEnv: "TOGETHER_BASE_URL", keyEnv: []string{"TOGETHER_API_KEY"}},
	VLLM:       {base: "http://localhost:8000/v1", baseEnv: "VLLM_BASE_URL", model: "default"},
	XAI:        {base: "https://api.x.ai/v1", baseEnv: "XAI_BASE_URL", keyEnv: []string{"XAI_API_KEY"}, model: "grok-3-fast"},
}

// Services are all services, sorted.
func Services() []Service {
	list := make([]Service, 0, len(presets))
	for s := range presets {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}

// provider is the name in usage: that of the service or, when the requests of OpenAI's preset go
// elsewhere, the host they go to.
func (s Service) provider(base *url.URL) string {
	if own, err := url.Parse(presets[s].base); s == OpenAI && (err != nil || own.Hostname() != base.Hostname()) {
		return base.Hostname()
	}
	return string(s)
}
