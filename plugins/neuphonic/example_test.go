package neuphonic_test

import (
	"context"
	"fmt"
	"log"

	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/plugins/neuphonic"
)

func ExampleNewTTS() {
	m, err := neuphonic.NewTTS(&neuphonic.TTSOptions{Language: "en", Speed: opt.Some(1.1)})
	if err != nil {
		log.Fatal(err) // names NEUPHONIC_API_KEY when it is missing
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
