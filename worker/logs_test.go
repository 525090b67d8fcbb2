package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/livekit/protocol/livekit"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/session"
)

// Two jobs of a process: each has exported what was logged for it, from its start on, and what its session
// logs.
func TestLogsOfJobsAreExportedApart(t *testing.T) {
	s := newServer(t)
	var logs [2]bytes.Buffer
	failing := &agent.Agent{OnEnter: func(context.Context, *agent.RunContext) error { return errors.New("no coffee") }}
	n := 0
	_, stop := s.serving(s.options(func(ctx context.Context, j *Job) error {
		j.ExportLogs(slog.NewTextHandler(&logs[n], &slog.HandlerOptions{Level: slog.LevelDebug}))
		n++
		sess := session.New(session.Options{})
		if err := sess.Start(ctx, failing, nil); err != nil {
			return err
		}
		if err := sess.Close(ctx); err != nil {
			return err
		}
		j.Shutdown("")
		return nil
	}))
	for _, id := range []string{"AJ_1", "AJ_2"} {
		s.offer(id)
		s.next()
		s.assign(id)
		s.next()
		if u := s.next().GetUpdateJob(); u.GetStatus() != livekit.JobStatus_JS_SUCCESS {
			t.Fatalf("%s: %v", id, u)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for i, id := range []string{"AJ_1", "AJ_2"} {
		got := strings.Split(strings.TrimSpace(logs[i].String()), "\n")
		for k, want := range []string{`msg="job started"`, `msg="hook failed"`, `msg="job ends"`, `msg="job ended"`} {
			if len(got) != 4 || !strings.Contains(got[k], want) || !strings.Contains(got[k], "job_id="+id) {
				t.Errorf("job %s has logged\n%s\nwant record %d to be %s", id, strings.Join(got, "\n"), k, want)
			}
		}
	}
}
