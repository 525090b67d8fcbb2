package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/report"
	"github.com/parley-go/parley/session"
)

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
