package elevenlabs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/parley-go/parley/plugins/elevenlabs"
)

func ExampleNewTTS() {
	m, err := elevenlabs.NewTTS(&elevenlabs.TTSOptions{Model: "eleven_flash_v2_5"})
	if err != nil {
		log.Fatal(err) // names ELEVEN_API_KEY when it is missing
	}
	s := m.Synthesize(context.Background(), "Hello, how can I help you today?")
	defer s.Close()
	for {
		a, err := s.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(a.Frame.Duration(), a.Words)
	}
}
