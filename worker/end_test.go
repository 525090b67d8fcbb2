package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/report"
	"github.com/parley-go/parley/session"
)

// steps is what happened at the end of a job, in order.
type steps struct {
	mu   sync.Mutex
	list []string
}

func (s *steps) add(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, fmt.Sprintf(format, args...))
}

func (s *steps) want(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.list, want) {
		t.Errorf("happened:\n  %s\nwant:\n  %s", strings.Join(s.list, "\n  "), strings.Join(want, "\n  "))
	}
}

// endTransport is a transport of a job without LiveKit that notes when it is closed, and then hangs for a while.
type endTransport struct {
	job   *Job
	note  func(string, ...any)
	hangs time.Duration
}

func (e *endTransport) Open(_ context.Context, h session.Host) (session.IO, error) {
	s, _ := session.SessionOf(h)
	var ends session.IO
	return ends, e.job.enter(s, &ends)
}

func (e *endTransport) Close(context.Context) error {
	e.note("session closes")
	time.Sleep(e.hangs)
	return nil
}

// statusLog notes the statuses that are sent to the server.
type statusLog struct {
	slog.Handler
	note func(string, ...any)
}

func (l statusLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "job status" {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "status" {
				l.note("status %s", a.Value)
			}
			return true
		})
	}
	return nil
}
func (l statusLog) Enabled(context.Context, slog.Level) bool { return true }
func (l statusLog) WithAttrs([]slog.Attr) slog.Handler       { return l }

// ends runs a job of a worker with o to its end, without a server.
func ends(t *testing.T, o Options, note func(string, ...any)) *Job {
	t.Helper()
	o.URL, o.APIKey, o.APISecret = "ws://127.0.0.1:1", "key", "secret"
	o.Logger = slog.New(statusLog{slog.NewTextHandler(io.Discard, nil), note})
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.openReports(); err != nil {
		t.Fatal(err)
	}
	defer w.closeReports()
	j := w.newJob(&livekit.Job{Id: "AJ_1", Room: &livekit.Room{Name: "room", Sid: "RM_1"}}, &livekit.JobAssignment{}, "agent")
	j.run()
	return j
}

func TestEndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s steps
		var usage []string
		var late string // of a hook that was added late; which of them goes first does not matter
		o := Options{
			Entrypoint: func(ctx context.Context, j *Job) error {
				m := llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{{Text: "Hello"}}}), nil)
				x := session.New(session.Options{LLM: m, Logger: j.Logger()})
				session.On(x, func(e session.Closed) { s.add("closed for %s", e.Reason) })
				if err := x.Start(ctx, &agent.Agent{OnExit: func(context.Context, *agent.RunContext) error {
					s.add("agent exits")
					return nil
				}}, &endTransport{job: j, note: s.add}); err != nil {
					return err
				}
				if _, err := x.Run(ctx, "hi"); err != nil {
					return err
				}
				j.OnShutdown(func(ctx context.Context, reason string) error {
					usage = append(usage, fmt.Sprint(x.Usage()))
					s.add("callback, %s, context %v", reason, ctx.Err())
					return nil
				})
				j.BeforeDisconnect(func(ctx context.Context, reason string) error {
					j.room.mu.Lock()
					gone := j.room.end
					j.room.mu.Unlock()
					usage = append(usage, fmt.Sprint(x.Usage()))
					s.add("before disconnect, %s, context %v, gone %t", reason, ctx.Err(), gone)
					return nil
				})
				j.Shutdown("enough")
				<-ctx.Done()
				s.add("entrypoint told")
				return ctx.Err()
			},
			OnSessionEnd: func(ctx context.Context, j *Job) error {
				s.add("session end, context %v", ctx.Err())
				j.BeforeDisconnect(func(context.Context, string) error { late = "called"; return nil })
				return nil
			},
			Reports: []report.Sink{report.Func("test", func(_ context.Context, r *session.Report) error {
				s.add("report, %s, %s", r.CloseReason, r.JobReason)
				usage = append(usage, fmt.Sprint(r.Usage))
				return nil
			})},
		}
		ends(t, o, s.add)
		s.want(t, "agent exits", "closed for job_shutdown", "session closes", "entrypoint told", "session end, context <nil>",
			"before disconnect, enough, context <nil>, gone false", "status JS_SUCCESS", "report, job_shutdown, enough",
			"callback, enough, context <nil>")
		if late != "called" {
			t.Error("a hook that was added when the session ended is not called")
		}
		if len(usage) != 3 || usage[0] != usage[1] || usage[1] != usage[2] || usage[0] == fmt.Sprint(metrics.Usage{}) {
			t.Errorf("the usage before the disconnect, in the report and later: %q", usage)
		}
	})
}

// TestNothingHoldsUpTheEnd has everything hang that can, or panic.
func TestNothingHoldsUpTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s steps
		began := time.Now()
		note := func(format string, args ...any) {
			s.add("%v %s", time.Since(began), fmt.Sprintf(format, args...))
		}
		stuck := make(chan struct{})
		hang := func(what string) error {
			note("%s", what)
			<-stuck
			return nil
		}
		o := Options{
			Entrypoint: func(ctx context.Context, j *Job) error {
				x := session.New(session.Options{Logger: j.Logger()})
				if err := x.Start(ctx, &agent.Agent{}, &endTransport{j, note, time.Hour}); err != nil {
					return err
				}
				for range 3 {
					j.OnShutdown(func(context.Context, string) error { return hang("callback") })
					j.BeforeDisconnect(func(context.Context, string) error { return hang("before") })
				}
				j.OnShutdown(func(context.Context, string) error { panic("oops") })
				j.OnShutdown(func(context.Context, string) error { runtime.Goexit(); return nil })
				j.BeforeDisconnect(func(context.Context, string) error { panic("oops") })
				j.Shutdown("enough")
				return hang("entrypoint")
			},
			OnSessionEnd: func(context.Context, *Job) error { return hang("session end") },
			Reports: []report.Sink{
				report.Func("hangs", func(context.Context, *session.Report) error { return hang("sink") }),
				report.Func("works", func(_ context.Context, r *session.Report) error {
					note("report with %d spent", len(r.Usage.Models))
					return nil
				}),
			},
		}
		ends(t, o, note)
		note("over")
		slices.SortStableFunc(s.list, func(a, b string) int { // what happened at the same time
			x, y, _ := strings.Cut(a, " ")
			p, q, _ := strings.Cut(b, " ")
			if x == p {
				return strings.Compare(y, q)
			}
			return 0
		})
		s.want(t, "0s entrypoint", "0s session closes", "1m20s session end", "6m20s before", "6m20s before", "6m20s before",
			"6m25s report with 0 spent", "6m25s sink", "6m25s status JS_SUCCESS",
			"6m56s callback", "6m56s callback", "6m56s callback", "7m6s over")
		close(stuck)
		time.Sleep(2 * time.Hour) // the session lets go
	})
}

// TestEveryJobHasAReport is about jobs that never came as far as a session.
func TestEveryJobHasAReport(t *testing.T) {
	full, err := json.Marshal(&session.Report{SessionID: "session_x", JobID: "AJ_1"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		entrypoint    func(context.Context, *Job) error
		reason, error string
	}{
		"nobody came":           {func(_ context.Context, j *Job) error { j.Shutdown("nobody came"); return nil }, "nobody came", ""},
		"terminated":            {func(_ context.Context, j *Job) error { j.end(reasonParentShutdown, nil); return nil }, "parent process shutdown", ""},
		"failed":                {func(context.Context, *Job) error { return errors.New("no key") }, "job crashed", "no key"},
		"panicked":              {func(context.Context, *Job) error { panic("oops") }, "job crashed", "panic in entrypoint: oops"},
		"ended its goroutine":   {func(context.Context, *Job) error { runtime.Goexit(); return nil }, "job crashed", "entrypoint ended its goroutine"},
		"failed after the call": {func(_ context.Context, j *Job) error { j.end(reasonDisconnected, nil); return errors.New("no disk") }, "room disconnected", "no disk"},
		"session did not start": {func(ctx context.Context, j *Job) error {
			x := session.New(session.Options{Models: session.Models{LLM: "no/gateway"}, Logger: j.Logger()})
			return x.Start(ctx, &agent.Agent{}, &endTransport{job: j})
		}, "job crashed", "starting session: "},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []*session.Report
				begin := func(ctx context.Context, j *Job) error { time.Sleep(2 * time.Second); return tt.entrypoint(ctx, j) }
				ends(t, Options{Entrypoint: begin, Reports: []report.Sink{report.Func("test", func(_ context.Context, r *session.Report) error {
					got = append(got, r)
					return nil
				})}}, func(string, ...any) {})
				if len(got) != 1 {
					t.Fatalf("%d reports", len(got))
				}
				r := got[0]
				jobErr := ""
				if r.JobError != nil {
					jobErr = r.JobError.Error()
				}
				if r.JobID != "AJ_1" || r.RoomID != "RM_1" || r.Room != "room" || r.SessionID != "" || r.JobReason != tt.reason ||
					!strings.HasPrefix(jobErr, tt.error) || (jobErr == "") != (tt.error == "") {
					t.Errorf("report %+v", r)
				}
				if r.Duration() < 2*time.Second || r.EndedAt.IsZero() || len(r.Usage.Models) != 0 || r.History.Len() != 0 || r.Recovered || r.CloseReason != "" {
					t.Errorf("report %+v of %v", r, r.Duration())
				}
				data, err := json.Marshal(r)
				if err != nil {
					t.Fatal(err)
				}
				if a, b := keys(t, data), keys(t, full); !slices.Equal(a, b) {
					t.Errorf("fields %q, those of a session %q", a, b)
				}
			})
		})
	}
}

func keys(t *testing.T, doc []byte) (out []string) {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(doc, &m); err != nil {
		t.Fatal(err)
	}
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// TestSecondSessionIsClosedAndReportedToo has a job with two sessions; the report of the first one comes
// last, so that a sink with one file per job keeps it.
func TestSecondSessionIsClosedAndReportedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s steps
		var first, second *session.Session
		ends(t, Options{
			Entrypoint: func(ctx context.Context, j *Job) error {
				first, second = session.New(session.Options{Logger: j.Logger()}), session.New(session.Options{Logger: j.Logger()})
				for _, x := range []*session.Session{first, second} {
					if err := x.Start(ctx, &agent.Agent{}, &endTransport{job: j, note: s.add}); err != nil {
						return err
					}
				}
				if err := second.Close(ctx); err != nil {
					return err
				}
				// Its second run alone would be in the report, and what the first has spent in none.
				if err := second.Start(ctx, &agent.Agent{}, &endTransport{job: j, note: func(string, ...any) {}}); !errors.Is(err, ErrSessionAgain) {
					t.Errorf("a session starts again in its job: %v", err)
				}
				j.Shutdown("")
				late := session.New(session.Options{Logger: j.Logger()})
				err := late.Start(ctx, &agent.Agent{}, &endTransport{job: j, note: func(string, ...any) {}})
				if !errors.Is(err, ErrEnded) {
					t.Errorf("a session starts in a job that ends: %v", err)
				}
				return err
			},
			Reports: []report.Sink{report.Func("test", func(_ context.Context, r *session.Report) error {
				s.add("%s %s", r.SessionID, r.CloseReason)
				return nil
			})},
		}, s.add)
		s.want(t, "session closes", "session closes", "status JS_SUCCESS", second.ID()+" user_initiated", first.ID()+" job_shutdown")
	})
}
