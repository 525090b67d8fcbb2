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
	"net/http/httptest"
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

// filed is a sink that has a line in dir for every report that it gets: it does not know which ones it has.
func filed(dir string) func(context.Context, *session.Report) error {
	return func(_ context.Context, r *session.Report) error {
		f, err := os.OpenFile(filepath.Join(dir, r.JobID), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		kind := "whole"
		if r.Recovered {
			kind = "recovered"
		}
		fmt.Fprintln(f, kind, report.ID(r))
		return f.Close()
	}
}

func ledgerWorker(t testing.TB, dir string, take func(context.Context, *session.Report) error) *Worker {
	return workerWith(t, dir, report.Func("test", take))
}

func workerWith(t testing.TB, dir string, sinks ...report.Sink) *Worker {
	w, err := New(Options{Entrypoint: func(context.Context, *Job) error { return nil }, URL: "ws://127.0.0.1:1", APIKey: "key", APISecret: "secret",
		Ledger: filepath.Join(dir, "ledger"), Reports: sinks, Logger: slog.New(slog.DiscardHandler)})
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
	r.rec, ends.Recorder = ends.Recorder, r
	return ends, nil
}
func (*ledgerRoom) Close(context.Context) error { return nil }
func (r *ledgerRoom) Tag(id string, tags map[string]string) {
	r.rec.(session.TagRecorder).Tag(id, tags)
}
func (r *ledgerRoom) Record(ctx context.Context, e metrics.Event) {
	at := time.Now()
	r.rec.Record(ctx, e)
	fmt.Fprintln(r.aloud, "E", e.Head().ID, at.UnixNano())
}

// talks starts a session in the job and has n turns in it.
func talks(t testing.TB, j *Job, aloud io.Writer, n int) {
	m := llm.New(scripted.New(&scripted.Options{Answers: slices.Repeat([]scripted.Answer{{Text: "one two three four five",
		TTFT: 20 * time.Millisecond, Delay: 4 * time.Millisecond}}, n)}), nil)
	s := session.New(session.Options{LLM: m, Tags: map[string]string{"customer": "acme"}, Logger: j.log})
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

// TestLedgerChild is the process that TestLedgerSurvivesKill kills. It says what it has done: J for a job that
// began, E for an event that was recorded, Z for a job whose report was delivered and settled.
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
				j := ledgerJob(w, fmt.Sprintf("J%d-%d-%d", os.Getpid(), i, n))
				fmt.Fprintln(os.Stdout, "J", j.ID(), 0)
				if rand.IntN(3) == 0 {
					time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond) // the caller takes his time, or never comes
				}
				if rand.IntN(10) > 0 {
					talks(t, j, os.Stdout, 3+rand.IntN(6))
				}
				j.over()
				fmt.Fprintln(os.Stdout, "Z", j.ID(), 0)
			}
		})
	}
	wg.Wait()
}

// spoken is what the children have said.
type spoken struct {
	began, settled map[string]bool
	events         map[string]time.Time // of the last one
}

func TestLedgerSurvivesKill(t *testing.T) {
	dir := t.TempDir() // one ledger for all: the dead of one round must not come again in the next
	reports := filepath.Join(dir, "reports")
	if err := os.Mkdir(reports, 0o700); err != nil {
		t.Fatal(err)
	}
	said := spoken{began: map[string]bool{}, settled: map[string]bool{}}
	died, jobsDied, most := 0, 0, time.Duration(0)
	for range *kills {
		killed := killChild(t, dir, &said)
		have := map[string]bool{}
		for r, err := range ledger.Read(filepath.Join(dir, "ledger")) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Event != nil {
				have[r.Event.Head().ID] = true
			}
		}
		for id, at := range said.events {
			ago := killed.Sub(at)
			if !have[id] {
				most = max(most, ago)
			}
			if !have[id] && ago > 250*time.Millisecond {
				t.Errorf("event %s is lost although it is %v older than the kill", id, ago)
			}
		}
		w := ledgerWorker(t, dir, filed(reports))
		for _, d := range w.ledger.Recover() {
			if died++; d.SessionID == "" {
				jobsDied++
			}
		}
		w.reportDead(t.Context())
		w.closeReports()
		if dead, err := ledger.Recover(filepath.Join(dir, "ledger")); err != nil || len(dead) > 0 {
			t.Fatalf("%d sessions would be reported again, %v", len(dead), err)
		}
	}
	again := 0
	for id := range said.began {
		data, err := os.ReadFile(filepath.Join(reports, id))
		if err != nil {
			t.Errorf("job %s has no report", id)
			continue
		}
		got := strings.Split(strings.TrimSpace(string(data)), "\n")
		if len(got) == 1 {
			continue
		}
		// It may come again if the process died after the sink had it and before that was written down, and
		// then the sink can tell that it is the same.
		again++
		first, firstID, _ := strings.Cut(got[0], " ")
		second, secondID, _ := strings.Cut(got[1], " ")
		if said.settled[id] || len(got) > 2 || first != "whole" || second != "recovered" || firstID != secondID {
			t.Errorf("job %s, settled %t, was reported more than once: %q", id, said.settled[id], got)
		}
	}
	if died == jobsDied || jobsDied == 0 && *kills > 4 || len(said.settled) == 0 {
		t.Errorf("%d sessions and %d jobs without one died, %d came to their end: this showed too little", died-jobsDied, jobsDied, len(said.settled))
	}
	t.Logf("%d kills, %d jobs: %d settled, %d died in a session, %d before one; lost events were at most %v old; %d reports were killed between delivery and record",
		*kills, len(said.began), len(said.settled), died-jobsDied, jobsDied, most.Round(time.Millisecond), again)
}

// killChild runs a child for a while and kills it.
func killChild(t *testing.T, dir string, said *spoken) time.Time {
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
	said.events = map[string]time.Time{}
	for in := bufio.NewScanner(out); in.Scan(); {
		var what, id string
		var at int64
		if n, _ := fmt.Sscan(in.Text(), &what, &id, &at); n != 3 {
			continue
		}
		switch what {
		case "J":
			said.began[id] = true
		case "Z":
			said.settled[id] = true
		case "E":
			said.events[id] = time.Unix(0, at)
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
	if timer == nil || len(said.events) == 0 {
		t.Fatalf("the child recorded nothing; was it to live %v", life)
	}
	<-dead
	return killed
}

func TestFailedReportComesAgain(t *testing.T) {
	dir := t.TempDir()
	w := ledgerWorker(t, dir, func(context.Context, *session.Report) error { return errors.New("no route") })
	j := ledgerJob(w, "J1")
	talks(t, j, io.Discard, 2)
	j.over()
	if err := j.Session().SetTag("resolved", "yes"); err != nil { // in a shutdown callback, say
		t.Error(err)
	}
	want, turns := j.Session().Usage(), j.Session().UsageBy(metrics.ByTurn)
	w.closeReports()
	book, err := metrics.ParsePriceBook([]byte(`{"format": 1, "version": "1", "currency": "USD", "prices": [
		{"provider": "scripted", "model": "*", "rates": {"input_tokens": {"price": "1", "per": 1}, "output_tokens": {"price": "1", "per": 1}}}]}`))
	if err != nil {
		t.Fatal(err)
	}

	var got []*session.Report
	for _, fails := range []bool{true, false, false} {
		w := ledgerWorker(t, dir, func(_ context.Context, r *session.Report) error {
			got = append(got, r)
			if fails {
				panic("not yet")
			}
			return nil
		})
		w.opt.PriceBooks = []*metrics.PriceBook{book}
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
	if fmt.Sprint(r.Tags) != "map[customer:acme resolved:yes]" {
		t.Errorf("tags %v", r.Tags)
	}
	if by := r.UsageBy[metrics.ByTurn]; len(by) != 2 || by[0].Key != turns[0].Key || fmt.Sprint(by[1].Usage) != fmt.Sprint(turns[1].Usage) {
		t.Errorf("turns %v, want %v", by, turns)
	}
	if cost := r.Cost.Total("USD"); cost != metrics.Amount(want.Tokens())*metrics.Unit || cost == 0 {
		t.Errorf("it costs %s, want %d", cost, want.Tokens())
	}
	if _, err := r.MarshalJSON(); err != nil {
		t.Error(err)
	}
}

// A sink that failed gets its report after the next start, and the ones that have it do not get it again.
func TestFailedSinkAloneGetsTheReportAgain(t *testing.T) {
	dir := t.TempDir()
	var got []string
	fails := true
	sinks := []report.Sink{
		report.Func("good", func(_ context.Context, r *session.Report) error {
			got = append(got, fmt.Sprint("good ", r.Recovered))
			return nil
		}),
		report.Func("bad", func(_ context.Context, r *session.Report) error {
			if fails {
				return errors.New("no route")
			}
			got = append(got, fmt.Sprint("bad ", r.Recovered))
			return nil
		}),
	}
	w := workerWith(t, dir, sinks...)
	j := ledgerJob(w, "J1")
	talks(t, j, io.Discard, 1)
	j.over()
	w.closeReports()
	for _, fails = range []bool{true, false, false} {
		w := workerWith(t, dir, sinks...)
		w.reportDead(t.Context())
		w.closeReports()
	}
	if !slices.Equal(got, []string{"good false", "bad true"}) {
		t.Errorf("delivered %q", got)
	}
}

// TestScrapeShowsLedgerAndReports looks at what an operator sees.
func TestScrapeShowsLedgerAndReports(t *testing.T) {
	w := workerWith(t, t.TempDir(), report.Func("good", func(context.Context, *session.Report) error { return nil }),
		report.Func("bad", func(context.Context, *session.Report) error { return errors.New("no route") }))
	defer w.closeReports()
	j := ledgerJob(w, "J1")
	talks(t, j, io.Discard, 3)
	j.over()
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	value := func(name, label string) string {
		for line := range strings.Lines(rec.Body.String()) {
			if strings.HasPrefix(line, "lk_agents_"+name+"{") && strings.Contains(line, label) {
				_, v, _ := strings.Cut(strings.TrimSpace(line), "} ")
				return v
			}
		}
		return "missing"
	}
	if want := fmt.Sprint(w.ledger.Stats().Events); value("ledger_events_total", "") != want || want == "0" {
		t.Errorf("ledger_events_total %s, want %s", value("ledger_events_total", ""), want)
	}
	for _, tt := range [][3]string{
		{"reports_total", `result="delivered",sink="good"`, "1"}, {"reports_total", `result="failed",sink="good"`, "0"},
		{"reports_total", `result="delivered",sink="bad"`, "0"}, {"reports_total", `result="failed",sink="bad"`, "1"},
		{"ledger_write_failures_total", "", "0"}, {"ledger_lost_events_total", "", "0"},
	} {
		if got := value(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%s %s is %s, want %s", tt[0], tt[1], got, tt[2])
		}
	}
}

// A dead process whose report hangs does not keep the other reports from being delivered.
func TestDeadSessionsAreReportedSideBySide(t *testing.T) {
	dir := t.TempDir()
	w := workerWith(t, dir)
	for i := range 3 * recoverAtOnce {
		ledgerJob(w, fmt.Sprint("J", i))
	}
	w.closeReports()
	release := make(chan struct{})
	var mu sync.Mutex
	got := map[string]bool{}
	w = ledgerWorker(t, dir, func(_ context.Context, r *session.Report) error {
		if r.JobID == "J0" {
			<-release
		}
		mu.Lock()
		defer mu.Unlock()
		got[r.JobID] = true
		if len(got) == 3*recoverAtOnce-1 {
			close(release)
		}
		return nil
	})
	w.reportDead(t.Context())
	w.closeReports()
	if len(got) != 3*recoverAtOnce {
		t.Errorf("%d reports", len(got))
	}
}
