package deepgram_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/plugins/deepgram"
	"github.com/parley-go/parley/stt"
)

func ExampleNewSTT() {
	m, err := deepgram.NewSTT(&deepgram.STTOptions{Language: "multi", Keyterms: []string{"Parley"}})
	if err != nil {
		log.Fatal(err) // names DEEPGRAM_API_KEY when it is missing
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

func ExampleNewFlux() {
	m, err := deepgram.NewFlux(&deepgram.FluxOptions{EndOfTurn: opt.Some(0.8), EagerEndOfTurn: opt.Some(0.5)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Info().Model, "says when a turn is over")
}

func ExampleNewTTS() {
	m, err := deepgram.NewTTS(&deepgram.TTSOptions{Model: "aura-2-thalia-en"})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	s := m.Stream(context.Background())
	defer s.Close()
	_ = s.Push("Hello there.")
	_ = s.EndInput()
	for {
		a, err := s.Next()
		if err != nil {
			return // io.EOF after the last audio
		}
		fmt.Println(a.Frame.Duration())
	}
}
