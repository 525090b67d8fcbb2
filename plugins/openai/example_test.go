package openai_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/plugins/openai"
	"github.com/parley-go/parley/session"
)

func Example() {
	model, err := openai.NewResponses(nil) // OPENAI_API_KEY
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	talk := &chat.Context{}
	talk.Add(chat.NewMessage(chat.User, "What does a harbour pilot do?"))
	text, _, err := model.Chat(context.Background(), &llm.Request{Messages: talk}).Collect()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
}

// The parts of an agent that runs on Groq.
func Example_groq() {
	ears, err := openai.NewSTT(&openai.STTOptions{Service: openai.Groq}) // GROQ_API_KEY
	if err != nil {
		log.Fatal(err)
	}
	mind, err := openai.NewLLM(&openai.LLMOptions{Service: openai.Groq})
	if err != nil {
		log.Fatal(err)
	}
	voice, err := openai.NewTTS(&openai.TTSOptions{Service: openai.Groq})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ears.Info().Model, mind.Info().Model, voice.Info().Model)
}

// A session with a model that hears and speaks itself. It names people and places better when it is told what will
// be talked about.
func ExampleNewRealtime() {
	model, err := openai.NewRealtime(&openai.RealtimeOptions{ // OPENAI_API_KEY
		Voice:         "cedar",
		Transcription: opt.Some(openai.RealtimeTranscription{Language: "en", Prompt: "Travel office: Lisbon, Porto, Kelly."}),
	})
	if err != nil {
		log.Fatal(err)
	}
	s := session.New(session.Options{Realtime: model})
	defer s.Close(context.Background())
	fmt.Println(model.Info().Model)
}

// xAI speaks the same protocol, and says texts that it is given: Session.Say needs no other voice.
func ExampleNewRealtime_xai() {
	model, err := openai.NewRealtime(&openai.RealtimeOptions{ // XAI_API_KEY
		Service: openai.XAI,
		Turns:   opt.Some(openai.RealtimeTurns{Silence: 400 * time.Millisecond}),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(model.Capabilities().Say)
}
