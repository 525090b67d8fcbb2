package silero_test

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/plugins/silero"
	"github.com/parley-go/parley/vad"
)

func ExampleNew() {
	stream, err := silero.New(nil).NewStream(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stream.Close()

	starts, windows := 0, 0
	frame := audio.Silence(10*time.Millisecond, 48000, 1) // from a microphone or a room
	for range 100 {
		err := stream.Process(frame, func(e *vad.Event) {
			switch e.Kind {
			case vad.StartOfSpeech:
				starts++
			case vad.InferenceDone:
				windows++
			}
		})
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Printf("%d windows of 32 ms, %d starts of speech\n", windows, starts)
	// Output: 31 windows of 32 ms, 0 starts of speech
}
