package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/report"
	"github.com/parley-go/parley/session"
)

var kills = flag.Int("ledger.kills", 5, "how often TestLedgerSurvivesKill kills")

const (
	childVar = "PARLEY_TEST_LEDGER_CHILD" // the folder that a child works in
	hookVar  = "PARLEY_TEST_LEDGER_HOOK"  // the receiver of its webhook
	secret   = "a secret that is long enough to sign"
)

// filed is a sink that has a line in dir for every report that it gets: it does not know which ones it has. It takes
// its time for those of the dead, so that a kill meets it.
func filed(dir string) func(context.Context, *session.Report) error {
	return func(_ context.Context, r *session.Report) error {
		kind := "whole"
		if r.Recovered {
			kind = "recovered"
			time.Sleep(rand.N(40 * time.Millisecond))
		}
		f, err := os.OpenFile(filepath.Join(dir, r.JobID), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		fmt.Fprintln(f, kind, report.ID(r))
		return f.Close()
	}
}

// killedWorker is a worker of dir with all kinds of sinks that outlive their process.
func killedWorker(t testing.TB, dir, hook string) *Worker {
	return workerWith(t, dir, report.Func("test", filed(filepath.Join(dir, "reports"))), report.Dir(filepath.Join(dir, "files")),
		report.Webhook(hook, report.WebhookOptions{Secret: secret, Outbox: filepath.Join(dir, "outbox")}))
}

// TestLedgerChild is the process that TestLedgerSurvivesKill kills. It says what it has done: J for a job that
// began, E for an event that was recorded, Z for a job whose report was delivered and settled.
func TestLedgerChild(t *testing.T) {
	dir := os.Getenv(childVar)
	if dir == "" {
		t.Skip("runs as a child of TestLedgerSurvivesKill")
	}
	w := killedWorker(t, dir, os.Getenv(hookVar))
	deadline := time.Now().Add(20 * time.Second) // should nobody kill it
	var wg sync.WaitGroup
	wg.Go(func() { w.reportDead(context.Background()) }) // of the process before
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

// killing is what is known of the children.
type killing struct {
	dir            string
	began, settled map[string]bool            // jobs, as the children say
	events         map[string]time.Time       // of the last child
	open           map[string]int             // jobs: how many processes have left it unsettled
	again          map[string]int             // jobs: how many of those had its report delivered to sink "test"
	closed         map[string]int             // jobs that are settled in the ledger: how often they were reported
	alone          int                        // jobs that died without a session
	lost           time.Duration              // age of the oldest event that was lost
	posts          map[string][]string        // ids of the reports of a job that came over the webhook
	all            map[string][]metrics.Event // by session, in the end

	mu sync.Mutex // guards posts
}

// TestLedgerSurvivesKill kills a process with 20 sessions again and again, at any moment: while it talks, reports, and
// recovers what died before. Nothing older than 250 ms is lost, and every job has its report, once.
func TestLedgerSurvivesKill(t *testing.T) {
	k := &killing{dir: t.TempDir(), began: map[string]bool{}, settled: map[string]bool{}, open: map[string]int{},
		again: map[string]int{}, closed: map[string]int{}, posts: map[string][]string{}}
	hook := httptest.NewServer(http.HandlerFunc(k.receive))
	defer hook.Close()
	if err := os.Mkdir(filepath.Join(k.dir, "reports"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range *kills {
		killed := k.kill(t, hook.URL)
		k.read(t, killed)
	}
	w := killedWorker(t, k.dir, hook.URL)
	w.reportDead(t.Context())
	for end := time.Now().Add(20 * time.Second); w.courier.Stats()[2].Waiting > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond) // the outbox sends what it had kept
	}
	w.closeReports()
	if dead, err := ledger.Recover(k.ledger()); err != nil || len(dead) > 0 {
		t.Fatalf("%d sessions would be reported again, %v", len(dead), err)
	}
	again, twice := 0, 0
	for id := range k.began {
		again += k.checkLines(t, id)
		k.checkFile(t, id)
		k.mu.Lock()
		posts := slices.Clone(k.posts[id])
		k.mu.Unlock()
		if len(posts) > 1 {
			twice++
		}
		if slices.Sort(posts); len(slices.Compact(posts)) != 1 || k.open[id] == 0 && len(posts) > 1 {
			t.Errorf("job %s, %d times left, came over the webhook as %q", id, k.open[id], posts)
		}
	}
	inRecovery := 0
	for _, n := range k.open {
		if n > 1 {
			inRecovery++
		}
	}
	if len(k.open) == k.alone || k.alone == 0 && *kills > 4 || len(k.settled) == 0 || inRecovery == 0 && *kills > 10 {
		t.Error("this showed too little")
	}
	t.Logf("%d kills, %d jobs: %d settled, %d died in a session, %d before one, %d were to be recovered more than once; lost events were at most %v old; "+
		"%d reports were killed between delivery and record, %d were posted again", *kills, len(k.began), len(k.settled), len(k.open)-k.alone, k.alone,
		inRecovery, k.lost.Round(time.Millisecond), again, twice)
}

func (k *killing) ledger() string { return filepath.Join(k.dir, "ledger") }

// receive is the receiver of the webhook.
func (k *killing) receive(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var doc struct {
		Job string `json:"job_id"`
	}
	id, err := report.Verify(r.Header, body, secret)
	if err != nil || json.Unmarshal(body, &doc) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.posts[doc.Job] = append(k.posts[doc.Job], id)
}

// kill runs a child for a while and kills it.
func (k *killing) kill(t *testing.T, hook string) time.Time {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLedgerChild$")
	cmd.Env = append(os.Environ(), childVar+"="+k.dir, hookVar+"="+hook)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var killed time.Time
	timer := (*time.Timer)(nil)
	dead := make(chan struct{})
	k.events = map[string]time.Time{}
	for in := bufio.NewScanner(out); in.Scan(); {
		var what, id string
		var at int64
		if n, _ := fmt.Sscan(in.Text(), &what, &id, &at); n != 3 {
			continue
		}
		switch what {
		case "J":
			k.began[id] = true
		case "Z":
			k.settled[id] = true
		case "E":
			k.events[id] = time.Unix(0, at)
		}
		if timer == nil { // it lives
			timer = time.AfterFunc(rand.N(800*time.Millisecond), func() {
				killed = time.Now()
				_ = cmd.Process.Kill()
				close(dead)
			})
		}
	}
	_ = cmd.Wait() // it was killed
	if timer == nil {
		t.Fatal("the child said nothing")
	}
	<-dead
	return killed
}

// read compares what the ledger has with what the child has said.
func (k *killing) read(t *testing.T, killed time.Time) {
	t.Helper()
	have, settled, jobOf := map[string]bool{}, map[string]bool{}, map[string]string{}
	for r, err := range ledger.Read(k.ledger()) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case r.Event != nil:
			have[r.Event.Head().ID] = true
		case r.Start != nil:
			jobOf[r.SessionID] = r.Start.JobID
		case r.Kind == ledger.KindSettled:
			settled[jobOf[r.SessionID]] = true
		}
	}
	for id, at := range k.events {
		ago := killed.Sub(at)
		if have[id] {
			continue
		}
		if k.lost = max(k.lost, ago); ago > 250*time.Millisecond {
			t.Errorf("event %s is lost although it is %v older than the kill", id, ago)
		}
	}
	dead, err := ledger.Recover(k.ledger())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dead {
		if d.SessionID == "" && k.open[d.JobID] == 0 {
			k.alone++
		}
		k.open[d.JobID]++
		if len(k.lines(d.JobID)) > 0 && !slices.Contains(d.Delivered, "test") {
			k.again[d.JobID]++
		}
	}
	for job := range settled {
		n := len(k.lines(job))
		if was, known := k.closed[job]; known && was != n {
			t.Errorf("job %s was settled with %d reports and has %d", job, was, n)
		}
		k.closed[job] = n
	}
}

// lines are the reports of a job that sink "test" has got.
func (k *killing) lines(job string) []string {
	data, err := os.ReadFile(filepath.Join(k.dir, "reports", job))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// checkLines looks whether a job was reported once. It may be reported again only when the process died after the sink
// had the report and before that was written down, and then the sink can tell that it is the same.
func (k *killing) checkLines(t *testing.T, job string) (again int) {
	t.Helper()
	all := k.lines(job)
	if len(all) == 0 {
		t.Errorf("job %s has no report", job)
		return 0
	}
	_, first, _ := strings.Cut(all[0], " ")
	for _, line := range all[1:] {
		if line != "recovered "+first {
			t.Errorf("job %s was reported as %q", job, all)
		}
	}
	if again = len(all) - 1; again > k.again[job] {
		t.Errorf("job %s was reported %d times again, although only %d processes died between delivery and record", job, again, k.again[job])
	}
	return again
}

// checkFile looks whether a job has one file, which is whole if it ever was, and agrees with the ledger.
func (k *killing) checkFile(t *testing.T, job string) {
	t.Helper()
	all, _ := filepath.Glob(filepath.Join(k.dir, "files", job+".*"))
	if len(all) != 1 {
		t.Errorf("job %s has the files %q", job, all)
		return
	}
	data, err := os.ReadFile(all[0])
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Session   string `json:"session_id"`
		Recovered bool
		Usage     []struct {
			Output int64 `json:"output_tokens"`
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	if whole := slices.ContainsFunc(k.lines(job), func(s string) bool { return strings.HasPrefix(s, "whole") }); doc.Recovered && whole && k.open[job] == 0 {
		t.Errorf("the report of job %s, which ended well, was replaced by one from the ledger", job)
	}
	if !doc.Recovered || doc.Session == "" {
		return
	}
	var want, got int64
	for _, u := range doc.Usage {
		got += u.Output
	}
	for _, e := range k.eventsOf(t, doc.Session) {
		if e, ok := e.(*metrics.LLM); ok {
			want += e.CompletionTokens
		}
	}
	if got != want {
		t.Errorf("the report of job %s says %d tokens, the ledger %d", job, got, want)
	}
}

// eventsOf are the events of a session.
func (k *killing) eventsOf(t *testing.T, session string) []metrics.Event {
	if k.all == nil {
		k.all = map[string][]metrics.Event{}
		for r, err := range ledger.Read(k.ledger()) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Event != nil {
				k.all[r.SessionID] = append(k.all[r.SessionID], r.Event)
			}
		}
	}
	return k.all[session]
}
