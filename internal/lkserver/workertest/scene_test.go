package workertest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/lkserver"
	"github.com/parley-go/parley/internal/lkserver/caller"
	"github.com/parley-go/parley/llm"
	llmscripted "github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/report"
	"github.com/parley-go/parley/room"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/stt"
	sttscripted "github.com/parley-go/parley/stt/scripted"
	"github.com/parley-go/parley/tts"
	ttsscripted "github.com/parley-go/parley/tts/scripted"
	"github.com/parley-go/parley/vad"
	vadscripted "github.com/parley-go/parley/vad/scripted"
	"github.com/parley-go/parley/worker"
)

// patience is how long a test waits for what must happen.
const ms = time.Millisecond

const patience = 15 * time.Second

// perCharacter is how long the agent speaks a character.
const perCharacter = 40 * time.Millisecond

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// scene is a worker with an agent for the rooms of one test.
type scene struct {
	t       *testing.T
	name    string // of the agent and of the first room
	journal journal
	w       *worker.Worker
	stop    func() error // ends the worker and returns what Run returned
	cut     func()       // cuts the worker's connection
	jobs    chan *worker.Job
	reports chan *session.Report
}

// newScene runs a worker until the end of the test. change, if not nil, changes its options.
func newScene(t *testing.T, entrypoint func(ctx context.Context, job *worker.Job, sc *scene) error, change func(*worker.Options)) *scene {
	t.Helper()
	sc := &scene{
		t: t, name: uniqueName(t),
		jobs:    make(chan *worker.Job, 100),     // more than a test has
		reports: make(chan *session.Report, 100), // more than a test has
	}
	log := &testWriter{t: t, j: &sc.journal}
	t.Cleanup(log.end)
	url, cut := newTap(t, &sc.journal)
	sc.cut = cut
	o := worker.Options{
		URL: url, APIKey: server.APIKey(), APISecret: server.APISecret(), AgentName: sc.name,
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Entrypoint: func(ctx context.Context, job *worker.Job) error {
			sc.jobs <- job
			return entrypoint(ctx, job, sc)
		},
		OnSessionEnd: func(context.Context, *worker.Job) error {
			sc.journal.add("order: session end")
			return nil
		},
		Reports: []report.Sink{report.Func("test", func(_ context.Context, r *session.Report) error {
			sc.journal.add("order: report")
			sc.reports <- r
			return nil
		})},
	}
	if change != nil {
		change(&o)
	}
	offered := make(chan struct{}, 1) // one is enough
	o.OnRequest = func(ctx context.Context, r *worker.JobRequest) error {
		if !strings.Contains(r.Job.GetRoom().GetName(), probe) {
			return r.Accept(ctx, nil)
		}
		select {
		case offered <- struct{}{}:
		default:
		}
		return r.Reject(true)
	}
	w, err := worker.New(o)
	if err != nil {
		t.Fatal(err)
	}
	sc.w = w
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1) // one result
	go func() { ran <- w.Run(ctx) }()
	sc.stop = sync.OnceValue(func() error { cancel(); return <-ran })
	t.Cleanup(func() {
		if err := sc.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-w.Registered():
	case <-time.After(patience):
		t.Fatal("the worker does not register")
	}
	awaitDispatch(t, sc.name, o.AgentName, offered)
	return sc
}

// scenes counts them, as a test may run more than once and rooms live longer than tests.
var scenes atomic.Int64

func uniqueName(t *testing.T) string {
	return fmt.Sprint(strings.ReplaceAll(t.Name(), "/", "-"), "-", scenes.Add(1))
}

// probe is in the names of the rooms that are there to find out.
const probe = "-probe-"

// awaitDispatch waits until the server dispatches an agent. It answers a registration before it has
// noted the worker, and loses a dispatch that comes in between.
func awaitDispatch(t *testing.T, room, agent string, offered <-chan struct{}) {
	t.Helper()
	for n := range 10 {
		_, err := dispatches().CreateDispatch(t.Context(), &livekit.CreateAgentDispatchRequest{
			Room: fmt.Sprint(room, probe, n), AgentName: agent})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-offered:
			return
		case <-time.After(time.Second):
		}
	}
	t.Fatal("the server does not dispatch the agent")
}

// testWriter shows the log of the worker when the test fails, and notes the errors.
type testWriter struct {
	t *testing.T
	j *journal

	mu   sync.Mutex
	over bool // the test has ended; goroutines of the SDK may still log
}

func (w *testWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return len(p), nil
	}
	line := strings.TrimSpace(string(p))
	w.t.Log(line)
	if strings.Contains(line, "level=ERROR") {
		w.j.add("error: %s", line)
	}
	if strings.Contains(line, `msg="job status"`) {
		_, status, _ := strings.Cut(line, "status=")
		w.j.add("order: status %s", status)
	}
	return len(p), nil
}

// script is what is said in a call.
type script struct {
	user    []string // what the recogniser understands in the first, second, ... speech of the caller
	answers []llmscripted.Answer
	agent   agent.Agent
}

func (s script) options() session.Options {
	return session.Options{
		VAD:       vad.New(vadscripted.New(nil)),
		STT:       stt.New(sttscripted.New(&sttscripted.Options{Texts: s.user, UsageEvery: time.Second}), nil),
		LLM:       llm.New(llmscripted.New(&llmscripted.Options{Answers: s.answers}), nil),
		TTS:       tts.New(ttsscripted.New(&ttsscripted.Options{Sine: true, Words: true, PerCharacter: perCharacter}), nil),
		AECWarmup: opt.Off[time.Duration](), // the caller hears no echo
		Logger:    discard(),
	}
}

// start starts a session in the room of the job and notes how it ends.
func (s script) start(ctx context.Context, job *worker.Job, sc *scene) error {
	x := session.New(s.options())
	session.On(x, func(e session.Closed) { sc.journal.add("order: closed %s", e.Reason) })
	a := s.agent
	if err := x.Start(ctx, &a, job.Room()); err != nil {
		return err
	}
	lk, err := job.Room().Connect(ctx)
	if err != nil {
		return err
	}
	room.On(lk, func(room.Disconnected) { sc.journal.add("order: left") })
	job.OnShutdown(func(_ context.Context, reason string) error {
		sc.journal.add("order: callback, %s", reason)
		return nil
	})
	job.BeforeDisconnect(func(_ context.Context, reason string) error {
		sc.journal.add("order: before disconnect, %s", reason)
		return nil
	})
	return nil
}

// scripted is an entrypoint that starts a session with the script.
func scripted(s script) func(context.Context, *worker.Job, *scene) error {
	return func(ctx context.Context, job *worker.Job, sc *scene) error { return s.start(ctx, job, sc) }
}

// greets is an agent that speaks first.
func greets(text string) agent.Agent {
	return agent.Agent{OnEnter: func(_ context.Context, rc *agent.RunContext) error {
		rc.Session().Say(text, nil)
		return nil
	}}
}

// call is a caller and what he heard and saw.
type call struct {
	*caller.Call
	t *testing.T

	mu          sync.Mutex
	loud        time.Duration // heard so far
	transcripts []caller.Transcript
}

// dial calls the agent of the scene.
func (sc *scene) dial(room string, grants ...lkserver.Grant) *call {
	sc.t.Helper()
	token, err := server.Token("ann", room, grants...)
	if err != nil {
		sc.t.Fatal(err)
	}
	c := &call{t: sc.t}
	ctx, cancel := context.WithTimeout(sc.t.Context(), patience)
	defer cancel()
	c.Call, err = caller.Dial(ctx, server.URL(), token, &caller.Options{OnAudio: c.hear, OnTranscript: c.read})
	if err != nil {
		sc.t.Fatal(err)
	}
	sc.t.Cleanup(func() { _ = c.Hangup() })
	return c
}

// dialAgent calls the agent by its name.
func (sc *scene) dialAgent() *call {
	sc.t.Helper()
	return sc.dial(sc.name, lkserver.Dispatch(sc.name, ""))
}

func (c *call) hear(f audio.Frame, _ bool) {
	if audio.RMS(f.Data) > 0.02 {
		c.mu.Lock()
		c.loud += f.Duration()
		c.mu.Unlock()
	}
}

func (c *call) heard() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loud
}

func (c *call) read(t caller.Transcript) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transcripts = append(c.transcripts, t)
}

// finals are the final transcripts of the user, or of the agent.
func (c *call) finals(user bool) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, t := range c.transcripts {
		if t.Final && (t.Speaker == "ann") == user {
			out = append(out, strings.TrimSpace(t.Text))
		}
	}
	return out
}

func (c *call) wantFinals(user bool, want ...string) {
	c.t.Helper()
	eventually(c.t, func() bool { return len(c.finals(user)) >= len(want) }, "transcripts %q", want)
	if got := c.finals(user); !slices.Equal(got, want) {
		c.t.Errorf("final transcripts %q, want %q", got, want)
	}
}

// says makes the caller speak for so long.
func (c *call) says(d time.Duration) {
	c.t.Helper()
	const rate = 24000
	f := audio.Silence(d, rate, 1)
	for i := range f.Data {
		f.Data[i] = int16(16384 * math.Sin(2*math.Pi*300*float64(i)/rate))
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := c.Say(ctx, f); err != nil {
		c.t.Fatal(err)
	}
}

// answered waits until the agent has spoken and is quiet.
func (c *call) answered() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := c.WaitReply(ctx, 300*time.Millisecond); err != nil {
		c.t.Fatal(err)
	}
}

// speaking waits until the agent speaks.
func (c *call) speaking() {
	c.t.Helper()
	eventually(c.t, func() bool { s, _ := c.Speaking(); return s }, "the agent speaks")
}

func (c *call) over() {
	c.t.Helper()
	next(c.t, c.Done())
}

// next waits for a value.
func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("waited in vain")
		panic("unreachable")
	}
}

// eventually waits until f holds.
func eventually(t *testing.T, f func() bool, what string, args ...any) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: "+what, args...)
		}
	}
}

func httpURL() string { return strings.Replace(server.URL(), "ws", "http", 1) }

func rooms() *lksdk.RoomServiceClient {
	return lksdk.NewRoomServiceClient(httpURL(), server.APIKey(), server.APISecret())
}

func dispatches() *lksdk.AgentDispatchClient {
	return lksdk.NewAgentDispatchServiceClient(httpURL(), server.APIKey(), server.APISecret())
}

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
