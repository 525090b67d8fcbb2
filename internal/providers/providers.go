// Package providers is the list of the models that Parley's plugins have; docs/providers.md is made of it.
package providers

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/plugins/anthropic"
	"github.com/parley-go/parley/plugins/assemblyai"
	"github.com/parley-go/parley/plugins/asyncai"
	"github.com/parley-go/parley/plugins/cartesia"
	"github.com/parley-go/parley/plugins/deepgram"
	"github.com/parley-go/parley/plugins/elevenlabs"
	"github.com/parley-go/parley/plugins/google"
	"github.com/parley-go/parley/plugins/livekit"
	"github.com/parley-go/parley/plugins/murf"
	"github.com/parley-go/parley/plugins/neuphonic"
	"github.com/parley-go/parley/plugins/nvidia"
	"github.com/parley-go/parley/plugins/openai"
	"github.com/parley-go/parley/plugins/phonic"
	"github.com/parley-go/parley/plugins/resemble"
	"github.com/parley-go/parley/plugins/rime"
	"github.com/parley-go/parley/plugins/sarvam"
	"github.com/parley-go/parley/plugins/soniox"
	"github.com/parley-go/parley/plugins/speechmatics"
	"github.com/parley-go/parley/plugins/ultravox"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/tts"
)

// How an amount gets into the usage.
const (
	stated   = "stated"   // the provider says what it bills
	measured = "measured" // we count what was sent
)

// Model is a constructor of a plugin.
type Model struct {
	Plugin string // folder
	Func   string // as it is called, with the options that choose it
	Kind   string // LLM, STT, TTS or Realtime
	Env    string // variables of key and base URL
	Bills  string // what the provider bills by, and who says how much
	New    func(key string) (any, error)
	Notes  string
}

// elsewhere describes a realtime model whose module this one does not know. A test of that module compares.
type elsewhere struct {
	model string
	can   realtime.Capabilities
}

// All is every model of every plugin of a provider.
func All() []Model {
	list := []Model{
		{"anthropic", "NewLLM", "LLM", "ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL", "tokens, " + stated,
			func(k string) (any, error) { return anthropic.NewLLM(&anthropic.LLMOptions{APIKey: k}) }, "prompt caching"},
		{"assemblyai", "NewSTT", "STT", "ASSEMBLYAI_API_KEY, ASSEMBLYAI_BASE_URL", "audio, " + measured + ", then " + stated,
			func(k string) (any, error) { return assemblyai.NewSTT(&assemblyai.STTOptions{APIKey: k}) }, "finds turns; preflight"},
		{"asyncai", "NewTTS", "TTS", "ASYNCAI_API_KEY, ASYNCAI_BASE_URL", "characters, " + measured,
			func(k string) (any, error) { return asyncai.NewTTS(&asyncai.TTSOptions{APIKey: k}) }, ""},
		{"aws", "NewRealtime", "Realtime", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "tokens, " + stated,
			func(string) (any, error) {
				return elsewhere{"amazon.nova-2-sonic-v1:0", realtime.Capabilities{ServerTurns: true, UserTranscription: true, AudioOutput: true, OutputRate: 24000}}, nil
			}, "Nova Sonic, a module of its own; also the rest of AWS's credential chain"},
		{"cartesia", "NewSTT", "STT", "CARTESIA_API_KEY, CARTESIA_BASE_URL", "audio, " + measured,
			func(k string) (any, error) { return cartesia.NewSTT(&cartesia.STTOptions{APIKey: k}) }, "ink-2 finds turns, English only; ink-whisper for other languages"},
		{"cartesia", "NewTTS", "TTS", "CARTESIA_API_KEY, CARTESIA_BASE_URL", "characters, " + measured,
			func(k string) (any, error) { return cartesia.NewTTS(&cartesia.TTSOptions{APIKey: k}) }, ""},
		{"deepgram", "NewSTT", "STT", "DEEPGRAM_API_KEY, DEEPGRAM_BASE_URL", "audio, " + measured + ", then " + stated,
			func(k string) (any, error) { return deepgram.NewSTT(&deepgram.STTOptions{APIKey: k}) }, ""},
		{"deepgram", "NewFlux", "STT", "DEEPGRAM_API_KEY, DEEPGRAM_BASE_URL", "audio, " + measured,
			func(k string) (any, error) { return deepgram.NewFlux(&deepgram.FluxOptions{APIKey: k}) }, "finds turns; preflight"},
		{"deepgram", "NewTTS", "TTS", "DEEPGRAM_API_KEY, DEEPGRAM_BASE_URL", "characters, " + measured,
			func(k string) (any, error) { return deepgram.NewTTS(&deepgram.TTSOptions{APIKey: k}) }, ""},
		{"elevenlabs", "NewSTT", "STT", "ELEVEN_API_KEY or ELEVENLABS_API_KEY, ELEVEN_BASE_URL", "audio, " + measured,
			func(k string) (any, error) { return elevenlabs.NewSTT(&elevenlabs.STTOptions{APIKey: k}) }, "Scribe realtime; scribe_v1 and scribe_v2 for whole utterances"},
		{"elevenlabs", "NewTTS", "TTS", "ELEVEN_API_KEY or ELEVENLABS_API_KEY, ELEVEN_BASE_URL", "characters, " + measured,
			func(k string) (any, error) { return elevenlabs.NewTTS(&elevenlabs.TTSOptions{APIKey: k}) }, "several speeches on one websocket"},
		{"google", "NewLLM", "LLM", "GOOGLE_API_KEY or GEMINI_API_KEY, GOOGLE_GEMINI_BASE_URL", "tokens, " + stated,
			func(k string) (any, error) { return google.NewLLM(&google.LLMOptions{APIKey: k}) }, "Gemini; Vertex AI with VertexAI"},
		{"google", "NewRealtime", "Realtime", "GOOGLE_API_KEY or GEMINI_API_KEY, GOOGLE_GEMINI_BASE_URL", "tokens, " + stated,
			func(k string) (any, error) { return google.NewRealtime(&google.RealtimeOptions{APIKey: k}) }, "Gemini Live; Vertex AI with VertexAI"},
		{"google", "NewSTT", "STT", "GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_SPEECH_BASE_URL", "audio, " + measured + ", then " + stated,
			func(k string) (any, error) {
				return google.NewSTT(&google.STTOptions{Credentials: google.Credentials{AccessToken: k}, Project: "project"})
			}, "Cloud Speech-to-Text v2 over gRPC"},
		{"livekit", "NewLLM", "LLM", liveKitEnv, "tokens, " + stated,
			func(k string) (any, error) {
				return (&livekit.Gateway{APIKey: k, APISecret: k}).LLM("openai/gpt-4.1-mini")
			}, "LiveKit Inference: `session.Options.Models`; the model is an example, without one it is an error"},
		{"livekit", "NewSTT", "STT", liveKitEnv, "audio, " + measured,
			func(k string) (any, error) { return (&livekit.Gateway{APIKey: k, APISecret: k}).STT("deepgram/nova-3") }, "the same"},
		{"livekit", "NewTTS", "TTS", liveKitEnv, "characters, " + measured,
			func(k string) (any, error) {
				return (&livekit.Gateway{APIKey: k, APISecret: k}).TTS("cartesia/sonic-3")
			}, "the same"},
		{"murf", "NewTTS", "TTS", "MURF_API_KEY, MURF_BASE_URL", "characters, " + measured,
			func(k string) (any, error) { return murf.NewTTS(&murf.TTSOptions{APIKey: k}) }, ""},
		{"neuphonic", "NewTTS", "TTS", "NEUPHONIC_API_KEY, NEUPHONIC_BASE_URL", "characters, " + measured,
			func(k string) (any, error) { return neuphonic.NewTTS(&neuphonic.TTSOptions{APIKey: k}) }, ""},
		{"nvidia", "NewRealtime", "Realtime", "PERSONAPLEX_URL", "time of connections, " + measured,
			func(string) (any, error) { return nvidia.NewRealtime(nil) }, "PersonaPlex on a GPU of one's own, without a key; no tools"},
		{"openai", "NewLLM", "LLM", "OPENAI_API_KEY, OPENAI_BASE_URL", "tokens, " + stated,
			func(k string) (any, error) { return openai.NewLLM(&openai.LLMOptions{APIKey: k}) }, "chat completions; services below"},
		{"openai", "NewResponses", "LLM", "OPENAI_API_KEY, OPENAI_BASE_URL", "tokens, " + stated,
			func(k string) (any, error) { return openai.NewResponses(&openai.ResponsesOptions{APIKey: k}) }, "websocket that sends only what is new"},
		{"openai", "NewSTT", "STT", "OPENAI_API_KEY, OPENAI_BASE_URL", "tokens or audio, " + stated,
			func(k string) (any, error) { return openai.NewSTT(&openai.STTOptions{APIKey: k}) }, "also Groq and Azure"},
		{"openai", "NewSTT Realtime", "STT", "OPENAI_API_KEY, OPENAI_BASE_URL", "tokens or audio, " + stated,
			func(k string) (any, error) { return openai.NewSTT(&openai.STTOptions{APIKey: k, Realtime: true}) }, ""},
		{"openai", "NewTTS", "TTS", "OPENAI_API_KEY, OPENAI_BASE_URL", "tokens, " + stated + "; characters, " + measured,
			func(k string) (any, error) { return openai.NewTTS(&openai.TTSOptions{APIKey: k}) }, "also Groq"},
		{"openai", "NewRealtime", "Realtime", "OPENAI_API_KEY, OPENAI_BASE_URL", "tokens, " + stated + "; transcripts apart",
			func(k string) (any, error) { return openai.NewRealtime(&openai.RealtimeOptions{APIKey: k}) }, "also Azure, and services that speak the same"},
		{"openai", "NewRealtime XAI", "Realtime", "XAI_API_KEY, XAI_BASE_URL", "time of connections, " + measured,
			func(k string) (any, error) {
				return openai.NewRealtime(&openai.RealtimeOptions{Service: openai.XAI, APIKey: k})
			}, "Grok"},
		{"phonic", "NewRealtime", "Realtime", "PHONIC_API_KEY, PHONIC_BASE_URL", "time of connections, " + measured,
			func(k string) (any, error) { return phonic.NewRealtime(&phonic.RealtimeOptions{APIKey: k}) }, ""},
		{"resemble", "NewTTS", "TTS", "RESEMBLE_API_KEY, RESEMBLE_BASE_URL", "characters, " + measured,
			func(k string) (any, error) { return resemble.NewTTS(&resemble.TTSOptions{APIKey: k}) }, ""},
		{"rime", "NewTTS", "TTS", "RIME_API_KEY, RIME_BASE_URL", "characters, " + measured,
			func(k string) (any, error) { return rime.NewTTS(&rime.TTSOptions{APIKey: k}) }, ""},
		{"sarvam", "NewSTT", "STT", "SARVAM_API_KEY, SARVAM_BASE_URL", "audio, " + measured,
			func(k string) (any, error) { return sarvam.NewSTT(&sarvam.STTOptions{APIKey: k}) }, "Indian languages"},
		{"sarvam", "NewTTS", "TTS", "SARVAM_API_KEY, SARVAM_BASE_URL", "characters, " + measured,
			func(k string) (any, error) { return sarvam.NewTTS(&sarvam.TTSOptions{APIKey: k}) }, "Indian languages"},
		{"soniox", "NewSTT", "STT", "SONIOX_API_KEY, SONIOX_BASE_URL", "audio, " + measured + ", then " + stated,
			func(k string) (any, error) { return soniox.NewSTT(&soniox.STTOptions{APIKey: k}) }, "finds turns; preflight"},
		{"speechmatics", "NewSTT", "STT", "SPEECHMATICS_API_KEY, SPEECHMATICS_RT_URL", "audio, " + measured,
			func(k string) (any, error) { return speechmatics.NewSTT(&speechmatics.STTOptions{APIKey: k}) }, "finds turns"},
		{"ultravox", "NewRealtime", "Realtime", "ULTRAVOX_API_KEY, ULTRAVOX_BASE_URL", "time of connections, " + measured,
			func(k string) (any, error) { return ultravox.NewRealtime(&ultravox.RealtimeOptions{APIKey: k}) }, ""},
	}
	return list
}

const liveKitEnv = "LIVEKIT_INFERENCE_API_KEY and _SECRET or LIVEKIT_API_KEY and _SECRET, LIVEKIT_INFERENCE_URL"

// features are what the model itself says that it can do.
func features(m any) (model string, list []string) {
	switch m := m.(type) {
	case *llm.Model:
		return m.Info().Model, []string{"streaming", "tools"}
	case *stt.Model:
		c := m.Capabilities()
		for name, has := range map[string]bool{"streaming": m.Streaming(), "whole utterances": !m.Streaming(), "interim": c.InterimResults,
			"speakers": c.Diarization, "keyterms": c.Keyterms, c.AlignedTranscript + " times": c.AlignedTranscript != ""} {
			if has {
				list = append(list, name)
			}
		}
		slices.Sort(list)
		return m.Info().Model, list
	case *tts.Model:
		c := m.Capabilities()
		if m.Streaming() {
			list = append(list, "streaming")
		} else {
			list = append(list, "by sentence")
		}
		if c.AlignedTranscript {
			list = append(list, "word times")
		}
		return m.Info().Model, append(list, fmt.Sprintf("%g kHz", float64(c.SampleRate)/1000))
	case *realtime.Model:
		return m.Info().Model, talents(m.Capabilities())
	case elsewhere:
		return m.model, talents(m.can)
	}
	return "", nil
}

// talents are what a realtime model can do.
func talents(c realtime.Capabilities) (list []string) {
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"finds turns", c.ServerTurns}, {"takes turns of others", c.ClientTurns},
		{"transcripts", c.UserTranscription}, {"says texts", c.Say}, {"truncation", c.Truncation}, {"text only", !c.AudioOutput},
	} {
		if f.has {
			list = append(list, f.name)
		}
	}
	if c.AudioOutput {
		list = append(list, fmt.Sprintf("%g kHz", float64(c.OutputRate)/1000))
	}
	return list
}

// Page is docs/providers.md.
func Page() (string, error) {
	var b strings.Builder
	b.WriteString(`# Providers

Made by ` + "`go run ./internal/providers/gen`" + ` from the plugins themselves; a test checks that it is up to date. Every
constructor takes its key from the first variable and its base URL from the last one, unless the options say
otherwise. "Stated" amounts are what the provider says that it bills; "measured" ones we count ourselves: audio
and characters that were sent.

| plugin | constructor | kind | default model | features | usage | variables | notes |
| --- | --- | --- | --- | --- | --- | --- | --- |
`)
	for _, m := range All() {
		x, err := m.New("key")
		if err != nil {
			return "", fmt.Errorf("%s.%s: %w", m.Plugin, m.Func, err)
		}
		name, list := features(x)
		if list == nil {
			return "", errors.New(m.Plugin + "." + m.Func + " makes no model")
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s | %s | %s | %s |\n",
			m.Plugin, m.Func, m.Kind, name, strings.Join(list, ", "), m.Bills, m.Env, m.Notes)
		if c, ok := x.(interface{ Close() error }); ok {
			_ = c.Close()
		}
	}
	b.WriteString("\n## Services that speak OpenAI's chat completions\n\n`openai.NewLLM(&openai.LLMOptions{Service: ...})`; each is the provider's name in usage.\n\n")
	for _, s := range openai.Services() {
		fmt.Fprintf(&b, "- `%s`\n", s)
	}
	b.WriteString(`
## On this machine

| plugin | kind | what it is |
| --- | --- | --- |
| ` + "`flite`" + ` | TTS | a small English voice, in the process |
| ` + "`moonshine`" + ` | STT | English, in the process |
| ` + "`silero`" + ` | VAD | voice activity, in the process |
| ` + "`rules`" + ` | LLM | answers by fixed rules, for demonstrations |
`)
	return b.String(), nil
}
