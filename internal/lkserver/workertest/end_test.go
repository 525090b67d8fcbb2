package workertest

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/internal/lkserver"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	llmscripted "github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/room"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/tools"
	"github.com/parley-go/parley/worker"
)

func TestCallerHangsUp(t *testing.T) {
	t.Parallel()
	sc := newScene(t, scripted(script{agent: greets("Hello there.")}), nil)
	c := sc.dialAgent()
	c.answered()
	if err := c.Hangup(); err != nil {
		t.Fatal(err)
	}
	r := next(t, sc.reports)
	if r.CloseReason != session.ReasonParticipantDisconnected {
		t.Errorf("closed for %s", r.CloseReason)
	}
	st := r.Standing
	moments := []time.Time{st.AgentJoinedAt, st.CallerJoinedAt, st.AudibleAt, st.CallerLeftAt, st.AgentLeftAt}
	if !slices.IsSortedFunc(moments, time.Time.Compare) || moments[0].IsZero() || st.AgentSpoke == 0 ||
		st.CallerPresent <= st.AgentSpoke || st.AgentPresent(r.Timestamp) <= st.CallerPresent {
		t.Errorf("standing %+v", st)
	}
	scrape := httptest.NewRecorder()
	sc.w.Handler().ServeHTTP(scrape, httptest.NewRequest("GET", "/metrics", nil))
	for name, want := range map[string]string{"session_duration_seconds_count": "1", "caller_present_seconds_count": "1", "usage_tts_characters_total": "12"} {
		_, line, _ := strings.Cut(scrape.Body.String(), "\nlk_agents_"+name+"{")
		line, _, _ = strings.Cut(line, "\n")
		if _, got, _ := strings.Cut(line, "} "); got != want {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
	sc.journal.want(t, "order: ", "order: status JS_RUNNING", "order: closed participant_disconnected", "order: session end", "order: before disconnect, session closed",
		"order: status JS_SUCCESS", "order: left", "order: report", "order: callback, session closed")
	sc.journal.want(t, "wire: ", "wire: JS_RUNNING", "wire: JS_SUCCESS")
	sc.quiet()
}

// TestRoomWithOtherSettings has a job's session see the caller's video: it is the job's all the same.
func TestRoomWithOtherSettings(t *testing.T) {
	t.Parallel()
	sc := newScene(t, func(ctx context.Context, job *worker.Job, _ *scene) error {
		s := script{}
		a := greets("Hello there.")
		return session.New(s.options()).Start(ctx, &a, job.Room().With(room.IOOptions{VideoInput: true}))
	}, nil)
	c := sc.dialAgent()
	c.answered()
	job := next(t, sc.jobs)
	if job.Session() == nil {
		t.Error("the job does not know its session")
	}
	if err := c.Hangup(); err != nil {
		t.Fatal(err)
	}
	if r := next(t, sc.reports); r.SessionID == "" || r.CloseReason != session.ReasonParticipantDisconnected || r.JobReason != "session closed" {
		t.Errorf("report of %q, closed for %s, job %s", r.SessionID, r.CloseReason, r.JobReason)
	}
	<-job.Done()
	sc.quiet()
}

// TestAgentEndsTheCall lets the model call the tool that ends the call. The caller hears the goodbye
// to its end before he is disconnected.
func TestAgentEndsTheCall(t *testing.T) {
	t.Parallel()
	const goodbye = "It was a pleasure to talk to you, goodbye."
	s := script{user: []string{"Bye!"}, answers: []llmscripted.Answer{
		{Calls: []driver.ToolCall{{Name: tools.EndCallName, Arguments: "{}"}}}, {Text: goodbye}}}
	s.agent = greets("Hello there.")
	s.agent.Tools = []llm.Tool{tools.EndCall(nil)}
	sc := newScene(t, func(ctx context.Context, job *worker.Job, sc *scene) error {
		if err := s.start(ctx, job, sc); err != nil {
			return err
		}
		<-job.Done() // there is still time for notes
		err := job.Session().Wait(ctx)
		sc.journal.add("notes: %v", err)
		return err
	}, nil)
	c := sc.dialAgent()
	c.answered()
	before := c.heard()
	c.says(600 * ms)
	c.over()
	if got := c.Room().DisconnectReason(); got != "ROOM_DELETED" {
		t.Errorf("the caller is disconnected for %s", got)
	}
	r := next(t, sc.reports)
	if r.CloseReason != session.ReasonUserInitiated {
		t.Errorf("closed for %s", r.CloseReason)
	}
	whole := time.Duration(len(goodbye)) * perCharacter
	if got := c.heard() - before; got < whole-60*ms {
		t.Errorf("heard %v of a goodbye of %v", got, whole)
	}
	if got := c.finals(false); !slices.Equal(got, []string{"Hello there.", goodbye}) {
		t.Errorf("transcripts %q", got)
	}
	// Here the room goes before the job leaves it; the agent hears of that in its own time.
	sc.journal.wantBut(t, "order: ", "order: left", "order: status JS_RUNNING", "order: closed user_initiated", "order: status JS_SUCCESS",
		"order: session end", "order: before disconnect, session closed", "order: report", "order: callback, session closed")
	sc.journal.want(t, "wire: ", "wire: JS_RUNNING", "wire: JS_SUCCESS")
	sc.journal.want(t, "notes: ", "notes: <nil>")
	if err := sc.stop(); err != nil {
		t.Error(err)
	}
	sc.journal.want(t, "error: ")
}

func TestDeletedDispatchEndsTheJob(t *testing.T) {
	t.Parallel()
	sc := newScene(t, scripted(script{agent: greets("Once upon a time there was a king who told stories all day.")}), nil)
	c := sc.dialAgent()
	next(t, sc.jobs)
	c.speaking()
	gone := make(chan time.Time, 1) // one agent
	room.On(c.Room(), func(e room.ParticipantLeft) {
		if e.Participant.Kind == "agent" {
			gone <- time.Now()
		}
	})
	ds, err := dispatches().ListDispatch(t.Context(), &livekit.ListAgentDispatchRequest{Room: sc.name})
	if err != nil || len(ds.AgentDispatches) != 1 {
		t.Fatalf("dispatches %v, %v", ds, err)
	}
	if _, err := dispatches().DeleteDispatch(t.Context(), &livekit.DeleteAgentDispatchRequest{
		Room: sc.name, DispatchId: ds.AgentDispatches[0].Id}); err != nil {
		t.Fatal(err)
	}
	// The server takes up to 5 s from the dispatch before it ends a job. It removes an agent that is
	// still there 3 s later; this one goes by itself.
	sc.journal.want(t, "termination", "termination")
	told := time.Now()
	if d := next(t, gone).Sub(told); d > 3*time.Second {
		t.Errorf("the agent left after %v", d)
	}
	if r := next(t, sc.reports); r.CloseReason != session.ReasonJobShutdown {
		t.Errorf("closed for %s", r.CloseReason)
	}
	sc.journal.want(t, "order: ", "order: status JS_RUNNING", "order: closed job_shutdown", "order: session end", "order: before disconnect, parent process shutdown",
		"order: status JS_SUCCESS", "order: left", "order: report", "order: callback, parent process shutdown")
	sc.journal.want(t, "wire: ", "wire: JS_RUNNING", "wire: JS_SUCCESS")
	if err := sc.stop(); err != nil {
		t.Error(err)
	}
	sc.journal.want(t, "error: ")
}

func TestPanicInTheRoomFailsOneJob(t *testing.T) {
	t.Parallel()
	s := script{user: []string{"Are you there?"}, answers: []llmscripted.Answer{{Text: "Yes I am."}}, agent: greets("Hello there.")}
	oops := make(chan struct{})
	sc := newScene(t, func(ctx context.Context, job *worker.Job, sc *scene) error {
		if err := s.start(ctx, job, sc); err != nil {
			return err
		}
		if job.Info().GetMetadata() == "panic" {
			<-oops
			panic("oops")
		}
		return nil
	}, nil)
	good := sc.dialAgent()
	goodJob := next(t, sc.jobs)
	good.answered()
	bad := sc.dial(sc.name+"-bad", lkserver.Dispatch(sc.name, "panic"))
	badJob := next(t, sc.jobs)
	bad.answered()
	gone := make(chan struct{})
	room.On(bad.Room(), func(e room.ParticipantLeft) { close(gone) })
	close(oops)
	next(t, gone)
	if r := next(t, sc.reports); r.JobID != badJob.ID() || r.CloseReason != session.ReasonJobShutdown {
		t.Errorf("report of %s, closed for %s; want of the job that failed", r.JobID, r.CloseReason)
	}
	sc.journal.want(t, "wire: ", "wire: JS_RUNNING", "wire: JS_RUNNING", "wire: JS_FAILED panic in entrypoint: oops")
	good.says(600 * ms)
	good.answered()
	good.wantFinals(false, "Hello there.", "Yes I am.")
	goodJob.Shutdown("")
	next(t, sc.reports)
	sc.journal.want(t, "wire: ", "wire: JS_RUNNING", "wire: JS_RUNNING", "wire: JS_FAILED panic in entrypoint: oops", "wire: JS_SUCCESS")
}

// TestFailedStartFailsTheJob starts a session that cannot start: the job must not end as if the
// conversation had just been over.
func TestFailedStartFailsTheJob(t *testing.T) {
	t.Parallel()
	s := script{}
	s.agent.Tools = []llm.Tool{tools.EndCall(nil), tools.EndCall(nil)}
	sc := newScene(t, scripted(s), nil)
	sc.dialAgent()
	next(t, sc.jobs)
	eventually(t, func() bool { return len(sc.journal.of("wire: ")) == 2 }, "the job ends")
	if got := sc.journal.of("wire: ")[1]; !strings.HasPrefix(got, "wire: JS_FAILED starting session: ") {
		t.Errorf("final status %q", got)
	}
}

// TestErrorAfterTheConversationFailsTheJob has an entrypoint that does something with the conversation
// when it is over, and cannot.
func TestErrorAfterTheConversationFailsTheJob(t *testing.T) {
	t.Parallel()
	over := errors.New("no room for notes")
	sc := newScene(t, func(ctx context.Context, job *worker.Job, sc *scene) error {
		s := script{agent: greets("Hello there.")}
		if err := s.start(ctx, job, sc); err != nil {
			return err
		}
		<-job.Done() // later than the session, so that the job is ending for sure
		if err := job.Session().Wait(ctx); err != nil {
			return err
		}
		return over
	}, nil)
	c := sc.dialAgent()
	c.answered()
	if err := c.Hangup(); err != nil {
		t.Error(err)
	}
	if r := next(t, sc.reports); r.CloseReason != session.ReasonParticipantDisconnected {
		t.Errorf("closed for %s", r.CloseReason)
	}
	sc.journal.want(t, "wire: ", "wire: JS_RUNNING", "wire: JS_FAILED no room for notes")
}

// TestStoppedWorkerClosesConversations is what SIGINT does.
func TestStoppedWorkerClosesConversations(t *testing.T) {
	t.Parallel()
	sc := newScene(t, scripted(script{agent: greets("Once upon a time there was a king who told stories all day.")}), nil)
	c := sc.dialAgent()
	eventually(t, func() bool { return c.heard() > time.Second }, "the story begins")
	began := time.Now()
	if err := sc.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("Run took %v to return", d)
	}
	if n := len(sc.reports); n != 1 {
		t.Fatalf("%d reports when Run has returned", n)
	}
	r := <-sc.reports
	if r.CloseReason != session.ReasonJobShutdown {
		t.Errorf("closed for %s", r.CloseReason)
	}
	var cut *chat.Message
	for m := range r.History.Messages() {
		cut = m
	}
	if cut == nil || cut.Role != chat.Assistant || !cut.Interrupted || !strings.HasPrefix("Once upon a time there was a king who told stories all day.", cut.Text()) {
		t.Errorf("history ends with %+v, want what was heard of the story", cut)
	}
	sc.journal.want(t, "order: ", "order: status JS_RUNNING", "order: closed job_shutdown", "order: session end", "order: before disconnect, parent process shutdown",
		"order: status JS_SUCCESS", "order: left", "order: report", "order: callback, parent process shutdown")
	sc.journal.want(t, "wire: ", "wire: JS_RUNNING", "wire: JS_SUCCESS")
	sc.journal.want(t, "error: ")
}

// TestLateEndsChangeNothing ends a job in every way at once.
func TestLateEndsChangeNothing(t *testing.T) {
	t.Parallel()
	crash := make(chan struct{})
	sc := newScene(t, func(ctx context.Context, job *worker.Job, sc *scene) error {
		s := script{agent: greets("Hello there.")}
		if err := s.start(ctx, job, sc); err != nil {
			return err
		}
		<-crash
		return errors.New("too late")
	}, nil)
	c := sc.dialAgent()
	job := next(t, sc.jobs)
	c.answered()
	job.Shutdown("first")
	job.Shutdown("second")
	close(crash)
	if err := c.Hangup(); err != nil {
		t.Error(err)
	}
	next(t, sc.reports)
	sc.journal.want(t, "wire: ", "wire: JS_RUNNING", "wire: JS_SUCCESS")
	late := make(chan string, 1) // one callback
	job.OnShutdown(func(_ context.Context, reason string) error { late <- reason; return nil })
	if reason := next(t, late); reason != "first" {
		t.Errorf("the late callback gets %q", reason)
	}
	if st := job.Session().AgentState(); st != agent.Initializing {
		t.Errorf("state %s after the end", st)
	}
}

// TestStoppedWorkerDoesNotWaitForAnEntrypoint has an entrypoint that stays until its context ends. It is
// given time after the conversation, but not when the worker stops.
func TestStoppedWorkerDoesNotWaitForAnEntrypoint(t *testing.T) {
	t.Parallel()
	sc := newScene(t, func(ctx context.Context, job *worker.Job, sc *scene) error {
		s := script{agent: greets("Hello there.")}
		if err := s.start(ctx, job, sc); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}, nil)
	c := sc.dialAgent()
	job := next(t, sc.jobs)
	c.answered()
	if err := c.Hangup(); err != nil {
		t.Error(err)
	}
	next(t, job.Done())
	began := time.Now()
	if err := sc.stop(); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("Run took %v to return", d)
	}
	sc.journal.want(t, "wire: ", "wire: JS_RUNNING", "wire: JS_SUCCESS")
}

// TestConversationOutlivesTheConnectionOfItsWorker cuts the worker off in mid-conversation.
func TestConversationOutlivesTheConnectionOfItsWorker(t *testing.T) {
	t.Parallel()
	s := script{answers: []llmscripted.Answer{{Text: "It is Friday."}}, agent: greets("Hello there.")}
	sc := newScene(t, scripted(s), nil)
	c := sc.dialAgent()
	job := next(t, sc.jobs)
	c.answered()
	before := sc.w.ID()
	sc.cut()
	eventually(t, func() bool { return sc.w.ID() != before }, "the worker registers again")
	if err := c.Type(t.Context(), "What day is it?"); err != nil {
		t.Fatal(err)
	}
	c.answered()
	job.Shutdown("")
	wantHistory(t, next(t, sc.reports), "assistant: Hello there.", "user: What day is it?", "assistant: It is Friday.")
	sc.journal.want(t, "wire: ", "wire: JS_RUNNING", "wire: JS_SUCCESS")
	// The server knows the worker by its new registration, and gives it jobs again.
	again := sc.dial(sc.name+"-again", lkserver.Dispatch(sc.name, ""))
	next(t, sc.jobs)
	again.answered()
}
