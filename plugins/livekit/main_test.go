package livekit

import (
	"flag"
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/livekitbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/llm/llmtest"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/stt/stttest"
	"github.com/parley-go/parley/tts/ttstest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "12") // the kits wait more than they work
	goleak.VerifyTestMain(m)
}

func listen(t testing.TB, p fault.Plan, bo livekitbox.STTOptions, o STTOptions) (*sandbox.Server, *livekitbox.Gateway, *recognizer) {
	t.Helper()
	box := sandbox.Start(t, p)
	g := livekitbox.New(box)
	g.STT(bo)
	o.APIKey, o.APISecret, o.BaseURL = livekitbox.APIKey, box.Key, box.URL()+"/v1"
	if o.Model == "" {
		o.Model = "deepgram/nova-3"
	}
	r, err := newSTT(&o)
	if err != nil {
		t.Fatal(err)
	}
	return box, g, r
}

func speak(t testing.TB, p fault.Plan, bo livekitbox.TTSOptions, o TTSOptions) (*sandbox.Server, *livekitbox.Gateway, *synthesizer) {
	t.Helper()
	box := sandbox.Start(t, p)
	g := livekitbox.New(box)
	g.TTS(bo)
	o.APIKey, o.APISecret, o.BaseURL = livekitbox.APIKey, box.Key, box.URL()+"/v1"
	if o.Model == "" {
		o.Model = "cartesia/sonic-3:katie"
	}
	d, err := newTTS(&o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close(t.Context()) })
	return box, g, d
}

func TestLLMConformance(t *testing.T) { t.Parallel(); llmtest.Run(t, chatHarness{}) }

type chatHarness struct{}

func (chatHarness) Stage(t *testing.T, s llmtest.Scene) *llmtest.Stage {
	box := sandbox.Start(t, fault.Plan{Kind: s.Fault, Times: s.Times})
	livekitbox.New(box).Chat(openaibox.ChatOptions{Answer: openaibox.Says(s.Tool)})
	m, err := NewLLM(&LLMOptions{
		Model: "openai/gpt-4.1-mini", APIKey: livekitbox.APIKey, APISecret: box.Key, BaseURL: box.URL() + "/v1",
	})
	if err != nil {
		t.Fatal(err)
	}
	return &llmtest.Stage{LLM: m.Driver(), Text: openaibox.ChatText, Usage: box.LLM, Billed: box.LLMBilled, Dials: box.Dials, Secrets: []string{box.Key}}
}

func TestSTTConformance(t *testing.T) {
	t.Parallel()
	h := stttest.Harness{
		Speech: sandbox.EarSpeech(sttRate), Text: sandbox.EarText, Secret: sandbox.DefaultKey,
		Start: func(t testing.TB, p fault.Plan) stttest.Provider {
			box, _, r := listen(t, p, livekitbox.STTOptions{}, STTOptions{})
			return stttest.Provider{Driver: r, Served: func() stttest.Served {
				return stttest.Served{Audio: box.Audio(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
			}}
		},
	}
	for _, c := range stttest.Cases() {
		t.Run(c.Name, func(t *testing.T) { t.Parallel(); c.Run(t, h) }) // each waits a second for trailing finals
	}
}

func TestTTSConformance(t *testing.T) {
	t.Parallel()
	ttstest.Run(t, ttstest.Harness{
		Secret: sandbox.DefaultKey, CountReplays: true,
		Start: func(t testing.TB, p fault.Plan) ttstest.Provider {
			box, _, d := speak(t, p, livekitbox.TTSOptions{}, TTSOptions{Extra: map[string]any{"add_timestamps": true}})
			return ttstest.Provider{Driver: d, Served: func() ttstest.Served {
				return ttstest.Served{Characters: box.Characters(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
			}}
		},
	})
}
