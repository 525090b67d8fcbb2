package moonshine_test

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/plugins/moonshine"
)

func ExampleNew() {
	recogniser := moonshine.New(nil)
	utterance := audio.Silence(time.Second, 48000, 2) // from a file or a room
	result, err := recogniser.Recognize(context.Background(), utterance, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("heard %q\n", result.Text)
	// Output: heard ""
}

func ExampleCheck() {
	// At the start of the program, so that the first caller does not wait for the weights.
	if err := moonshine.Check(&moonshine.Options{Threads: 2}); err != nil {
		fmt.Println(err)
	}
	// Output:
}
