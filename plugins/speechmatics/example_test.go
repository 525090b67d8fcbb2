package speechmatics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/plugins/speechmatics"
	"github.com/parley-go/parley/stt"
)

func ExampleNewSTT() {
	m, err := speechmatics.NewSTT(&speechmatics.STTOptions{Language: "de", Diarize: true, Keyterms: []string{"Parley"}})
	if err != nil {
		log.Fatal(err) // names SPEECHMATICS_API_KEY when it is missing
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
			fmt.Println(e.Alternatives[0].SpeakerID, e.Text())
		}
	}
}
