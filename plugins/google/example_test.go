package google_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/plugins/google"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/stt"
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

// Gemini hears the user, waits a little longer than usual for the end of his turn, and speaks. In an agent the
// model is session.Options.Realtime.
func ExampleNewRealtime() {
	m, err := google.NewRealtime(&google.RealtimeOptions{ // GOOGLE_API_KEY
		Voice: "Kore",
		Turns: opt.Some(google.RealtimeTurns{End: "low", Silence: 800 * time.Millisecond}),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	s, err := m.Session(ctx, &realtime.SessionOptions{Instructions: "Keep your answers short."})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	_ = s.Push(audio.Silence(20*time.Millisecond, 16000, 1)) // what the microphone gives
	g, err := s.Generate(ctx, &realtime.Request{Instructions: "Greet the user."})
	if err != nil {
		log.Fatal(err)
	}
	msg, err := g.NextMessage(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for f, err := msg.NextAudio(ctx); err == nil; f, err = msg.NextAudio(ctx) {
		fmt.Println(f.Duration()) // to the loudspeaker
	}
}

// Frames of audio go in, transcripts come out.
func ExampleNewSTT() {
	m, err := google.NewSTT(&google.STTOptions{ // GOOGLE_APPLICATION_CREDENTIALS
		Location: "us-central1", Model: "chirp_2", Languages: []string{"en-US", "de-DE"},
	})
	if err != nil {
		log.Fatal(err)
	}
	s, err := m.Stream(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	go func() {
		_ = s.Push(audio.Silence(time.Second, 16000, 1)) // what the microphone gives
		_ = s.EndInput()
	}()
	for {
		e, err := s.Next()
		if err != nil {
			return // io.EOF after the last event
		}
		if e.Kind == stt.Final {
			fmt.Println(e.Text())
		}
	}
}
