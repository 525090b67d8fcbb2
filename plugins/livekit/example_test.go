package livekit_test

import (
	"context"
	"fmt"
	"log"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/plugins/livekit"
	"github.com/parley-go/parley/session"
)

// A session whose models are named as LiveKit's users know them.
func Example() {
	s := session.New(session.Options{
		Gateway: &livekit.Gateway{}, // LIVEKIT_API_KEY and LIVEKIT_API_SECRET
		Models: session.Models{
			STT: "deepgram/nova-3:en",
			LLM: "openai/gpt-4.1-mini",
			TTS: "cartesia/sonic-3:9626c31c-bec5-4cca-baa8-f8ba9e84c8bc",
		},
	})
	fmt.Println(s.ID()) // Start makes the models, and says what is missing
}

func ExampleNewLLM() {
	m, err := livekit.NewLLM(&livekit.LLMOptions{Model: "google/gemini-3-flash", Priority: "low"})
	if err != nil {
		log.Fatal(err) // names LIVEKIT_API_KEY or LIVEKIT_API_SECRET when it is missing
	}
	talk := &chat.Context{}
	talk.Add(chat.NewMessage(chat.User, "What does a harbour pilot do?"))
	text, _, err := m.Chat(context.Background(), &llm.Request{Messages: talk}).Collect()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
}

func ExampleNewSTT() {
	m, err := livekit.NewSTT(&livekit.STTOptions{
		Model:    "deepgram/nova-3:multi",
		Extra:    map[string]any{"diarize": true},
		Fallback: []livekit.Fallback{{Model: "assemblyai/universal-streaming"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Info().Model) // deepgram/nova-3
}

func ExampleNewTTS() {
	m, err := livekit.NewTTS(&livekit.TTSOptions{
		Model:    "cartesia/sonic-3:9626c31c-bec5-4cca-baa8-f8ba9e84c8bc",
		Extra:    map[string]any{"add_timestamps": true}, // so that what was heard is known to the word
		Fallback: []livekit.Fallback{{Model: "deepgram/aura-2"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	fmt.Println(m.Info().Model) // cartesia/sonic-3
}
