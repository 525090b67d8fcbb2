package roomtest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/lkserver"
	"github.com/parley-go/parley/internal/lkserver/alone"
	"github.com/parley-go/parley/room"
)

var server *lkserver.Server

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// run starts the server, warms it up with a call, and looks for what the tests leave behind. What
// the server itself starts for a call never ends and is not counted.
func run(m *testing.M) int {
	release, err := alone.Wait()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer release()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := lkserver.Start(ctx, lkserver.Options{LogLevel: "fatal"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	server = s
	defer s.Stop()
	if err := warmUp(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	before := goleak.IgnoreCurrent()
	code := m.Run()
	if code == 0 {
		// Goroutines of the server and of WebRTC are not ours, and take their time to go.
		if err := goleak.Find(before, goleak.Cleanup(func(int) {})); err != nil && ours(err) {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// ours reports whether code of this module runs in one of the goroutines that were left.
func ours(err error) bool {
	return strings.Contains(err.Error(), "github.com/parley-go/parley/room.") ||
		strings.Contains(err.Error(), "github.com/parley-go/parley/audio")
}

func warmUp(ctx context.Context) error {
	token, err := server.Token("warm", "warm-up")
	if err != nil {
		return err
	}
	r, err := room.Join(ctx, room.Options{URL: server.URL(), Token: token, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		return err
	}
	return r.Leave(ctx)
}
