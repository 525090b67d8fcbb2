package nvidia_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/plugins/nvidia"
	"github.com/parley-go/parley/realtime"
)

func ExampleNewRealtime() {
	m, err := nvidia.NewRealtime(&nvidia.RealtimeOptions{BaseURL: "wss://gpu.example.com:8998", Voice: "NATM1"})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	s, err := m.Session(ctx, &realtime.SessionOptions{
		Instructions: "You are a wise and friendly teacher. Answer questions or provide advice in a clear and engaging way.",
	})
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
		g, ok := e.(*realtime.GenerationCreated)
		if !ok {
			continue
		}
		msg, err := g.Generation.NextMessage(ctx)
		if err != nil {
			continue
		}
		for f, err := msg.NextAudio(ctx); err == nil; f, err = msg.NextAudio(ctx) {
			fmt.Println(f.Duration())
		}
	}
}
