package openai

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
)

// Service is a provider that speaks OpenAI's protocols, most of them chat completions only.
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
	Letta      Service = "letta"     // its model is the id of an agent
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
	tokenEnv  string   // of a token that is sent as a bearer instead of a key

	model, stt, tts, voice         string // default models; "" if one must be named
	realtime, speaker, transcriber string // likewise, for conversations
	noUsage                        bool   // refuses stream_options, and states usage by itself
	socket                         bool   // has the websocket of responses
	shortIDs                       bool   // takes no ids of tool calls but those of nine letters and digits
	developer                      bool   // knows developer messages
}

var presets = map[Service]preset{
	OpenAI: {base: "https://api.openai.com/v1", baseEnv: "OPENAI_BASE_URL", keyEnv: []string{"OPENAI_API_KEY"}, model: "gpt-4.1",
		stt: "gpt-4o-mini-transcribe", tts: "gpt-4o-mini-tts", voice: "ash", socket: true, developer: true,
		realtime: "gpt-realtime", speaker: "marin", transcriber: "gpt-4o-mini-transcribe"},
	Azure: {baseEnv: "AZURE_OPENAI_ENDPOINT", keyEnv: []string{"AZURE_OPENAI_API_KEY"}, keyHeader: "api-key",
		tokenEnv: "AZURE_OPENAI_AD_TOKEN", model: "gpt-4o", stt: "gpt-4o-mini-transcribe", tts: "gpt-4o-mini-tts", voice: "ash", developer: true,
		realtime: "gpt-realtime", speaker: "marin", transcriber: "whisper-1"},
	Cerebras:  {base: "https://api.cerebras.ai/v1", baseEnv: "CEREBRAS_BASE_URL", keyEnv: []string{"CEREBRAS_API_KEY"}, model: "gpt-oss-120b"},
	CometAPI:  {base: "https://api.cometapi.com/v1", baseEnv: "COMETAPI_BASE_URL", keyEnv: []string{"COMETAPI_API_KEY"}},
	DeepSeek:  {base: "https://api.deepseek.com/v1", baseEnv: "DEEPSEEK_BASE_URL", keyEnv: []string{"DEEPSEEK_API_KEY"}, model: "deepseek-chat"},
	Fireworks: {base: "https://api.fireworks.ai/inference/v1", baseEnv: "FIREWORKS_BASE_URL", keyEnv: []string{"FIREWORKS_API_KEY"}},
	Groq: {base: "https://api.groq.com/openai/v1", baseEnv: "GROQ_BASE_URL", keyEnv: []string{"GROQ_API_KEY"}, model: "llama-3.3-70b-versatile",
		stt: "whisper-large-v3-turbo", tts: "canopylabs/orpheus-v1-english", voice: "autumn"},
	Letta:      {base: "https://api.letta.com/v1/voice-beta", baseEnv: "LETTA_BASE_URL", keyEnv: []string{"LETTA_API_KEY"}},
	LlamaCPP:   {base: "http://localhost:8080/v1", baseEnv: "LLAMA_CPP_BASE_URL", model: "default"},
	Mistral:    {base: "https://api.mistral.ai/v1", baseEnv: "MISTRAL_BASE_URL", keyEnv: []string{"MISTRAL_API_KEY"}, model: "mistral-small-latest", noUsage: true, shortIDs: true},
	Nebius:     {base: "https://api.studio.nebius.com/v1", baseEnv: "NEBIUS_BASE_URL", keyEnv: []string{"NEBIUS_API_KEY"}},
	Ollama:     {base: "http://localhost:11434/v1", baseEnv: "OLLAMA_BASE_URL", model: "llama3.1"},
	OpenRouter: {base: "https://openrouter.ai/api/v1", baseEnv: "OPENROUTER_BASE_URL", keyEnv: []string{"OPENROUTER_API_KEY"}, model: "openrouter/auto"},
	OVHcloud:   {base: "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1", baseEnv: "OVHCLOUD_BASE_URL", keyEnv: []string{"OVHCLOUD_API_KEY"}},
	Perplexity: {base: "https://api.perplexity.ai", baseEnv: "PERPLEXITY_BASE_URL", keyEnv: []string{"PERPLEXITY_API_KEY"}, model: "sonar", noUsage: true},
	SambaNova:  {base: "https://api.sambanova.ai/v1", baseEnv: "SAMBANOVA_BASE_URL", keyEnv: []string{"SAMBANOVA_API_KEY"}},
	Telnyx:     {base: "https://api.telnyx.com/v2/ai", baseEnv: "TELNYX_BASE_URL", keyEnv: []string{"TELNYX_API_KEY"}},
	Together:   {base: "https://api.together.xyz/v1", baseEnv: "TOGETHER_BASE_URL", keyEnv: []string{"TOGETHER_API_KEY"}},
	VLLM:       {base: "http://localhost:8000/v1", baseEnv: "VLLM_BASE_URL", model: "default"},
	XAI: {base: "https://api.x.ai/v1", baseEnv: "XAI_BASE_URL", keyEnv: []string{"XAI_API_KEY"}, model: "grok-3-fast", socket: true,
		realtime: "grok-voice-latest", speaker: "Ara", transcriber: "grok-transcribe"},
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

// account is what the options of all models say about whom to ask, and who asks.
type account struct {
	kind, label, options     string // e.g. "llm", "openai.LLM", "LLMOptions"
	service                  Service
	key, token, base, model  string
	std                      func(preset) string // the default model
	deployment, azureVersion string
	azureV1                  bool // the model speaks what Azure has without deployments only
	gateway                  *Gateway
	header                   http.Header
	http                     *http.Client
}

// endpoint is a service as a model reaches it.
type endpoint struct {
	wire.Client
	service Service
	preset
	model  string
	base   *url.URL
	header http.Header // credentials, and what the user adds
	// authorize, if set, adds the credentials of a request.
	authorize func(ctx context.Context, h http.Header) error
}

func (a account) endpoint() (*endpoint, error) {
	if a.service == "" {
		a.service = OpenAI
	}
	p, ok := presets[a.service]
	if !ok {
		return nil, fmt.Errorf("openai: unknown service %q", a.service)
	}
	e := &endpoint{service: a.service, preset: p, model: a.model, header: http.Header{}}
	if e.model == "" {
		if e.model = a.std(p); e.model == "" {
			return nil, fmt.Errorf("openai: %s needs %s.Model", a.service, a.options)
		}
	}
	if a.gateway != nil && (a.base == "" || a.model == "") {
		return nil, fmt.Errorf("openai: a gateway needs %s.BaseURL and %s.Model", a.options, a.options)
	}
	var err error
	if e.base, err = wire.Base("openai", a.base, p.base, p.baseEnv); err != nil {
		return nil, fmt.Errorf("%w: set %s.BaseURL or %s", err, a.options, p.baseEnv)
	}
	maps.Copy(e.header, a.header)
	if a.gateway != nil {
		e.behind(a)
		return e, nil
	}
	secret, err := a.authorize(p, e.header)
	if err != nil {
		return nil, err
	}
	switch a.service {
	case OpenAI:
		organisation(e.header)
	case Azure:
		e.azure(a)
	case Letta:
		e.base = e.base.JoinPath(e.model)
	}
	e.Client = wire.Client{
		Peer: wire.Peer{
			Info: model.Info{Label: a.label, Provider: a.service.provider(e.base), Model: e.model},
			Kind: a.kind, Secrets: []string{secret},
		},
		HTTP: a.http,
	}
	return e, nil
}

// authorize puts the key, or the token, into h and returns it.
func (a account) authorize(p preset, h http.Header) (secret string, err error) {
	if a.token == "" && a.key == "" && p.tokenEnv != "" {
		a.token = strings.TrimSpace(os.Getenv(p.tokenEnv))
	}
	if p.tokenEnv != "" && a.token != "" {
		h.Set("Authorization", "Bearer "+a.token)
		return a.token, nil
	}
	if len(p.keyEnv) > 0 {
		if a.key, err = wire.Key("openai", a.options+".APIKey", a.key, p.keyEnv...); err != nil {
			return "", err
		}
	}
	switch {
	case p.keyHeader != "":
		h.Set(p.keyHeader, a.key)
	case a.key != "":
		h.Set("Authorization", "Bearer "+a.key)
	}
	return a.key, nil
}

const (
	defaultAzureVersion = "2024-10-21"
	azureV1             = "/openai/v1" // the end of the base URL that needs no deployment and no version
)

// azure makes the base URL that of a deployment, unless the user gave one, or the model has one, that
// needs none.
func (e *endpoint) azure(a account) {
	if strings.HasSuffix(e.base.Path, azureV1) {
		return
	}
	if a.azureV1 {
		e.base = e.base.JoinPath(azureV1)
		return
	}
	deployment, version := a.deployment, a.azureVersion
	if deployment == "" {
		deployment = e.model
	}
	if version == "" {
		version = os.Getenv("OPENAI_API_VERSION")
	}
	if version == "" {
		version = defaultAzureVersion
	}
	e.base = e.base.JoinPath("openai", "deployments", deployment)
	e.base.RawQuery = url.Values{"api-version": {version}}.Encode()
}

// organisation adds who pays, for keys of several organisations.
func organisation(h http.Header) {
	for header, env := range map[string]string{"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"} {
		if v := os.Getenv(env); v != "" && h.Get(header) == "" {
			h.Set(header, v)
		}
	}
}

// jsonHeader is the header of a request whose body is JSON.
func (e *endpoint) jsonHeader() http.Header {
	h := e.header.Clone()
	h.Set("Content-Type", "application/json")
	return h
}

// reasons reports whether the model is one of OpenAI's that think before they answer.
func (e *endpoint) reasons() bool {
	if e.service != OpenAI && e.service != Azure || strings.Contains(e.model, "-chat") {
		return false
	}
	for _, p := range []string{"o1", "o3", "o4", "gpt-5"} {
		if strings.HasPrefix(e.name(), p) {
			return true
		}
	}
	return false
}

// effort is how much the model is to think: what the user wants, else the least that it takes.
func (e *endpoint) effort(wanted string) string {
	switch m := e.name(); {
	case wanted != "" || !e.reasons() || !strings.HasPrefix(m, "gpt-5") || strings.Contains(m, "-pro") || strings.Contains(m, "-codex"):
		return wanted
	case strings.HasPrefix(m, "gpt-5."):
		return "none"
	default:
		return "minimal"
	}
}
