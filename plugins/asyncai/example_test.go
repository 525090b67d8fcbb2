package asyncai_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/parley-go/parley/plugins/asyncai"
)

func ExampleNewTTS() {
	m, err := asyncai.NewTTS(&asyncai.TTSOptions{Language: "en"})
	if err != nil {
		log.Fatal(err) // names ASYNCAI_API_KEY when it is missing
	}
	defer m.Close()
	s := m.Stream(context.Background())
	defer s.Close()
	_ = s.Push("Hello. How can I help you?")
	_ = s.EndInput()
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
