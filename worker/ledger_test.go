package worker

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/report"
	"github.com/parley-go/parley/session"
)

var kills = flag.Int("ledger.kills", 5, "how often TestLedgerSurvivesKill kills")

const childVar = "PARLEY_TEST_LEDGER_CHILD" // the folder that a child works in

// filed is an OnReport that keeps one report per session in dir.
func filed(dir string) func(context.Context, *session.Report) error {
	return func(_ context.Context, r *session.Report) error {
		f, err := os.OpenFile(filepath.Join(dir, r.SessionID), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			return nil // killed between the delivery and its record: the key tells that it is here
		}
		if err != nil {
			return err
		}
		fmt.Fprint(f, r.Recovered)
		return f.Close()
	}
}

func ledgerWorker(t testing.TB, dir string, take func(context.Context, *session.Report) error) *Worker {
	w, err := New(Options{Entrypoint: func(context.Context, *Job) error { return nil }, URL: "ws://127.0.0.1:1", APIKey: "key", APISecret: "secret",
		Ledger: filepath.Join(dir, "ledger"), Reports: []report.Sink{report.Func("test", take)}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.openReports(); err != nil {
		t.Fatal(err)
	}
	return w
}

func ledgerJob(w *Worker, id string) *Job {
	j := w.newJob(&livekit.Job{Id: id, Room: &livekit.Room{Name: "room", Sid: "RM"}}, &livekit.JobAssignment{}, "agent")
	j.begin()
	return j
}

// over ends a job as far as its reports go.
func (j *Job) over() {
	j.end(reasonUser, nil)
	j.closeSessions()
	j.recordEnd()
	j.deliverReports()
	j.cancel()
}

// ledgerRoom is a room of a job without LiveKit. It says aloud what is recorded.
type ledgerRoom struct {
	job   *Job
	aloud io.Writer
	rec   metrics.Recorder
}

func (r *ledgerRoom) Open(_ context.Context, h session.Host) (session.IO, error) {
	s, _ := session.SessionOf(h)
	var ends session.IO
	if err := r.job.enter(s, &ends); err != nil {
		return ends, err
	}
	fmt.Fprintln(r.aloud, "S", s.ID(), 0)
	r.rec, ends.Recorder = ends.Recorder, r
	return ends, nil
}
func (*ledgerRoom) Close(context.Context) error { return nil }
func (r *ledgerRoom) Record(ctx context.Context, e metrics.Event) {
	at := time.Now()
	r.rec.Record(ctx, e)
	fmt.Fprintln(r.aloud, "E", e.Head().ID, at.UnixNano())
}

// talks starts a session in the job and has n turns in it.
func talks(t testing.TB, j *Job, aloud io.Writer, n int) {
	m := llm.New(scripted.New(&scripted.Options{Answers: slices.Repeat([]scripted.Answer{{Text: "one two three four five",
		TTFT: 20 * time.Millisecond, Delay: 4 * time.Millisecond}}, n)}), nil)
	s := session.New(session.Options{LLM: m, Logger: j.log})
	if err := s.Start(j.ctx, &agent.Agent{Instructions: "talk"}, &ledgerRoom{job: j, aloud: aloud}); err != nil {
		t.Error(err)
		return
	}
	for range n {
		if _, err := s.Run(j.ctx, "hello"); err != nil {
			t.Error(err)
		}
	}
}

// TestLedgerChild is the process that TestLedgerSurvivesKill kills.
func TestLedgerChild(t *testing.T) {
	dir := os.Getenv(childVar)
	if dir == "" {
		t.Skip("runs as a child of TestLedgerSurvivesKill")
	}
	w := ledgerWorker(t, dir, filed(filepath.Join(dir, "reports")))
	deadline := time.Now().Add(20 * time.Second) // should nobody kill it
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for n := 0; time.Now().Before(deadline); n++ {
				j := ledgerJob(w, fmt.Sprintf("J%d-%d", i, n))
				talks(t, j, os.Stdout, 3+rand.IntN(6))
				j.over()
			}
		})
	}
	wg.Wait()
}

func TestLedgerSurvivesKill(t *testing.T) {
	dir := t.TempDir() // one ledger for all: the dead of one round must not come again in the next
	reports := filepath.Join(dir, "reports")
	if err := os.Mkdir(reports, 0o700); err != nil {
		t.Fatal(err)
	}
	recovered, began := 0, map[string]bool{}
	for range *kills {
		events, killed := killChild(t, dir, began)
		have := map[string]bool{}
		for r, err := range ledger.Read(filepath.Join(dir, "ledger")) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Event != nil {
				have[r.Event.Head().ID] = true
			}
		}
		for id, at := range events {
			if ago := killed.Sub(at); !have[id] && ago > 250*time.Millisecond {
				t.Errorf("event %s is lost although it is %v older than the kill", id, ago)
			}
		}
		w := ledgerWorker(t, dir, filed(reports))
		recovered += len(w.ledger.Recover())
		w.reportDead(t.Context())
		w.closeReports()
		if dead, err := ledger.Recover(filepath.Join(dir, "ledger")); err != nil || len(dead) > 0 {
			t.Fatalf("%d sessions would be reported again, %v", len(dead), err)
		}
	}
	for id := range began {
		if _, err := os.Stat(filepath.Join(reports, id)); err != nil {
			t.Errorf("session %s has no report", id)
		}
	}
	if recovered == 0 {
		t.Error("no session died, so this showed nothing")
	}
	t.Logf("%d sessions, %d of them died", len(began), recovered)
}

// killChild runs a child for a while, kills it and returns the events that it said it recorded.
func killChild(t *testing.T, dir string, began map[string]bool) (map[string]time.Time, time.Time) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLedgerChild$")
	cmd.Env = append(os.Environ(), childVar+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var killed time.Time
	life := time.Duration(100+rand.IntN(700)) * time.Millisecond
	timer := (*time.Timer)(nil)
	dead := make(chan struct{})
	events := map[string]time.Time{}
	for in := bufio.NewScanner(out); in.Scan(); {
		var what, id string
		var at int64
		if n, _ := fmt.Sscan(in.Text(), &what, &id, &at); n != 3 {
			continue
		}
		if what == "S" && strings.HasPrefix(id, "session_") {
			began[id] = true
		} else if what == "E" {
			events[id] = time.Unix(0, at)
		}
		if timer == nil { // it lives
			timer = time.AfterFunc(life, func() {
				killed = time.Now()
				_ = cmd.Process.Kill()
				close(dead)
			})
		}
	}
	_ = cmd.Wait() // it was killed
	if timer == nil || len(events) == 0 {
		t.Fatalf("the child recorded nothing; was it to live %v", life)
	}
	<-dead
	return events, killed
}

func TestFailedReportComesAgain(t *testing.T) {
	dir := t.TempDir()
	w := ledgerWorker(t, dir, func(context.Context, *session.Report) error { return errors.New("no route") })
	j := ledgerJob(w, "J1")
	talks(t, j, io.Discard, 2)
	j.over()
	want := j.Session().Usage()
	w.closeReports()

	var got []*session.Report
	for _, fails := range []bool{true, false, false} {
		w := ledgerWorker(t, dir, func(_ context.Context, r *session.Report) error {
			got = append(got, r)
			if fails {
				panic("not yet")
			}
			return nil
		})
		w.reportDead(t.Context())
		w.closeReports()
	}
	if len(got) != 2 {
		t.Fatalf("the report came %d times, want 2: after it failed, and once more after that failed", len(got))
	}
	r := got[1]
	if !r.Recovered || r.JobID != "J1" || r.Room != "room" || r.CloseReason != session.ReasonJobShutdown || fmt.Sprint(r.Usage) != fmt.Sprint(want) {
		t.Errorf("got %+v, want usage %v", r, want)
	}
	if len(want.Models) == 0 {
		t.Error("the session spent nothing, so this showed little")
	}
	if _, err := r.MarshalJSON(); err != nil {
		t.Error(err)
	}
}
