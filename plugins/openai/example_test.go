package openai_test

import (
	"context"
	"fmt"
	"log"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/plugins/openai"
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
