package openai

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
)

func some[T any](v T) opt.Value[T] { return opt.Some(v) }

func off[T any]() opt.Value[T] { return opt.Off[T]() }

// clearEnv hides the keys and addresses of the machine from a test.
func clearEnv(t *testing.T) {
	for _, p := range presets {
		for _, name := range append([]string{p.baseEnv, p.tokenEnv}, p.keyEnv...) {
			if name != "" {
				t.Setenv(name, "")
			}
		}
	}
	for _, name := range []string{"OPENAI_API_VERSION", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"} {
		t.Setenv(name, "")
	}
}

func TestServices(t *testing.T) {
	clearEnv(t)
	want := map[Service]struct{ url, model, key string }{
		OpenAI:     {"https://api.openai.com/v1/chat/completions", "gpt-4.1", "OPENAI_API_KEY"},
		Azure:      {"https://res.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", "gpt-4o", "AZURE_OPENAI_API_KEY"},
		Cerebras:   {"https://api.cerebras.ai/v1/chat/completions", "gpt-oss-120b", "CEREBRAS_API_KEY"},
		CometAPI:   {"https://api.cometapi.com/v1/chat/completions", "", "COMETAPI_API_KEY"},
		DeepSeek:   {"https://api.deepseek.com/v1/chat/completions", "deepseek-chat", "DEEPSEEK_API_KEY"},
		Fireworks:  {"https://api.fireworks.ai/inference/v1/chat/completions", "", "FIREWORKS_API_KEY"},
		Groq:       {"https://api.groq.com/openai/v1/chat/completions", "llama-3.3-70b-versatile", "GROQ_API_KEY"},
		Letta:      {"https://api.letta.com/v1/voice-beta/some-model/chat/completions", "", "LETTA_API_KEY"},
		LlamaCPP:   {"http://localhost:8080/v1/chat/completions", "default", ""},
		Mistral:    {"https://api.mistral.ai/v1/chat/completions", "mistral-small-latest", "MISTRAL_API_KEY"},
		Nebius:     {"https://api.studio.nebius.com/v1/chat/completions", "", "NEBIUS_API_KEY"},
		Ollama:     {"http://localhost:11434/v1/chat/completions", "llama3.1", ""},
		OpenRouter: {"https://openrouter.ai/api/v1/chat/completions", "openrouter/auto", "OPENROUTER_API_KEY"},
		OVHcloud:   {"https://oai.endpoints.kepler.ai.cloud.ovh.net/v1/chat/completions", "", "OVHCLOUD_API_KEY"},
		Perplexity: {"https://api.perplexity.ai/chat/completions", "sonar", "PERPLEXITY_API_KEY"},
		SambaNova:  {"https://api.sambanova.ai/v1/chat/completions", "", "SAMBANOVA_API_KEY"},
		Telnyx:     {"https://api.telnyx.com/v2/ai/chat/completions", "", "TELNYX_API_KEY"},
		Together:   {"https://api.together.xyz/v1/chat/completions", "", "TOGETHER_API_KEY"},
		VLLM:       {"http://localhost:8000/v1/chat/completions", "default", ""},
		XAI:        {"https://api.x.ai/v1/chat/completions", "grok-3-fast", "XAI_API_KEY"},
	}
	if len(want) != len(Services()) {
		t.Fatalf("%d services are tested of %d", len(want), len(Services()))
	}
	for s, w := range want {
		t.Run(string(s), func(t *testing.T) {
			net := &canned{body: events(done)}
			o := LLMOptions{Service: s, HTTPClient: net.client()}
			if s == Azure {
				if _, err := newChat(&o); err == nil || !strings.Contains(err.Error(), "AZURE_OPENAI_ENDPOINT") {
					t.Fatalf("without an endpoint: %v", err)
				}
				o.BaseURL = "https://res.openai.azure.com/"
			}
			if w.model == "" {
				if _, err := newChat(&o); err == nil || !strings.Contains(err.Error(), "LLMOptions.Model") {
					t.Fatalf("without a model: %v", err)
				}
				w.model, o.Model = "some-model", "some-model"
			}
			_, err := newChat(&o)
			if w.key != "" {
				if err == nil || !strings.Contains(err.Error(), w.key) || !strings.Contains(err.Error(), "LLMOptions.APIKey") {
					t.Fatalf("without a key: %v", err)
				}
				t.Setenv(w.key, "the-key")
			}
			d, err := newChat(&o)
			if err != nil {
				t.Fatal(err)
			}
			collect(d, question())
			if got := net.request.URL.String(); got != w.url || net.fields(t)["model"] != w.model {
				t.Fatalf("asked %s for %v", got, net.fields(t)["model"])
			}
			auth, key := net.request.Header.Get("Authorization"), net.request.Header.Get("Api-Key")
			switch {
			case s == Azure:
				if auth != "" || key != "the-key" {
					t.Fatalf("authorization %q, api-key %q", auth, key)
				}
			case w.key == "" && auth+key != "", w.key != "" && (auth != "Bearer the-key" || key != ""):
				t.Fatalf("authorization %q, api-key %q", auth, key)
			}
			if i := d.Info(); i.Provider != string(s) || i.Model != w.model || i.Label != "openai.LLM" {
				t.Fatalf("%+v", i)
			}
			d.Prewarm(context.Background())
			if got := net.request.URL.String(); net.request.Method != http.MethodGet || got != strings.Replace(w.url, "/chat/completions", "/models", 1) {
				t.Fatalf("prewarmed with %s %s", net.request.Method, got)
			}
		})
	}
}

func TestAzure(t *testing.T) {
	clearEnv(t)
	t.Setenv("AZURE_OPENAI_ENDPOINT", "https://res.openai.azure.com")
	t.Setenv("AZURE_OPENAI_API_KEY", "the-key")
	ask := func(o LLMOptions) *http.Request {
		t.Helper()
		net := &canned{body: events(done)}
		o.Service, o.HTTPClient = Azure, net.client()
		d, err := newChat(&o)
		if err != nil {
			t.Fatal(err)
		}
		collect(d, question())
		return net.request
	}
	is := func(r *http.Request, url, key, auth string) {
		t.Helper()
		if r.URL.String() != url || r.Header.Get("Api-Key") != key || r.Header.Get("Authorization") != auth {
			t.Fatalf("%s with %v", r.URL, r.Header)
		}
	}
	is(ask(LLMOptions{Deployment: "mine", APIVersion: "2025-01-01-preview"}),
		"https://res.openai.azure.com/openai/deployments/mine/chat/completions?api-version=2025-01-01-preview", "the-key", "")
	is(ask(LLMOptions{BaseURL: "https://res.openai.azure.com/openai/v1/"}), "https://res.openai.azure.com/openai/v1/chat/completions", "the-key", "")
	is(ask(LLMOptions{ADToken: "token"}),
		"https://res.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", "", "Bearer token")
	t.Setenv("OPENAI_API_VERSION", "2024-12-01")
	t.Setenv("AZURE_OPENAI_AD_TOKEN", "env-token")
	is(ask(LLMOptions{}), "https://res.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-12-01", "", "Bearer env-token")
	is(ask(LLMOptions{APIKey: "own-key"}), "https://res.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-12-01", "own-key", "")
}

func TestWhoPays(t *testing.T) {
	clearEnv(t)
	t.Setenv("OPENAI_ORG_ID", "org")
	t.Setenv("OPENAI_PROJECT_ID", "project")
	for s, want := range map[Service]string{OpenAI: "org project", Groq: " "} {
		net := &canned{body: events(done)}
		d, err := newChat(&LLMOptions{Service: s, APIKey: "key", HTTPClient: net.client()})
		if err != nil {
			t.Fatal(err)
		}
		collect(d, question())
		if got := net.request.Header.Get("OpenAI-Organization") + " " + net.request.Header.Get("OpenAI-Project"); got != want {
			t.Fatalf("%s: %q", s, got)
		}
	}
}

func TestProviderNames(t *testing.T) {
	clearEnv(t)
	for base, want := range map[string]string{"": "openai", "https://api.openai.com/v1": "openai", "https://user:secret@own.test:8443/v1": "own.test"} {
		d, err := newChat(&LLMOptions{APIKey: "key", BaseURL: base})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Info().Provider; got != want {
			t.Fatalf("%q is %q", base, got)
		}
	}
	t.Setenv("GROQ_BASE_URL", "https://proxy.test/groq")
	d, err := newChat(&LLMOptions{Service: Groq, APIKey: "key"})
	if err != nil || d.Info().Provider != "groq" || d.base.Host != "proxy.test" {
		t.Fatalf("%+v, %v", d, err)
	}
	if _, err := newChat(&LLMOptions{Service: "nobody"}); err == nil {
		t.Fatal("an unknown service was taken")
	}
}

func TestGatewayNeedsAddressAndModel(t *testing.T) {
	t.Setenv("OPENAI_BASE_URL", "https://elsewhere.test")
	for _, o := range []LLMOptions{{Gateway: &Gateway{}, Model: "a/b"}, {Gateway: &Gateway{}, BaseURL: "https://gateway.test/v1"}} {
		if _, err := NewLLM(&o); err == nil || !strings.Contains(err.Error(), "LLMOptions.BaseURL and LLMOptions.Model") {
			t.Errorf("error is %v", err)
		}
	}
	m, err := NewLLM(&LLMOptions{Gateway: &Gateway{Info: model.Info{Label: "mine.LLM", Provider: "mine", Model: "b"}}, BaseURL: "https://gateway.test/v1", Model: "a/b"})
	if err != nil || m.Info().Provider != "mine" {
		t.Errorf("%+v, %v", m, err)
	}
}
