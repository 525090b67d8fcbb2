// Package livekit has the models of LiveKit Inference, a gateway to models of many providers with one
// key: language models, speech to text and text to speech.
//
//	s := session.New(session.Options{
//		Gateway: &livekit.Gateway{}, // LIVEKIT_API_KEY and LIVEKIT_API_SECRET
//		Models:  session.Models{STT: "deepgram/nova-3:en", LLM: "openai/gpt-4.1-mini", TTS: "cartesia/sonic-3:" + voice},
//	})
//
// or one by one, with all their options:
//
//	model, err := livekit.NewLLM(&livekit.LLMOptions{Model: "openai/gpt-4.1-mini"})
//	model, err := livekit.NewSTT(&livekit.STTOptions{Model: "deepgram/nova-3:en"})
//	model, err := livekit.NewTTS(&livekit.TTSOptions{Model: "cartesia/sonic-3:" + voice})
//
// Credentials are those of a LiveKit Cloud project: LIVEKIT_INFERENCE_API_KEY and
// LIVEKIT_INFERENCE_API_SECRET, or else LIVEKIT_API_KEY and LIVEKIT_API_SECRET. Every request gets a token
// of its own that is good for ten minutes. The base URL is LIVEKIT_INFERENCE_URL, else LiveKit's (of the
// staging cloud if LIVEKIT_URL is there). Inside of a job of a worker, requests tell LiveKit which room,
// job and agent they are for.
//
// In usage and metrics the provider is "livekit" and the model its name without voice or language.
//
// Documentation: https://docs.livekit.io/agents/models/inference. The protocol of the gateway is not
// published; it was learned from LiveKit's agents and has met the sandbox only, not the service.
package livekit
