package livekit

import (
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/tts"
)

// Gateway makes models of their names at LiveKit Inference, for session.Options.Gateway. The zero value
// takes everything from the environment. It is safe for concurrent use.
type Gateway struct {
	APIKey    string // default LIVEKIT_INFERENCE_API_KEY, else LIVEKIT_API_KEY
	APISecret string // default LIVEKIT_INFERENCE_API_SECRET, else LIVEKIT_API_SECRET
	BaseURL   string // default LIVEKIT_INFERENCE_URL, else LiveKit's
}

// STT returns the model of a name such as "deepgram/nova-3" or, with a language, "deepgram/nova-3:en".
func (g *Gateway) STT(name string) (*stt.Model, error) {
	return NewSTT(&STTOptions{Model: name, APIKey: g.APIKey, APISecret: g.APISecret, BaseURL: g.BaseURL})
}

// LLM returns the model of a name such as "openai/gpt-4.1-mini".
func (g *Gateway) LLM(name string) (*llm.Model, error) {
	return NewLLM(&LLMOptions{Model: name, APIKey: g.APIKey, APISecret: g.APISecret, BaseURL: g.BaseURL})
}

// TTS returns the model of a name such as "cartesia/sonic-3" or, with a voice, "cartesia/sonic-3:katie".
// Whoever called it closes the model.
func (g *Gateway) TTS(name string) (*tts.Model, error) {
	return NewTTS(&TTSOptions{Model: name, APIKey: g.APIKey, APISecret: g.APISecret, BaseURL: g.BaseURL})
}
