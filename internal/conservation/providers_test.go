package conservation

import (
	"time"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/anthropicbox"
	"github.com/parley-go/parley/internal/sandbox/assemblyaibox"
	"github.com/parley-go/parley/internal/sandbox/asyncaibox"
	"github.com/parley-go/parley/internal/sandbox/cartesiabox"
	"github.com/parley-go/parley/internal/sandbox/deepgrambox"
	"github.com/parley-go/parley/internal/sandbox/elevenlabsbox"
	"github.com/parley-go/parley/internal/sandbox/googlebox"
	"github.com/parley-go/parley/internal/sandbox/livekitbox"
	"github.com/parley-go/parley/internal/sandbox/murfbox"
	"github.com/parley-go/parley/internal/sandbox/neuphonicbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/internal/sandbox/resemblebox"
	"github.com/parley-go/parley/internal/sandbox/rimebox"
	"github.com/parley-go/parley/internal/sandbox/sarvambox"
	"github.com/parley-go/parley/internal/sandbox/sonioxbox"
	"github.com/parley-go/parley/internal/sandbox/speechmaticsbox"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/opt"
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
	"github.com/parley-go/parley/plugins/openai"
	"github.com/parley-go/parley/plugins/resemble"
	"github.com/parley-go/parley/plugins/rime"
	"github.com/parley-go/parley/plugins/sarvam"
	"github.com/parley-go/parley/plugins/soniox"
	"github.com/parley-go/parley/plugins/speechmatics"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/tts"
)

// provider is a model on a sandbox of its own.
type provider[M any] struct {
	name string
	on   func(b *sandbox.Server) (M, error)
}

// minds are the language models.
func minds(s *script) []provider[*llm.Model] {
	return []provider[*llm.Model]{
		{"openai", func(b *sandbox.Server) (*llm.Model, error) {
			openaibox.Chat(b, "", openaibox.ChatOptions{Answer: s.chat})
			return openai.NewLLM(&openai.LLMOptions{Service: openai.OpenAI, APIKey: b.Key, BaseURL: b.URL()})
		}},
		{"responses", func(b *sandbox.Server) (*llm.Model, error) {
			openaibox.Responses(b, "", openaibox.ResponsesOptions{Answer: s.respond})
			return openai.NewResponses(&openai.ResponsesOptions{Service: openai.OpenAI, APIKey: b.Key, BaseURL: b.URL(), Model: "gpt-4.1"})
		}},
		{"responses by HTTP", func(b *sandbox.Server) (*llm.Model, error) {
			openaibox.Responses(b, "", openaibox.ResponsesOptions{Answer: s.respond})
			return openai.NewResponses(&openai.ResponsesOptions{Service: openai.OpenAI, APIKey: b.Key, BaseURL: b.URL(), HTTP: true, Model: "gpt-4o"})
		}},
		{"anthropic", func(b *sandbox.Server) (*llm.Model, error) {
			anthropicbox.Messages(b, s.message)
			return anthropic.NewLLM(&anthropic.LLMOptions{APIKey: b.Key, BaseURL: b.URL()})
		}},
		{"gemini", func(b *sandbox.Server) (*llm.Model, error) {
			googlebox.Gemini(b, s.generate)
			return google.NewLLM(&google.LLMOptions{APIKey: b.Key, BaseURL: b.URL()})
		}},
		{"vertex", func(b *sandbox.Server) (*llm.Model, error) {
			googlebox.Gemini(b, s.generate)
			return google.NewLLM(&google.LLMOptions{BaseURL: b.URL(), VertexAI: opt.Some(true), Project: "sandbox",
				Credentials: google.Credentials{AccessToken: b.Key}, Model: "gemini-2.5-pro"})
		}},
		{"livekit", func(b *sandbox.Server) (*llm.Model, error) {
			livekitbox.New(b).Chat(openaibox.ChatOptions{Answer: s.chat})
			return livekit.NewLLM(&livekit.LLMOptions{Model: "openai/gpt-4.1-mini", APIKey: livekitbox.APIKey, APISecret: b.Key, BaseURL: b.URL() + "/v1"})
		}},
	}
}

// ears are the recognisers.
var ears = []provider[*stt.Model]{
	{"deepgram", func(b *sandbox.Server) (*stt.Model, error) {
		deepgrambox.Listen(b)
		return deepgram.NewSTT(&deepgram.STTOptions{APIKey: b.Key, BaseURL: b.URL()})
	}},
	{"flux", func(b *sandbox.Server) (*stt.Model, error) {
		deepgrambox.Flux(b)
		return deepgram.NewFlux(&deepgram.FluxOptions{APIKey: b.Key, BaseURL: b.URL()})
	}},
	{"openai", func(b *sandbox.Server) (*stt.Model, error) {
		openaibox.Transcribe(b, "", openaibox.TranscribeOptions{})
		return openai.NewSTT(&openai.STTOptions{Service: openai.OpenAI, APIKey: b.Key, BaseURL: b.URL()})
	}},
	{"whisper", func(b *sandbox.Server) (*stt.Model, error) {
		openaibox.Transcribe(b, "", openaibox.TranscribeOptions{})
		return openai.NewSTT(&openai.STTOptions{Service: openai.OpenAI, APIKey: b.Key, BaseURL: b.URL(), Model: "whisper-1", Words: true})
	}},
	{"openai realtime", func(b *sandbox.Server) (*stt.Model, error) {
		openaibox.Realtime(b, "", openaibox.TranscribeOptions{})
		return openai.NewSTT(&openai.STTOptions{Service: openai.OpenAI, APIKey: b.Key, BaseURL: b.URL(), Realtime: true, Model: "gpt-4o-transcribe"})
	}},
	{"openai manual", func(b *sandbox.Server) (*stt.Model, error) {
		openaibox.Realtime(b, "", openaibox.TranscribeOptions{})
		return openai.NewSTT(&openai.STTOptions{Service: openai.OpenAI, APIKey: b.Key, BaseURL: b.URL(), Realtime: true, Model: "gpt-realtime-whisper", VAD: opt.Off[openai.ServerVAD]()})
	}},
	{"google", func(b *sandbox.Server) (*stt.Model, error) {
		googlebox.Speech(b, googlebox.SpeechOptions{})
		return google.NewSTT(&google.STTOptions{BaseURL: b.URL(), Project: "sandbox", Credentials: google.Credentials{AccessToken: b.Key}})
	}},
	{"assemblyai", func(b *sandbox.Server) (*stt.Model, error) {
		assemblyaibox.Stream(b)
		return assemblyai.NewSTT(&assemblyai.STTOptions{APIKey: b.Key, BaseURL: b.URL()})
	}},
	{"elevenlabs", func(b *sandbox.Server) (*stt.Model, error) {
		elevenlabsbox.STT(b)
		return elevenlabs.NewSTT(&elevenlabs.STTOptions{APIKey: b.Key, BaseURL: b.URL() + "/v1", Silence: 500 * time.Millisecond})
	}},
	{"elevenlabs recording", func(b *sandbox.Server) (*stt.Model, error) {
		elevenlabsbox.STT(b)
		return elevenlabs.NewSTT(&elevenlabs.STTOptions{APIKey: b.Key, BaseURL: b.URL() + "/v1", Model: "scribe_v2"})
	}},
	{"cartesia", func(b *sandbox.Server) (*stt.Model, error) {
		cartesiabox.STT(b)
		return cartesia.NewSTT(&cartesia.STTOptions{APIKey: b.Key, BaseURL: b.URL()})
	}},
	{"ink-whisper", func(b *sandbox.Server) (*stt.Model, error) {
		cartesiabox.STT(b)
		return cartesia.NewSTT(&cartesia.STTOptions{APIKey: b.Key, BaseURL: b.URL(), Model: "ink-whisper"})
	}},
	{"soniox", func(b *sandbox.Server) (*stt.Model, error) {
		sonioxbox.Transcribe(b)
		return soniox.NewSTT(&soniox.STTOptions{APIKey: b.Key, BaseURL: b.URL()})
	}},
	{"speechmatics", func(b *sandbox.Server) (*stt.Model, error) {
		speechmaticsbox.Realtime(b)
		return speechmatics.NewSTT(&speechmatics.STTOptions{APIKey: b.Key, BaseURL: b.URL() + "/v2"})
	}},
	{"sarvam", func(b *sandbox.Server) (*stt.Model, error) {
		sarvambox.Transcribe(b)
		return sarvam.NewSTT(&sarvam.STTOptions{APIKey: b.Key, BaseURL: b.URL()})
	}},
	{"livekit", func(b *sandbox.Server) (*stt.Model, error) {
		livekitbox.New(b).STT(livekitbox.STTOptions{})
		return livekit.NewSTT(&livekit.STTOptions{Model: "deepgram/nova-3", APIKey: livekitbox.APIKey, APISecret: b.Key, BaseURL: b.URL() + "/v1"})
	}},
}

// replays has voices count texts that are said again, since the sandboxes bill them.
var replays = &tts.ModelOptions{CountReplays: true}

// mouths are the voices.
var mouths = []provider[*tts.Model]{
	{"cartesia", func(b *sandbox.Server) (*tts.Model, error) {
		cartesiabox.TTS(b, cartesiabox.TTSOptions{})
		return cartesia.NewTTS(&cartesia.TTSOptions{APIKey: b.Key, BaseURL: b.URL(), Front: replays})
	}},
	{"elevenlabs", func(b *sandbox.Server) (*tts.Model, error) {
		elevenlabsbox.TTS(b, elevenlabsbox.TTSOptions{})
		return elevenlabs.NewTTS(&elevenlabs.TTSOptions{APIKey: b.Key, BaseURL: b.URL() + "/v1", Front: replays})
	}},
	{"openai", func(b *sandbox.Server) (*tts.Model, error) {
		openaibox.Speech(b, "", openaibox.SpeechOptions{})
		return openai.NewTTS(&openai.TTSOptions{Service: openai.OpenAI, APIKey: b.Key, BaseURL: b.URL(), Front: replays})
	}},
	{"tts-1", func(b *sandbox.Server) (*tts.Model, error) {
		openaibox.Speech(b, "", openaibox.SpeechOptions{})
		return openai.NewTTS(&openai.TTSOptions{Service: openai.OpenAI, APIKey: b.Key, BaseURL: b.URL(), Model: "tts-1", Front: replays})
	}},
	{"deepgram", func(b *sandbox.Server) (*tts.Model, error) {
		deepgrambox.Speak(b)
		return deepgram.NewTTS(&deepgram.TTSOptions{APIKey: b.Key, BaseURL: b.URL(), Front: replays})
	}},
	{"sarvam", func(b *sandbox.Server) (*tts.Model, error) {
		sarvambox.Speak(b)
		return sarvam.NewTTS(&sarvam.TTSOptions{APIKey: b.Key, BaseURL: b.URL(), Front: replays})
	}},
	{"neuphonic", func(b *sandbox.Server) (*tts.Model, error) {
		neuphonicbox.Speak(b)
		return neuphonic.NewTTS(&neuphonic.TTSOptions{APIKey: b.Key, BaseURL: b.URL(), Front: replays})
	}},
	{"murf", func(b *sandbox.Server) (*tts.Model, error) {
		murfbox.TTS(b)
		return murf.NewTTS(&murf.TTSOptions{APIKey: b.Key, BaseURL: b.URL(), Front: replays})
	}},
	{"async", func(b *sandbox.Server) (*tts.Model, error) {
		asyncaibox.TTS(b)
		return asyncai.NewTTS(&asyncai.TTSOptions{APIKey: b.Key, BaseURL: b.URL(), Front: replays})
	}},
	{"resemble", func(b *sandbox.Server) (*tts.Model, error) {
		resemblebox.TTS(b, resemblebox.Options{})
		return resemble.NewTTS(&resemble.TTSOptions{APIKey: b.Key, BaseURL: b.URL(), Front: replays})
	}},
	{"rime", func(b *sandbox.Server) (*tts.Model, error) {
		rimebox.TTS(b)
		return rime.NewTTS(&rime.TTSOptions{APIKey: b.Key, BaseURL: b.URL(), Front: replays})
	}},
	{"livekit", func(b *sandbox.Server) (*tts.Model, error) {
		livekitbox.New(b).TTS(livekitbox.TTSOptions{})
		return livekit.NewTTS(&livekit.TTSOptions{Model: "cartesia/sonic-3:katie", APIKey: livekitbox.APIKey, APISecret: b.Key, BaseURL: b.URL() + "/v1", Front: replays})
	}},
}
