package workertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/lkserver"
	"github.com/parley-go/parley/worker"
)

func TestWrongSecretIsRefusedAtOnce(t *testing.T) {
	const secret = "a-wrong-secret-that-is-long-enough-to-sign"
	var log bytes.Buffer
	w, err := worker.New(worker.Options{URL: server.URL(), APIKey: server.APIKey(), APISecret: secret, Logger: textLog(&log),
		Entrypoint: func(context.Context, *worker.Job) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1) // one result
	go func() { ran <- w.Run(t.Context()) }()
	err = next(t, ran)
	if !errors.Is(err, worker.ErrUnauthorized) || strings.Contains(err.Error()+log.String(), secret) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Run: %v, log %q, want ErrUnauthorized in one line without the secret", err, log.String())
	}
	if log.Len() > 0 {
		t.Errorf("logged %q although the error says it", log.String())
	}
	if err := w.Run(t.Context()); err == nil {
		t.Error("Run was called twice")
	}
}

// userProgram is the test binary as the program of a user.
func userProgram(t *testing.T, env ...string) (cmd *exec.Cmd, stderr *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	cmd = exec.CommandContext(ctx, os.Args[0])
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LIVEKIT_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, envProgram+"="+t.Name(), envReport+"="+filepath.Join(t.TempDir(), "report.json"))
	cmd.Env = append(cmd.Env, env...)
	stderr = &bytes.Buffer{}
	cmd.Stderr = stderr
	return cmd, stderr
}

func credentials(url string) []string {
	return []string{"LIVEKIT_URL=" + url, "LIVEKIT_API_KEY=" + server.APIKey(), "LIVEKIT_API_SECRET=" + server.APISecret()}
}

func TestBadInputIsOneLineAndAnExitStatus(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "ws://" + l.Addr().String()
	l.Close()
	for _, tt := range []struct {
		name   string
		env    []string
		status int
		says   string
	}{
		{"nothing set", nil, 2, "LIVEKIT_URL"},
		{"no key", []string{"LIVEKIT_URL=" + server.URL()}, 2, "LIVEKIT_API_KEY"},
		{"no secret", []string{"LIVEKIT_URL=" + server.URL(), "LIVEKIT_API_KEY=key"}, 2, "LIVEKIT_API_SECRET"},
		{"malformed URL", credentials("localhost:7880"), 2, "malformed"},
		{"wrong secret", append(credentials(server.URL()), "LIVEKIT_API_SECRET=hunter2"), 1, "LIVEKIT_API_SECRET"},
		{"not a LiveKit server", credentials(server.URL() + "/elsewhere"), 1, "404"},
		{"nobody there", credentials(nobody), 1, "refused"},
		{"unwritable report", append(credentials(server.URL()), envReport+"=/nowhere/report.json"), 2, "/nowhere/report.json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // some try for a while
			cmd, stderr := userProgram(t, tt.env...)
			_ = cmd.Run()
			text := stderr.String()
			if got := cmd.ProcessState.ExitCode(); got != tt.status {
				t.Errorf("exit status %d, want %d: %s", got, tt.status, text)
			}
			if strings.Count(text, "\n") != 1 || !strings.Contains(text, tt.says) {
				t.Errorf("says %q, want one line with %q", text, tt.says)
			}
			if strings.Contains(text, "hunter2") || strings.Contains(text, server.APISecret()) {
				t.Errorf("tells a secret: %q", text)
			}
		})
	}
}

func TestInterruptedProgramClosesItsConversation(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			name := uniqueName(t)
			path := filepath.Join(t.TempDir(), "report.json")
			cmd, stderr := userProgram(t, append(credentials(server.URL()), envProgram+"="+name, envReport+"="+path)...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			exited := make(chan error, 1) // one exit
			go func() { exited <- cmd.Wait() }()
			c := callProgram(t, name)
			eventually(t, func() bool { return c.heard() > time.Second }, "the story begins: %v", stderr)
			began := time.Now()
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if err := next(t, exited); err != nil {
				t.Errorf("%v: %s", err, stderr)
			}
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("it took %v to exit", d)
			}
			var report struct {
				CloseReason string           `json:"close_reason"`
				Usage       []map[string]any `json:"usage"`
			}
			data, err := os.ReadFile(path)
			if err == nil {
				err = json.Unmarshal(data, &report)
			}
			if err != nil || report.CloseReason != "job_shutdown" || len(report.Usage) == 0 {
				t.Errorf("report %s, %v", data, err)
			}
			if stderr.Len() > 0 {
				t.Errorf("says %q", stderr)
			}
		})
	}
}

// callProgram calls an agent of another process. It calls again until the agent answers, as nobody
// here knows when that process is ready.
func callProgram(t *testing.T, agent string) *call {
	t.Helper()
	sc := &scene{t: t}
	for n := range 10 {
		c := sc.dial(fmt.Sprint(agent, n), lkserver.Dispatch(agent, ""))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := c.WaitAgent(ctx)
		cancel()
		if err == nil {
			return c
		}
		_ = c.Hangup()
	}
	t.Fatal("the agent does not come")
	return nil
}
