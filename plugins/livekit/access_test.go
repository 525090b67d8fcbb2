package livekit

import (
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/sandbox/livekitbox"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/stt/driver"
)

func TestCredentialsAndAddresses(t *testing.T) {
	for name, c := range map[string]struct {
		env               map[string]string
		key, secret, base string
		missing           string
	}{
		"own": {env: map[string]string{
			"LIVEKIT_INFERENCE_API_KEY": "ik", "LIVEKIT_INFERENCE_API_SECRET": "is", "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s",
			"LIVEKIT_INFERENCE_URL": "https://gateway.test/v1/", "LIVEKIT_URL": "wss://x.staging.livekit.cloud",
		}, key: "ik", secret: "is", base: "https://gateway.test/v1"},
		"the project's": {env: map[string]string{"LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s", "LIVEKIT_URL": "wss://x.livekit.cloud"},
			key: "k", secret: "s", base: defaultBase},
		"staging": {env: map[string]string{"LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s", "LIVEKIT_URL": "wss://x.staging.livekit.cloud"},
			key: "k", secret: "s", base: stagingBase},
		"no key":    {missing: "LIVEKIT_API_KEY"},
		"no secret": {env: map[string]string{"LIVEKIT_API_KEY": "k"}, missing: "LIVEKIT_API_SECRET"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range []string{"LIVEKIT_INFERENCE_API_KEY", "LIVEKIT_INFERENCE_API_SECRET", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LIVEKIT_INFERENCE_URL", "LIVEKIT_URL"} {
				t.Setenv(v, c.env[v])
			}
			a, err := newAccess("XOptions", "stt", "a/b", "", "", "")
			if c.missing != "" {
				if err == nil || !strings.Contains(err.Error(), c.missing) {
					t.Errorf("error is %v", err)
				}
				return
			}
			if err != nil || a.key != c.key || a.secret != c.secret || a.base.String() != c.base {
				t.Errorf("%s %s %s, %v", a.key, a.secret, a.base, err)
			}
		})
	}
}

func TestAModelMustBeNamed(t *testing.T) {
	t.Parallel()
	_, l := NewLLM(nil)
	_, s := NewSTT(nil)
	_, v := NewTTS(nil)
	for want, err := range map[string]error{"LLMOptions.Model": l, "STTOptions.Model": s, "TTSOptions.Model": v} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one about %s", err, want)
		}
	}
	if _, err := NewLLM(&LLMOptions{Model: "a/b", APIKey: "k", APISecret: "s", Priority: "high"}); err == nil || !strings.Contains(err.Error(), "Priority") {
		t.Errorf("error is %v", err)
	}
}

// A token is good for ten minutes: whoever saw it in a log could use it.
func TestTokensAreNotTold(t *testing.T) {
	t.Parallel()
	_, _, r := listen(t, fault.Plan{}, livekitbox.STTOptions{}, STTOptions{})
	r.secret = "another"
	_, err := r.Open(t.Context(), driver.Options{}) // the sandbox says the token
	if err == nil || strings.Contains(err.Error(), "eyJ") || !strings.Contains(err.Error(), "invalid token [token]: bad signature") {
		t.Errorf("error is %v", err)
	}
}
