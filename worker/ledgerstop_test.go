package worker

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/report"
	"github.com/parley-go/parley/session"
)

const stoppedVar = "PARLEY_TEST_LEDGER_STOPPED" // the folder of a child that is terminated

// TestStoppedChild is a worker whose jobs talk until it gets SIGTERM. Every third one panics.
func TestStoppedChild(t *testing.T) {
	dir := os.Getenv(stoppedVar)
	if dir == "" {
		t.Skip("runs as a child of TestTerminationLosesNothing")
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	s := newServer(t)
	o := s.options(func(ctx context.Context, j *Job) error {
		m := llm.New(scripted.New(&scripted.Options{Answers: slices.Repeat([]scripted.Answer{{Text: "one two three four five",
			TTFT: 3 * time.Millisecond, Delay: time.Millisecond}}, 10_000)}), nil)
		sess := session.New(session.Options{LLM: m, Logger: j.log})
		if err := sess.Start(j.ctx, &agent.Agent{Instructions: "talk"}, &ledgerRoom{job: j, aloud: os.Stdout}); err != nil {
			return err
		}
		for n := 0; ctx.Err() == nil; n++ {
			if _, err := sess.Run(ctx, "hello"); err != nil {
				return err
			}
			if n == 5 && strings.HasSuffix(j.ID(), "panics") {
				panic("a bug of the application")
			}
		}
		return nil
	})
	o.Ledger = filepath.Join(dir, "ledger")
	o.Reports = []report.Sink{report.Dir(filepath.Join(dir, "files"))}
	_, stop := s.serving(o)
	for i := range 9 {
		id := fmt.Sprint("J", i)
		if i%3 == 0 {
			id += "panics"
		}
		s.offer(id)
		for s.next().GetAvailability().GetJobId() != id {
		}
		s.assign(id)
	}
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Second):
		t.Error("nobody terminated it")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// SIGTERM, and a panic in an entrypoint, lose not one event, and every job has a whole report.
func TestTerminationLosesNothing(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStoppedChild$")
	cmd.Env = append(os.Environ(), stoppedVar+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for in := bufio.NewScanner(out); in.Scan(); {
		id, ok := strings.CutPrefix(in.Text(), "E ")
		if !ok {
			continue
		}
		id, _, _ = strings.Cut(id, " ")
		if said[id] = true; len(said) == 150 {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	for r, err := range ledger.Read(filepath.Join(dir, "ledger")) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Event != nil {
			delete(said, r.Event.Head().ID)
		}
	}
	if len(said) > 0 {
		t.Errorf("%d events are not in the ledger", len(said))
	}
	if dead, err := ledger.Recover(filepath.Join(dir, "ledger")); err != nil || len(dead) > 0 {
		t.Errorf("%d sessions are to be recovered, %v", len(dead), err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "files", "*.json"))
	var panicked int
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(string(data), "a bug of the application") {
			panicked++
		}
		if !strings.Contains(string(data), `"recovered": false`) || !strings.Contains(string(data), `"output_tokens"`) {
			t.Errorf("not whole: %s", data)
		}
	}
	if len(files) != 9 || panicked != 3 {
		t.Errorf("%d jobs have a report, %d panicked", len(files), panicked)
	}
}
