package resemble_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/parley-go/parley/plugins/resemble"
)

func ExampleNewTTS() {
	m, err := resemble.NewTTS(&resemble.TTSOptions{Rate: 22050})
	if err != nil {
		log.Fatal(err) // names RESEMBLE_API_KEY when it is missing
	}
	defer m.Close()
	s := m.Synthesize(context.Background(), "Hello. How can I help you?")
	defer s.Close()
	for {
		a, err := s.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(a.Frame.Duration())
	}
}
