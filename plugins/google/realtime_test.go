package google

import (
	"reflect"
	"strings"
	"testing"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime/driver"
)

var (
	noTranscription = opt.Off[RealtimeTranscription]()
	onVertexAI      = opt.Some(true)
)

func frameOf(samples ...int16) audio.Frame {
	return audio.Frame{Data: samples, Rate: liveInputRate, Channels: 1}
}

// Thoughts are output, outputs of tools are input, and what was cached is told by kind.
func TestRealtimeUsage(t *testing.T) {
	t.Parallel()
	var u liveUsage
	raw := `{"promptTokenCount": 522, "cachedContentTokenCount": 140, "toolUsePromptTokenCount": 11, "responseTokenCount": 64, "thoughtsTokenCount": 136, "totalTokenCount": 597,
		"promptTokensDetails": [{"modality": "TEXT", "tokenCount": 332}, {"modality": "AUDIO", "tokenCount": 165}, {"modality": "VIDEO", "tokenCount": 20}, {"modality": "DOCUMENT", "tokenCount": 5}],
		"toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 11}],
		"cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 100}, {"modality": "AUDIO", "tokenCount": 30}, {"modality": "IMAGE", "tokenCount": 10}],
		"responseTokensDetails": [{"modality": "TEXT", "tokenCount": 22}, {"modality": "AUDIO", "tokenCount": 42}]}`
	if err := u.UnmarshalJSON([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	got := u.driver()
	want := driver.Usage{
		InputTokens: 533, OutputTokens: 200, TotalTokens: 733,
		Input: metrics.InputTokenDetails{TextTokens: 343, AudioTokens: 165, ImageTokens: 20, CachedTokens: 140,
			CachedTokensDetails: &metrics.CachedTokenDetails{TextTokens: 100, AudioTokens: 30, ImageTokens: 10}},
		Output: metrics.OutputTokenDetails{TextTokens: 158, AudioTokens: 42},
		Raw:    []byte(raw),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestRealtimeMissingKey(t *testing.T) {
	for _, name := range []string{"GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"} {
		t.Setenv(name, "")
	}
	_, err := NewRealtime(nil)
	if err == nil || !strings.Contains(err.Error(), "GOOGLE_API_KEY") || !strings.Contains(err.Error(), "RealtimeOptions.APIKey") {
		t.Errorf("the error is %v", err)
	}
	_, err = NewRealtime(&RealtimeOptions{VertexAI: onVertexAI, Credentials: Credentials{AccessToken: "token"}})
	if err == nil || !strings.Contains(err.Error(), "GOOGLE_CLOUD_PROJECT") {
		t.Errorf("the error is %v", err)
	}
	_, err = NewRealtime(&RealtimeOptions{APIKey: "key", ThinkingLevel: "low", ThinkingBudget: opt.Some(0)})
	if err == nil {
		t.Error("thoughts were limited twice")
	}
}
