package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
)

// texts is a session without audio, whose model answers what script has for the last thing that it was
// told: an instruction, a tool output or a text of the user.
type texts struct {
	*session.Session
	t   *testing.T
	llm *scripted.LLM
}

type script map[string]scripted.Answer

func newTexts(t *testing.T, answers script) *texts {
	m := scripted.New(&scripted.Options{Respond: func(_ int, r *driver.Request) scripted.Answer {
		items := r.Messages.Items()
		last := ""
		if len(items) > 0 {
			last = describe(items[len(items)-1])
		}
		for key, a := range answers {
			if strings.Contains(last, key) {
				return a
			}
		}
		return scripted.Answer{Text: "What about " + last + "?"}
	}})
	s := session.New(session.Options{LLM: llm.New(m, nil), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	return &texts{s, t, m}
}

func (x *texts) start(a *agent.Agent) {
	x.t.Helper()
	if err := x.Start(x.t.Context(), a, nil); err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = x.Close(context.Background()) })
}

// run is Run, and says what came of it, one item a line.
func (x *texts) run(input string) string {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), time.Hour) // of virtual time: a Run that hangs
	defer cancel()
	res, err := x.Run(ctx, input)
	if err != nil {
		x.t.Fatalf("run %q: %v\n%s", input, err, lines(res))
	}
	return lines(res)
}

func lines(res *session.RunResult) string {
	var b strings.Builder
	for _, it := range res.Items {
		b.WriteString(describe(it) + "\n")
	}
	return b.String()
}

func (x *texts) wantRun(input string, want ...string) {
	x.t.Helper()
	diff(x.t, "run "+input, x.run(input), strings.Join(want, "\n")+"\n")
}

func says(text string) func(context.Context, *agent.RunContext) error {
	return func(_ context.Context, rc *agent.RunContext) error {
		rc.Session().Say(text, nil)
		return nil
	}
}

// toolOf makes a tool without arguments.
func toolOf[T any](name string, f func(ctx context.Context, rc *agent.RunContext) (T, error)) llm.Tool {
	return llm.NewTool(name, name, func(ctx context.Context, rc *agent.RunContext, _ struct{}) (T, error) { return f(ctx, rc) })
}

// calling is the answer that calls tools.
func calling(names ...string) (a scripted.Answer) {
	for i, n := range names {
		a.Calls = append(a.Calls, driver.ToolCall{CallID: fmt.Sprintf("call_%s_%d", n, i), Name: n, Arguments: "{}"})
	}
	return a
}

func TestRunReturnsWhatTheAgentDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, script{
			"user: Weather": {Calls: callsTool("weather", `{"location":"Paris"}`)},
			"output sunny":  {Text: "It is sunny."},
		})
		x.start(&agent.Agent{Tools: []llm.Tool{weather(3 * time.Second)}})
		x.wantRun("Weather?", `call weather({"location":"Paris"})`, "output sunny in Paris", "assistant: It is sunny.")
		x.wantRun("And?", "assistant: What about user: And??")
	})
}

func TestC011StartRunCapturesOnEnter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			enter func(context.Context, *agent.RunContext) error
			want  string
		}{
			{func(ctx context.Context, rc *agent.RunContext) error {
				if err := rc.Session().Say("One", nil).Wait(ctx); err != nil {
					return err
				}
				time.Sleep(time.Minute)
				rc.Session().Say("Two", nil)
				return nil
			}, "assistant: One\nassistant: Two\n"},
			{func(context.Context, *agent.RunContext) error { time.Sleep(time.Minute); return nil }, ""},
			{nil, ""},
		} {
			x := newTexts(t, nil)
			res, err := x.StartRun(t.Context(), &agent.Agent{OnEnter: tt.enter}, nil)
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "result", lines(res), tt.want)
			_ = x.Close(t.Context())
		}
	})
}

func TestOneRunAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, script{"user: slow": {Text: "Done", TTFT: 5 * time.Second}})
		x.start(&agent.Agent{})
		first := make(chan error, 1)
		go func() { _, err := x.Run(t.Context(), "slow"); first <- err }()
		synctest.Wait()
		if _, err := x.Run(t.Context(), "me too"); !errors.Is(err, session.ErrRunning) {
			t.Errorf("second run: %v, want ErrRunning", err)
		}
		if err := <-first; err != nil {
			t.Errorf("first run: %v", err)
		}
		x.wantRun("again", "assistant: What about user: again?")
	})
}

func TestRunThatIsGivenUpStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, script{"user: slow": {Text: "Done", TTFT: 5 * time.Second}})
		x.start(&agent.Agent{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if res, err := x.Run(ctx, "slow"); !errors.Is(err, context.DeadlineExceeded) || len(res.Items) != 0 {
			t.Errorf("%q, %v", lines(res), err)
		}
		x.wantRun("next", "assistant: Done", "assistant: What about user: next?")
	})
}

func TestRunOfASessionThatCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, script{"user: slow": {Text: "Done", TTFT: 5 * time.Second}})
		if _, err := x.Run(t.Context(), "early"); !errors.Is(err, agent.ErrNotRunning) {
			t.Errorf("before the start: %v", err)
		}
		x.start(&agent.Agent{})
		time.AfterFunc(time.Second, func() { x.Shutdown(agent.ShutdownOptions{Now: true}) })
		if _, err := x.Run(t.Context(), "slow"); !errors.Is(err, agent.ErrNotRunning) {
			t.Errorf("during the close: %v", err)
		}
		_ = x.Wait(t.Context())
		if _, err := x.Run(t.Context(), "late"); !errors.Is(err, agent.ErrNotRunning) {
			t.Errorf("after the close: %v", err)
		}
	})
}

func TestC101RunCapturesTheHandoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		billing := &agent.Agent{ID: "billing", OnEnter: says("Billing here")}
		x := newTexts(t, script{"user: Billing": calling("transfer")})
		x.start(&agent.Agent{Tools: []llm.Tool{toolOf("transfer", func(context.Context, *agent.RunContext) (*agent.Agent, error) { return billing, nil })}})
		x.wantRun("Billing", "call transfer({})", "output ", "handoff default_agent -> billing", "assistant: Billing here")
	})
}

func TestC102RunWaitsForOnEnterAfterUpdateAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := &agent.Agent{ID: "second", OnEnter: func(ctx context.Context, rc *agent.RunContext) error {
			time.Sleep(time.Minute)
			return rc.Session().GenerateReply(agent.Reply{Instructions: "greet"}).Wait(ctx)
		}}
		x := newTexts(t, script{"user: go": calling("go"), "system: greet": {Text: "Hello"}})
		x.start(&agent.Agent{Tools: []llm.Tool{toolOf("go", func(_ context.Context, rc *agent.RunContext) (any, error) {
			return nil, errors.Join(rc.Session().UpdateAgent(second), rc.Session().UpdateAgent(&agent.Agent{ID: "third", OnEnter: says("Third")}))
		})}})
		// The third agent takes over when the second has nothing to say, though its OnEnter still runs.
		x.wantRun("go", "call go({})", "output ", "handoff default_agent -> second", "handoff second -> third",
			"assistant: Third", "assistant: Hello")
	})
}

func TestC104RunStaysOpenForTheForeground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := &agent.Agent{ID: "second", OnEnter: says("Second here")}
		background := func(_ context.Context, rc *agent.RunContext) (any, error) {
			s := rc.Session()
			go func() {
				_ = s.Foreground(t.Context(), func(ctx context.Context) error {
					_ = s.UpdateAgent(second)
					if err := s.WaitForIdle(ctx); err != nil {
						return err
					}
					time.Sleep(time.Minute)
					return s.Say("The end", nil).Wait(ctx)
				})
			}()
			time.Sleep(time.Second)
			return nil, nil
		}
		x := newTexts(t, script{"user: go": calling("go")})
		x.start(&agent.Agent{Tools: []llm.Tool{tool("go", background)}})
		x.wantRun("go", "call go({})", "output ", "handoff default_agent -> second", "assistant: Second here", "assistant: The end")
	})
}

func TestC104ForegroundOfAnEndedRunDoesNotHoldTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, script{"user: slow": {Text: "Done", TTFT: 2 * time.Second}})
		x.start(&agent.Agent{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := make(chan struct{})
		go func() {
			time.Sleep(time.Second / 2)
			_ = x.Foreground(t.Context(), func(context.Context) error { close(begun); time.Sleep(time.Hour); return nil })
		}()
		if _, err := x.Run(ctx, "slow"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		<-begun
		t0 := time.Now()
		x.wantRun("next", "assistant: What about user: next?")
		if d := time.Since(t0); d > time.Second {
			t.Errorf("the run took %v", d)
		}
		// A floor that is never granted holds a run no longer than somebody waits for it.
		limited, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		given := make(chan error, 1)
		go func() {
			time.Sleep(time.Second)
			given <- x.Foreground(limited, func(context.Context) error { return nil })
		}()
		t0 = time.Now()
		x.run("slow")
		if d := time.Since(t0); d != time.Minute || !errors.Is(<-given, context.DeadlineExceeded) {
			t.Errorf("the run took %v", d)
		}
		time.Sleep(time.Hour)
	})
}

func TestC124RunFailsWithItsLastSpeech(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no such model")
		x := newTexts(t, script{
			"user: fail":   {Fault: &scripted.Fault{InChat: true, Err: broken}},
			"user: silent": {Chunks: []driver.Chunk{{}}},
			"user: quiet":  calling("note"),
		})
		var sp *agent.Speech
		session.On(x.Session, func(e session.SpeechCreated) { sp = e.Speech })
		x.start(&agent.Agent{Tools: []llm.Tool{toolOf("note", func(context.Context, *agent.RunContext) (any, error) { return nil, nil })}})
		if _, err := x.Run(t.Context(), "fail"); !errors.Is(err, broken) {
			t.Errorf("run: %v, want the failure of the model", err)
		}
		synctest.Wait()
		if err := sp.Wait(t.Context()); err != nil || !errors.Is(sp.Err(), broken) {
			t.Errorf("Wait: %v, Err: %v", err, sp.Err())
		}
		if got := x.run("silent"); got != "" {
			t.Errorf("a silent turn did %q", got)
		}
		x.wantRun("quiet", "call note({})", "output ")
	})
}

func TestRunForReturnsTheValueOfATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		newAge := func() *agent.Agent {
			age := agent.NewTask[int](&agent.Agent{ID: "age"})
			age.Tools = []llm.Tool{
				toolOf("save", func(context.Context, *agent.RunContext) (any, error) { return nil, age.Complete(0) }),
				toolOf("refuse", func(context.Context, *agent.RunContext) (any, error) {
					return nil, age.Fail(llm.ToolErrorf("none of your business"))
				}),
			}
			return age.Agent
		}
		start := func() *texts {
			x := newTexts(t, script{"user: zero": calling("save"), "user: no": calling("refuse"), "system: please": calling("save")})
			x.start(newAge())
			return x
		}
		if v, _, err := session.RunFor[int](t.Context(), start().Session, "zero", nil); v != 0 || err != nil {
			t.Errorf("%v, %v: a zero is a value", v, err)
		}
		if _, _, err := session.RunFor[string](t.Context(), start().Session, "zero", nil); err == nil || errors.Is(err, session.ErrNoOutput) {
			t.Errorf("%v, want the wrong type", err)
		}
		if _, _, err := session.RunFor[int](t.Context(), start().Session, "no", nil); err == nil || err.Error() != "none of your business" {
			t.Errorf("%v, want the error of the task", err)
		}
		x := start()
		_, res, err := session.RunFor[int](t.Context(), x.Session, "hm", nil)
		if !errors.Is(err, session.ErrNoOutput) || len(res.Items) != 3 {
			t.Errorf("%v after %q, want two more tries", err, lines(res))
		}
		_, res, err = session.RunFor[int](t.Context(), x.Session, "hm", &session.RunOptions{Retries: opt.Off[int]()})
		if !errors.Is(err, session.ErrNoOutput) || len(res.Items) != 1 {
			t.Errorf("%v after %q, want no more tries", err, lines(res))
		}
		_, res, err = session.RunFor[int](t.Context(), x.Session, "hm", &session.RunOptions{Instructions: "please"})
		diff(t, "tries", fmt.Sprint(lines(res), err), "assistant: What about user: hm?\ncall save({})\noutput \n<nil>")
		if res, err := x.Run(t.Context(), "more"); res.Completed || err != nil {
			t.Errorf("the value is there again: %+v, %v", res, err)
		}
	})
}
