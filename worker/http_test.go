package worker

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/livekit/protocol/livekit"
)

// get asks the handler of w.
func get(w *Worker, path string) (int, string) {
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
	return rec.Code, rec.Body.String()
}

func wantFigure(t *testing.T, scrape, name, labels, value string) {
	t.Helper()
	for line := range strings.Lines(scrape) {
		if strings.HasPrefix(line, "lk_agents_"+name+"{") && strings.Contains(line, labels) {
			if !strings.HasSuffix(strings.TrimSpace(line), " "+value) {
				t.Errorf("%s, want %s", strings.TrimSpace(line), value)
			}
			return
		}
	}
	t.Errorf("no %s with %s", name, labels)
}

func TestHealthAndFigures(t *testing.T) {
	s := newServer(t)
	o := s.options(func(ctx context.Context, j *Job) error {
		if j.ID() == "AJ_bad" {
			panic("oops")
		}
		<-ctx.Done()
		return nil
	})
	o.MaxJobs, o.HTTPAddr = 4, "127.0.0.1:0"
	o.OnRequest = func(ctx context.Context, r *JobRequest) error {
		if r.Job.Id == "AJ_rejected" {
			return r.Reject(true)
		}
		return r.Accept(ctx, nil)
	}
	idle, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/": 503, "/readyz": 503, "/healthz": 200, "/nowhere": 404} {
		if code, _ := get(idle, path); code != want {
			t.Errorf("%s of a worker that is not connected: %d, want %d", path, code, want)
		}
	}

	w, stop := s.serving(o)
	if code, body := get(w, "/"); code != 200 || body != "OK" {
		t.Errorf("health %d %q", code, body)
	}
	s.offer("AJ_rejected")
	s.next()
	for _, id := range []string{"AJ_bad", "AJ_long"} {
		s.offer(id)
		s.next()
		s.assign(id)
		s.next() // running
		if id == "AJ_bad" {
			if u := s.next().GetUpdateJob(); u.GetStatus() != livekit.JobStatus_JS_FAILED {
				t.Fatalf("status %v", u)
			}
		}
	}
	// The job that failed is gone once it is not counted any more.
	if err := w.await(t.Context(), func() bool { return len(w.active) == 1 && w.reserved == 0 }); err != nil {
		t.Fatal(err)
	}
	_, body := get(w, "/worker")
	var info map[string]any
	if err := json.Unmarshal([]byte(body), &info); err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]any{"worker_type": "JT_ROOM", "agent_name": "kelly", "active_jobs": 1.0, "sdk_version": Version, "worker_load": 0.25, "protocol_version": 1.0} {
		if info[k] != want {
			t.Errorf("%s is %v, want %v", k, info[k], want)
		}
	}

	addr := "http://" + w.HTTPAddr().String() + "/metrics"
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get(addr)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Fatalf("%v, %s", err, resp.Header.Get("Content-Type"))
	}
	scrape := string(data)
	wantFigure(t, scrape, "worker_load", "", "0.25")
	wantFigure(t, scrape, "active_job_count", "", "1")
	wantFigure(t, scrape, "worker_connected", "", "1")
	wantFigure(t, scrape, "jobs_total", `result="failed"`, "1")
	wantFigure(t, scrape, "jobs_total", `result="declined"`, "1")
	wantFigure(t, scrape, "jobs_total", `result="success"`, "0")
	wantFigure(t, scrape, "job_duration_seconds_count", "", "1")

	if err := stop(); err != nil {
		t.Error(err)
	}
	_, scrape = get(w, "/metrics")
	wantFigure(t, scrape, "jobs_total", `result="success"`, "1")
	wantFigure(t, scrape, "worker_connected", "", "0")
	if resp, err := http.Get(addr); err == nil {
		resp.Body.Close()
		t.Error("the worker has stopped and still serves HTTP")
	}
}

func TestAddressInUseFailsTheWorker(t *testing.T) {
	s := newServer(t)
	o := s.options(func(context.Context, *Job) error { return nil })
	o.HTTPAddr = strings.TrimPrefix(s.http.URL, "http://")
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "serving HTTP of the worker") {
		t.Errorf("Run: %v", err)
	}
}
