package rime_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/parley-go/parley/plugins/rime"
)

func ExampleNewTTS() {
	m, err := rime.NewTTS(&rime.TTSOptions{Speaker: "luna"})
	if err != nil {
		log.Fatal(err) // names RIME_API_KEY when it is missing
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
		fmt.Println(a.Frame.Duration(), a.Words)
	}
}
