package anthropic_test

import (
	"context"
	"fmt"
	"log"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/plugins/anthropic"
)

func ExampleNewLLM() {
	m, err := anthropic.NewLLM(&anthropic.LLMOptions{Model: "claude-haiku-4-5", Caching: true}) // ANTHROPIC_API_KEY
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	var c chat.Context
	c.Add(chat.NewMessage(chat.System, "You are brief."), chat.NewMessage(chat.User, "How are you?"))
	for chunk, err := range m.Chat(context.Background(), &llm.Request{Messages: &c}).All() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(chunk.Text)
	}
}
