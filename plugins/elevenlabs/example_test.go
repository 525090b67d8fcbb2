package elevenlabs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/plugins/elevenlabs"
	"github.com/parley-go/parley/stt"
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

func ExampleNewSTT() {
	m, err := elevenlabs.NewSTT(&elevenlabs.STTOptions{Language: "de", Silence: 700 * time.Millisecond})
	if err != nil {
		log.Fatal(err) // names ELEVEN_API_KEY when it is missing
	}
	s, err := m.Stream(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	_ = s.Push(audio.Silence(20*time.Millisecond, 48000, 1)) // what the microphone gives
	_ = s.EndInput()
	for {
		e, err := s.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		if e.Kind == stt.Final {
			fmt.Println(e.Text())
		}
	}
}
