package google_test

import (
	"context"
	"fmt"
	"log"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/plugins/google"
)

// The model may look things up with Google Search.
func ExampleNewLLM() {
	m, err := google.NewLLM(&google.LLMOptions{ // GOOGLE_API_KEY
		Model: "gemini-2.5-flash",
		Extra: map[string]any{"tools": []any{map[string]any{"googleSearch": map[string]any{}}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	var c chat.Context
	c.Add(chat.NewMessage(chat.User, "Who won the last world cup?"))
	for chunk, err := range m.Chat(context.Background(), &llm.Request{Messages: &c}).All() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(chunk.Text)
	}
}
