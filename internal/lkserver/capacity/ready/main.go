// Command ready is a worker without models. It says when it is registered with the server, and ends with
// its standard input.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/parley-go/parley/worker"
)

func main() {
	w, err := worker.New(worker.Options{
		Logger:     slog.New(slog.DiscardHandler),
		Entrypoint: func(context.Context, *worker.Job) error { return nil },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // ends with the process
		<-w.Registered()
		fmt.Println("ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := w.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
