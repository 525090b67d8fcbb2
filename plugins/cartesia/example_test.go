package cartesia_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/parley-go/parley/plugins/cartesia"
)

func ExampleNewTTS() {
	m, err := cartesia.NewTTS(&cartesia.TTSOptions{Language: "en-GB"})
	if err != nil {
		log.Fatal(err) // names CARTESIA_API_KEY when it is missing
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
