package workertest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/livekit/protocol/livekit"

	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/report"
)

// TestKilledProgramIsReportedAfterItsRestart kills a program in the middle of a call, and of a job that has no
// session yet. The next one reports both, once, to a folder and to a webhook that is down at first.
func TestKilledProgramIsReportedAfterItsRestart(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	posts, refused := map[string]int{}, map[string]int{} // by id
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		id, err := report.Verify(r.Header, body, hookSecret)
		if err != nil {
			t.Errorf("webhook: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		if refused[id]++; refused[id] == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		posts[id]++
	}))
	defer hook.Close()

	name, dir := uniqueName(t), t.TempDir()
	env := append(credentials(server.URL()), envProgram+"="+name, envLedger+"="+dir, envHook+"="+hook.URL)
	first, stderr := userProgram(t, env...)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	c := callProgram(t, name)
	if _, err := dispatches().CreateDispatch(t.Context(), &livekit.CreateAgentDispatchRequest{Room: name + "-idle", AgentName: name, Metadata: noSession}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ledger")
	var spoken int64
	eventually(t, func() bool {
		idle := false
		spoken = 0
		for r, err := range ledger.Read(path) {
			if err != nil {
				t.Fatal(err)
			}
			idle = idle || r.Start != nil && r.Start.Room == name+"-idle"
			if r.Event != nil {
				if b, _ := json.Marshal(r.Event); strings.Contains(string(b), `"tts_metrics"`) {
					var e struct {
						Characters int64 `json:"characters_count"`
					}
					if err := json.Unmarshal(b, &e); err != nil {
						t.Fatal(err)
					}
					spoken += e.Characters
				}
			}
		}
		return idle && spoken > 0
	}, "both jobs begin and the agent speaks: %v", stderr)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // it was killed
	_ = c.Hangup()
	reports := filepath.Join(dir, "reports")
	if early, _ := filepath.Glob(filepath.Join(reports, "*.json")); len(early) > 0 {
		t.Fatalf("the killed program left reports: %q", early)
	}
	dead, err := ledger.Recover(path)
	if err != nil {
		t.Fatal(err)
	}

	second, stderr := userProgram(t, env...)
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		waiting, _ := filepath.Glob(filepath.Join(dir, "outbox", "*.json"))
		return len(posts) == len(dead) && len(waiting) == 0 // the program has had the webhook's word, too
	}, "the webhook has both reports: %v", stderr)
	if err := second.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(); err != nil || stderr.Len() > 0 {
		t.Errorf("the second program: %v, %s", err, stderr)
	}
	if left, err := ledger.Recover(path); err != nil || len(left) > 0 {
		t.Errorf("%d would be reported again, %v", len(left), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "outbox", "*.json")); len(left) > 0 {
		t.Errorf("left in the outbox: %q", left)
	}

	files, _ := filepath.Glob(filepath.Join(reports, "*.json"))
	if len(files) != len(dead) || len(dead) < 2 {
		t.Fatalf("%d sessions and jobs died, reports %q", len(dead), files)
	}
	var rooms []string
	spoke := false
	for _, f := range files {
		var r struct {
			Version     int    `json:"version"`
			SessionID   string `json:"session_id"`
			JobID       string `json:"job_id"`
			Room        string `json:"room"`
			JobReason   string `json:"job_reason"`
			CloseReason string `json:"close_reason"`
			Recovered   bool   `json:"recovered"`
			Usage       []struct {
				Type       string `json:"type"`
				Characters int64  `json:"characters_count"`
			} `json:"usage"`
		}
		data, err := os.ReadFile(f)
		if err == nil {
			err = json.Unmarshal(data, &r)
		}
		if err != nil {
			t.Fatal(err)
		}
		id := r.SessionID
		if id == "" {
			id = r.JobID
		}
		if n := posts[fmt.Sprintf("%s-v%d", id, r.Version)]; n != 1 {
			t.Errorf("the webhook got the report of %s %d times", id, n)
		}
		if !r.Recovered || r.JobReason != "process died" || (r.CloseReason == "process_died") != (r.SessionID != "") {
			t.Errorf("report %s", data)
		}
		rooms = append(rooms, r.Room)
		idle := r.Room == name+"-idle"
		if idle && (r.SessionID != "" || len(r.Usage) != 0) {
			t.Errorf("report of the job without a session: %s", data)
		}
		for _, u := range r.Usage {
			spoke = spoke || u.Type == "tts_usage" && u.Characters == spoken
		}
	}
	if !slices.Contains(rooms, name+"-idle") || !spoke {
		t.Errorf("reports of rooms %q; one with the %d characters that were spoken: %t", rooms, spoken, spoke)
	}
}
