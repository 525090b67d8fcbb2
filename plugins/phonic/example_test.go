package phonic_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/plugins/phonic"
	"github.com/parley-go/parley/realtime"
)

func ExampleNewRealtime() {
	m, err := phonic.NewRealtime(&phonic.RealtimeOptions{Language: "en", Languages: []string{"es"}, Multilingual: "request"})
	if err != nil {
		log.Fatal(err) // names PHONIC_API_KEY when it is missing
	}
	s, err := m.Session(context.Background(), &realtime.SessionOptions{Instructions: "Be brief."})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	_ = s.Push(audio.Silence(20*time.Millisecond, 48000, 1)) // what the microphone gives
	for {
		e, err := s.Next()
		if err != nil {
			log.Fatal(err)
		}
		switch e := e.(type) {
		case *realtime.Transcript:
			fmt.Println("user:", e.Text)
		case *realtime.GenerationCreated:
			msg, err := e.Generation.NextMessage(context.Background())
			if err != nil {
				continue
			}
			text, _ := msg.NextText(context.Background())
			fmt.Println("agent:", text) // and msg.NextAudio
		}
	}
}
