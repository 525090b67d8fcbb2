package worker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/protocol/livekit"
)

// eventually waits until f, which is called with the worker's lock, holds.
func eventually(t *testing.T, w *Worker, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		ok := f()
		w.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

func (s *server) refuse(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ws.Close()
}

// take gives the worker a job and waits until it runs.
func (s *server) take(id string) {
	s.t.Helper()
	s.offer(id)
	s.next()
	s.assign(id)
	if u := s.next().GetUpdateJob(); u.GetStatus() != livekit.JobStatus_JS_RUNNING {
		s.t.Fatalf("%s: %v, want running", id, u)
	}
}

func TestJobAssignedWhileStoppingIsRefused(t *testing.T) {
	s := newServer(t)
	ending, release := make(chan struct{}), make(chan struct{})
	_, stop := s.serving(s.options(func(_ context.Context, j *Job) error {
		if j.ID() != "AJ_1" {
			t.Errorf("%s starts although the worker is stopping", j.ID())
			return nil
		}
		<-j.Done()
		close(ending)
		<-release
		return nil
	}))
	s.take("AJ_1")
	s.offer("AJ_2")
	s.next()
	stopped := make(chan error, 1) // one result
	go func() { stopped <- stop() }()
	<-ending
	s.assign("AJ_2")
	if u := s.next().GetUpdateJob(); u.GetJobId() != "AJ_2" || u.GetStatus() != livekit.JobStatus_JS_FAILED || u.GetError() != ErrStopping.Error() {
		t.Errorf("status %v, want AJ_2 failed", u)
	}
	close(release)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestDrainWaitsForAcceptedJobsAndEndsNone(t *testing.T) {
	s := newServer(t)
	release := make(chan struct{})
	jobs := make(chan *Job, 1) // one job
	w, _ := s.serving(s.options(func(_ context.Context, j *Job) error {
		jobs <- j
		<-release
		return errors.New("out of luck")
	}))
	s.offer("AJ_1")
	s.next()                       // accepted
	drained := make(chan error, 1) // one result
	go func() { drained <- w.Drain(t.Context()) }()
	eventually(t, w, func() bool { return w.draining })
	s.offer("AJ_2")
	if a := s.next().GetAvailability(); a.GetJobId() != "AJ_2" || a.GetAvailable() {
		t.Errorf("answer of a draining worker: %v", a)
	}
	s.assign("AJ_1")
	j := <-jobs
	select {
	case <-j.Done():
		t.Error("draining ended a job")
	case err := <-drained:
		t.Errorf("drained while a job runs: %v", err)
	default:
	}
	close(release)
	if err := <-drained; err != nil || w.ActiveJobs() != 0 {
		t.Errorf("drained with %v and %d jobs", err, w.ActiveJobs())
	}
}

func TestDrainGivesUpWithItsContext(t *testing.T) {
	s := newServer(t)
	w, _ := s.serving(s.options(func(ctx context.Context, _ *Job) error { <-ctx.Done(); return nil }))
	s.take("AJ_1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("drain: %v", err)
	}
}

func TestStoppingWaitsForTheConnectionToTellHowJobsEnded(t *testing.T) {
	s := newServer(t)
	release := make(chan struct{})
	w, stop := s.serving(s.options(func(context.Context, *Job) error { <-release; return errors.New("out of luck") }))
	s.take("AJ_1")
	s.refuse(http.StatusServiceUnavailable)
	s.cut()
	eventually(t, w, func() bool { return w.conn == nil })
	close(release)
	eventually(t, w, func() bool { return len(w.backlog) == 1 && len(w.active) == 0 })
	s.refuse(0)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if m := s.next(); m.GetRegister() == nil {
		t.Fatalf("%v, want a registration", m)
	}
	if u := s.next().GetUpdateJob(); u.GetJobId() != "AJ_1" || u.GetStatus() != livekit.JobStatus_JS_FAILED {
		t.Errorf("status %v", u)
	}
}

func TestJobsOutliveAServerThatIsLostForGood(t *testing.T) {
	s := newServer(t)
	release := make(chan struct{})
	jobs := make(chan *Job, 1) // one job
	o := s.options(func(_ context.Context, j *Job) error {
		jobs <- j
		<-release
		return errors.New("done")
	})
	o.MaxRetry = 1
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1) // one result
	go func() { ran <- w.Run(t.Context()) }()
	s.next() // register
	s.take("AJ_1")
	j := <-jobs
	s.refuse(http.StatusServiceUnavailable)
	s.cut()
	eventually(t, w, func() bool { return w.draining })
	select {
	case <-j.Done():
		t.Error("the job was ended with the connection")
	case err := <-ran:
		t.Errorf("Run returned %v while a job runs", err)
	default:
	}
	close(release)
	if err := <-ran; err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("Run: %v, want the reason", err)
	}
}

func TestUnreachableServerIsGivenUpAfterAFewTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w, err := New(Options{URL: "ws://127.0.0.1:1", APIKey: "key", APISecret: "hunter2", // nobody listens there
			Entrypoint: func(context.Context, *Job) error { return nil }, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err = w.Run(t.Context())
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "127.0.0.1:1") {
			t.Errorf("Run: %v, want one line with the address", err)
		}
		if n := strings.Count(log.String(), "\n"); n != firstRegistrationTries-1 {
			t.Errorf("logged %d lines, want one for each try that is followed by another:\n%s", n, &log)
		}
		if d := time.Since(began); d < 5*time.Second || d > 10*time.Second {
			t.Errorf("gave up after %v, want about 6.5 s", d)
		}
		if strings.Contains(err.Error()+log.String(), "hunter2") {
			t.Error("tells the secret")
		}
	})
}

func TestCancelledWorkerStopsTrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, err := New(Options{URL: "ws://127.0.0.1:1", APIKey: "key", APISecret: "secret",
			Entrypoint: func(context.Context, *Job) error { return nil }, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := w.Run(ctx); err != nil || time.Since(began) != time.Second {
			t.Errorf("Run: %v after %v, want nil after 1s", err, time.Since(began))
		}
	})
}

func TestPagesOfOtherServersAreOneLine(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "<html>\n\t<body>\n down for maintenance\n")
	}))
	defer other.Close()
	_, err := dial(t.Context(), Options{URL: other.URL, APIKey: "key", APISecret: "secret"})
	if err == nil || !strings.HasSuffix(err.Error(), "status 502 <html> <body> down for maintenance") {
		t.Errorf("dial: %v", err)
	}
}

// The server ends jobs that it was told the end of: that must not cut what the entrypoint still does.
func TestTerminationOfAnEndingJobIsIgnored(t *testing.T) {
	s := newServer(t)
	ending, release := make(chan struct{}), make(chan struct{})
	var left error
	_, stop := s.serving(s.options(func(ctx context.Context, j *Job) error {
		if j.ID() != "AJ_1" {
			return nil
		}
		j.end(reasonSessionClosed, nil)
		close(ending)
		<-release
		left = ctx.Err()
		return nil
	}))
	s.take("AJ_1")
	<-ending
	s.send(&livekit.ServerMessage{Message: &livekit.ServerMessage_Termination{Termination: &livekit.JobTermination{JobId: "AJ_1"}}})
	s.offer("AJ_2") // answered when the termination was handled
	s.next()
	close(release)
	if u := s.next().GetUpdateJob(); u.GetJobId() != "AJ_1" || u.GetStatus() != livekit.JobStatus_JS_SUCCESS {
		t.Errorf("final status %v", u)
	}
	if left != nil {
		t.Errorf("the context of an entrypoint that still works: %v", left)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A job whose entrypoint stays after the conversation is cut short when the worker stops.
func TestStoppingDoesNotWaitForEntrypointsThatStay(t *testing.T) {
	s := newServer(t)
	ending := make(chan struct{})
	_, stop := s.serving(s.options(func(ctx context.Context, j *Job) error {
		j.end(reasonSessionClosed, nil)
		close(ending)
		<-ctx.Done()
		return ctx.Err()
	}))
	s.take("AJ_1")
	<-ending
	began := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > entrypointGrace/2 {
		t.Errorf("stopping took %v", d)
	}
	if u := s.next().GetUpdateJob(); u.GetStatus() != livekit.JobStatus_JS_SUCCESS {
		t.Errorf("final status %v", u)
	}
}

// An entrypoint that fails after the conversation fails the job, whoever noticed the end first.
func TestErrorAfterTheConversationFailsTheJob(t *testing.T) {
	s := newServer(t)
	s.serving(s.options(func(_ context.Context, j *Job) error {
		j.end(reasonSessionClosed, nil)
		return errors.New("no room for notes")
	}))
	s.take("AJ_1")
	if u := s.next().GetUpdateJob(); u.GetStatus() != livekit.JobStatus_JS_FAILED || u.GetError() != "no room for notes" {
		t.Errorf("final status %v", u)
	}
}
