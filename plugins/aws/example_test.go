package aws_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/plugins/aws"
	"github.com/parley-go/parley/realtime"
)

func ExampleNewRealtime() {
	m, err := aws.NewRealtime(&aws.RealtimeOptions{Region: "eu-north-1", Voice: "matthew", Endpointing: "HIGH"})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	s, err := m.Session(ctx, &realtime.SessionOptions{Instructions: "Keep your answers short."})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	_ = s.Push(audio.Silence(20*time.Millisecond, 48000, 1)) // what the microphone gives
	for {
		e, err := s.Next()
		if err != nil {
			log.Fatal(err) // names AWS_ACCESS_KEY_ID when there are no credentials
		}
		switch e := e.(type) {
		case *realtime.Transcript:
			fmt.Println("you:", e.Text)
		case *realtime.GenerationCreated:
			msg, err := e.Generation.NextMessage(ctx)
			if err != nil {
				continue
			}
			for f, err := msg.NextAudio(ctx); err == nil; f, err = msg.NextAudio(ctx) {
				fmt.Println(f.Duration())
			}
		}
	}
}
