// Package cli is the command line of a worker: it runs one until it is told to stop.
package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/parley-go/parley/worker"
)

// Run runs a worker and does not return. The first SIGINT or SIGTERM closes the running jobs in
// order, the second exits at once. Exit status: 0 after a signal, 1 when the worker failed, 2 when
// its options are wrong, 130 or 143 after a second signal. What went wrong is one line on standard error.
func Run(o worker.Options) {
	w, err := worker.New(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := Interruptible(context.Background())
	defer stop()
	if err := w.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "worker failed:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Interruptible returns a context that ends with the first SIGINT or SIGTERM. The second one exits
// the process at once. stop gives the signals back.
func Interruptible(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2) // one to stop, one to insist; more change nothing
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case s := <-signals:
				if n > 0 {
					fmt.Fprintln(os.Stderr, "exiting forcefully")
					os.Exit(128 + int(s.(syscall.Signal)))
				}
				cancel()
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}
