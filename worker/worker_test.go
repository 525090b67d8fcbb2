package worker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
)

// server is the worker protocol of a LiveKit server, as far as a test drives it.
type server struct {
	t    *testing.T
	http *httptest.Server
	in   chan *livekit.WorkerMessage // size 100: more than a test makes

	mu     sync.Mutex
	ws     *websocket.Conn
	tokens []string
	status int // refuses with this HTTP status
}

func newServer(t *testing.T) *server {
	s := &server{t: t, in: make(chan *livekit.WorkerMessage, 100)}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.http.Close)
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.tokens = append(s.tokens, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	status := s.status
	s.mu.Unlock()
	if status != 0 || r.URL.Path != "/agent" {
		if status == 0 {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
		return
	}
	up := websocket.Upgrader{}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	s.mu.Lock()
	s.ws = ws
	s.mu.Unlock()
	for {
		_, data, err := ws.ReadMessage()
		if err != nil {
			return
		}
		m := &livekit.WorkerMessage{}
		if proto.Unmarshal(data, m) != nil {
			s.t.Error("worker sent a frame that cannot be read")
			return
		}
		if m.GetRegister() != nil {
			s.send(&livekit.ServerMessage{Message: &livekit.ServerMessage_Register{Register: &livekit.RegisterWorkerResponse{WorkerId: "AW_test"}}})
		}
		s.in <- m
	}
}

func (s *server) send(m *livekit.ServerMessage) {
	data, err := proto.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ws.WriteMessage(websocket.BinaryMessage, data); err != nil {
		s.t.Error(err)
	}
}

func (s *server) offer(id string) {
	s.send(&livekit.ServerMessage{Message: &livekit.ServerMessage_Availability{Availability: &livekit.AvailabilityRequest{
		Job: &livekit.Job{Id: id, Room: &livekit.Room{Name: "room"}}}}})
}

func (s *server) assign(id string) {
	s.send(&livekit.ServerMessage{Message: &livekit.ServerMessage_Assignment{Assignment: &livekit.JobAssignment{
		Job: &livekit.Job{Id: id, Room: &livekit.Room{Name: "room"}}, Token: "token"}}})
}

// next waits for the next message that is not a status of the worker.
func (s *server) next() *livekit.WorkerMessage {
	for m := range s.in {
		if m.GetUpdateWorker() == nil {
			return m
		}
	}
	return nil
}

func (s *server) options(entrypoint func(context.Context, *Job) error) Options {
	return Options{URL: s.http.URL, APIKey: "key", APISecret: "a secret that is long enough to sign", AgentName: "kelly",
		Entrypoint: entrypoint, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

// serving runs a worker that is registered with s. stop ends it and waits for it.
func (s *server) serving(o Options) (w *Worker, stop func() error) {
	s.t.Helper()
	w, err := New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1) // one result
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	s.t.Cleanup(func() { _ = stop() })
	//lint:ignore SA1019 it is still sent
	if m := s.next(); m.GetRegister().GetAgentName() != o.AgentName || !m.GetRegister().GetAllowedPermissions().GetAgent() {
		s.t.Fatalf("first message: %v", m)
	}
	<-w.Registered()
	return w, stop
}

func TestWorkerTakesAJob(t *testing.T) {
	s := newServer(t)
	ended := errors.New("out of luck")
	var mu sync.Mutex
	var called []string
	note := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		called = append(called, s)
	}
	o := s.options(func(_ context.Context, j *Job) error {
		j.OnShutdown(func(_ context.Context, reason string) error { note("first " + reason); return nil })
		j.OnShutdown(func(context.Context, string) error { panic("oops") })
		j.OnShutdown(func(ctx context.Context, _ string) error { note("last"); return ctx.Err() })
		return ended
	})
	_, stop := s.serving(o)
	s.offer("AJ_1")
	a := s.next().GetAvailability()
	if !a.GetAvailable() || a.GetParticipantIdentity() != "agent-AJ_1" || a.GetParticipantAttributes()["lk.agent.name"] != "kelly" {
		t.Fatalf("answer %v", a)
	}
	s.assign("AJ_1")
	for i, want := range []livekit.JobStatus{livekit.JobStatus_JS_RUNNING, livekit.JobStatus_JS_FAILED} {
		u := s.next().GetUpdateJob()
		if u.GetStatus() != want || u.GetJobId() != "AJ_1" || i == 1 && u.GetError() != ended.Error() {
			t.Errorf("status %d: %v, want %v", i, u, want)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	slices.Sort(called)
	if want := []string{"first " + reasonCrashed, "last"}; !slices.Equal(called, want) {
		t.Errorf("shutdown callbacks: %q, want %q", called, want)
	}
	claims, err := auth.ParseAPIToken(s.tokens[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, grants, err := claims.Verify("a secret that is long enough to sign"); err != nil || grants.Video == nil || !grants.Video.Agent {
		t.Errorf("grants %+v, %v, want the agent flag of the video grant", grants, err)
	}
}

func TestPanickingEntrypointFailsItsJobOnly(t *testing.T) {
	s := newServer(t)
	_, stop := s.serving(s.options(func(context.Context, *Job) error { panic("oops") }))
	for _, id := range []string{"AJ_1", "AJ_2"} {
		s.offer(id)
		s.next()
		s.assign(id)
		if u := s.next().GetUpdateJob(); u.GetStatus() != livekit.JobStatus_JS_RUNNING {
			t.Errorf("%s: %v", id, u)
		}
		if u := s.next().GetUpdateJob(); u.GetStatus() != livekit.JobStatus_JS_FAILED || !strings.Contains(u.GetError(), "panic") {
			t.Errorf("%s: %v", id, u)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestStoppingTheWorkerEndsItsJobsFirst(t *testing.T) {
	s := newServer(t)
	started := make(chan struct{})
	_, stop := s.serving(s.options(func(ctx context.Context, j *Job) error {
		close(started)
		<-ctx.Done()
		return ctx.Err()
	}))
	s.offer("AJ_1")
	s.next()
	s.assign("AJ_1")
	<-started
	if err := stop(); err != nil {
		t.Error(err)
	}
	s.next() // running
	if u := s.next().GetUpdateJob(); u.GetStatus() != livekit.JobStatus_JS_SUCCESS {
		t.Errorf("final status %v, want success before the connection went", u)
	}
}

func TestTerminationEndsTheJobAndUnknownOnesAreIgnored(t *testing.T) {
	s := newServer(t)
	s.serving(s.options(func(ctx context.Context, j *Job) error { <-ctx.Done(); return nil }))
	s.offer("AJ_1")
	s.next()
	s.assign("AJ_1")
	s.next() // running
	for _, id := range []string{"AJ_unknown", "AJ_1", "AJ_1"} {
		s.send(&livekit.ServerMessage{Message: &livekit.ServerMessage_Termination{Termination: &livekit.JobTermination{JobId: id}}})
	}
	if u := s.next().GetUpdateJob(); u.GetJobId() != "AJ_1" || u.GetStatus() != livekit.JobStatus_JS_SUCCESS {
		t.Errorf("final status %v", u)
	}
}

func TestRejectionAndSilence(t *testing.T) {
	s := newServer(t)
	second := make(chan error, 1) // one request is answered twice
	o := s.options(func(context.Context, *Job) error { return nil })
	o.OnRequest = func(ctx context.Context, r *JobRequest) error {
		switch r.Job.Id {
		case "AJ_reject":
			err := r.Reject(true)
			second <- r.Accept(ctx, nil)
			return err
		case "AJ_panic":
			panic("oops")
		}
		return nil // no answer
	}
	s.serving(o)
	for _, tt := range []struct {
		id        string
		terminate bool
	}{{"AJ_reject", true}, {"AJ_panic", false}, {"AJ_silent", false}} {
		s.offer(tt.id)
		a := s.next().GetAvailability()
		if a.GetJobId() != tt.id || a.GetAvailable() || a.GetTerminate() != tt.terminate {
			t.Errorf("%s: answer %v", tt.id, a)
		}
	}
	if err := <-second; !errors.Is(err, ErrAnswered) {
		t.Errorf("second answer: %v, want ErrAnswered", err)
	}
}

func TestFullWorkerDeclines(t *testing.T) {
	s := newServer(t)
	o := s.options(func(ctx context.Context, j *Job) error { <-ctx.Done(); return nil })
	o.MaxJobs = 1
	w, _ := s.serving(o)
	s.offer("AJ_1")
	s.next()
	s.assign("AJ_1")
	s.next() // running
	s.offer("AJ_2")
	if a := s.next().GetAvailability(); a.GetJobId() != "AJ_2" || a.GetAvailable() {
		t.Errorf("answer of a full worker: %v", a)
	}
	if n := w.ActiveJobs(); n != 1 {
		t.Errorf("%d active jobs, want 1", n)
	}
}

func TestUnknownAssignmentIsReportedAsFailed(t *testing.T) {
	s := newServer(t)
	s.serving(s.options(func(context.Context, *Job) error { return nil }))
	s.assign("AJ_stray")
	if u := s.next().GetUpdateJob(); u.GetStatus() != livekit.JobStatus_JS_FAILED || u.GetError() != "assignment timed out" {
		t.Errorf("status of a stray assignment: %v", u)
	}
}

func TestWrongKeyIsToldAtOnce(t *testing.T) {
	s := newServer(t)
	s.status = http.StatusUnauthorized
	w, err := New(s.options(func(context.Context, *Job) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context()); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("Run: %v, want ErrUnauthorized", err)
	}
	if len(s.tokens) != 1 {
		t.Errorf("%d attempts with a wrong key, want 1", len(s.tokens))
	}
}

func TestWorkerComesBackAfterALostConnection(t *testing.T) {
	s := newServer(t)
	release := make(chan struct{})
	s.serving(s.options(func(_ context.Context, j *Job) error { <-release; return nil }))
	s.offer("AJ_1")
	s.next()
	s.assign("AJ_1")
	s.next() // running
	s.mu.Lock()
	s.ws.Close()
	s.mu.Unlock()
	if m := s.next(); m.GetRegister() == nil {
		t.Fatalf("after the loss: %v, want a registration", m)
	}
	if m := s.next(); !slices.Equal(m.GetMigrateJob().GetJobIds(), []string{"AJ_1"}) {
		t.Errorf("after the registration: %v, want the running job", m)
	}
	if s.tokens[0] == s.tokens[1] {
		t.Log("the tokens are equal: they were signed in the same second")
	}
	close(release)
}
