package sarvam_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/plugins/sarvam"
)

func ExampleNewTTS() {
	m, err := sarvam.NewTTS(&sarvam.TTSOptions{Language: "hi-IN", Voice: "ritu"})
	if err != nil {
		log.Fatal(err) // names SARVAM_API_KEY when it is missing
	}
	defer m.Close()
	s := m.Stream(context.Background())
	defer s.Close()
	_ = s.Push("नमस्ते!")
	_ = s.EndInput()
	for {
		a, err := s.Next()
		if err != nil {
			return // io.EOF after the last audio
		}
		fmt.Println(a.Frame.Duration())
	}
}

func ExampleNewSTT() {
	m, err := sarvam.NewSTT(&sarvam.STTOptions{Mode: "translate"})
	if err != nil {
		log.Fatal(err)
	}
	r, err := m.Recognize(context.Background(), audio.Silence(time.Second, 16000, 1), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Language, r.Text)
}
