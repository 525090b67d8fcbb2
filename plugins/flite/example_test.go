package flite_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/parley-go/parley/plugins/flite"
)

func ExampleNew() {
	stream := flite.New(&flite.Options{Voice: "rms"}).Synthesize(context.Background(), "Hello, how can I help you?")
	defer stream.Close()

	var length time.Duration
	for {
		audio, err := stream.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		length += audio.Frame.Duration()
	}
	fmt.Println("about", length.Round(time.Second))
	// Output: about 2s
}

func ExampleCheck() {
	// At the start of a worker: what is wrong shows before the first call, and nothing is loaded in it.
	err := flite.Check(&flite.Options{Voice: "hal"})
	fmt.Println(err)
	// Output: local open voice: request error: flite: unknown voice "hal", there are awb, kal, kal16, rms, slt
}
