package workertest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/lkserver"
	"github.com/parley-go/parley/internal/lkserver/alone"
	"github.com/parley-go/parley/internal/lkserver/caller"
	"github.com/parley-go/parley/worker"
)

var server *lkserver.Server

func TestMain(m *testing.M) {
	if os.Getenv(envProgram) != "" {
		program() // does not return
	}
	os.Exit(run(m))
}

// run starts the server, warms it up with a job, and looks for what the tests leave behind. What the
// server itself starts for a call never ends and is not counted.
func run(m *testing.M) int {
	release, err := alone.Wait()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer release()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := lkserver.Start(ctx, lkserver.Options{LogLevel: "fatal"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	server = s
	defer s.Stop()
	if err := warmUp(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "warm-up:", err)
		return 1
	}
	before := goleak.IgnoreCurrent()
	code := m.Run()
	if code == 0 {
		// Goroutines of the server and of WebRTC are not ours, and take their time to go.
		if err := goleak.Find(before, goleak.Cleanup(func(int) {})); err != nil && ours(err.Error()) {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// ours reports whether code of the library runs in one of the goroutines of a dump.
func ours(dump string) bool {
	for _, p := range []string{"worker", "session", "room", "audio", "llm", "stt", "tts", "vad", "cli"} {
		if strings.Contains(dump, "github.com/parley-go/parley/"+p+".") {
			return true
		}
	}
	return false
}

// warmUp has one agent and one caller come and go.
func warmUp(ctx context.Context) error {
	joined := make(chan error, 1) // one job
	w, err := worker.New(worker.Options{URL: server.URL(), APIKey: server.APIKey(), APISecret: server.APISecret(), AgentName: "warm",
		Logger: discard(), Entrypoint: func(ctx context.Context, job *worker.Job) error {
			_, err := job.Room().Connect(ctx)
			joined <- err
			return err
		}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ran := make(chan error, 1) // one result
	go func() { ran <- w.Run(ctx) }()
	select {
	case <-w.Registered():
	case err := <-ran:
		return err
	}
	token, err := server.Token("warm", "warm-up", lkserver.Dispatch("warm", ""))
	if err != nil {
		return err
	}
	c, err := caller.Dial(ctx, server.URL(), token, nil)
	if err != nil {
		return err
	}
	select {
	case err = <-joined:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil {
		err = c.Hangup()
	}
	cancel()
	if e := <-ran; err == nil {
		err = e
	}
	return err
}
