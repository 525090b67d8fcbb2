package session_test

import (
	"context"
	"errors"
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
	"github.com/parley-go/parley/turn"
)

// asks is a task that asks a question and is completed by the tool "save_<id>", whose model calls it when
// the user says "my <id>".
func asks(id string) *agent.Task[string] {
	task := agent.NewTask[string](&agent.Agent{ID: id, OnEnter: says("Your " + id + "?")})
	task.Tools = []llm.Tool{toolOf("save_"+id, func(context.Context, *agent.RunContext) (any, error) {
		return nil, task.Complete("the " + id)
	})}
	return task
}

// asking is a tool that runs task.
func asking(name string, task func() *agent.Task[string]) llm.Tool {
	return toolOf(name, func(ctx context.Context, _ *agent.RunContext) (string, error) { return task().Run(ctx) })
}

var answersToTasks = script{
	"user: sign me up": calling("sign_up"),
	"user: my email":   calling("save_email"),
	"user: my name":    calling("save_name"),
	"output the":       {Text: "Thank you."},
}

func TestC103TaskInATool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, answersToTasks)
		x.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{asking("sign_up", func() *agent.Task[string] { return asks("email") })}})
		x.wantRun("sign me up", "handoff desk -> email", "assistant: Your email?")
		x.wantRun("why", "assistant: What about user: why?")
		if a := x.Agent(); a.Name() != "email" {
			t.Errorf("agent in charge: %s", a.Name())
		}
		x.wantRun("my email", "call sign_up({})", "call save_email({})", "output ", "handoff email -> desk", "output the email", "assistant: Thank you.")
		x.wantRun("thanks", "assistant: What about user: thanks?")
		reqs := x.llm.Requests()
		// The desk knows what was said in the task, but not of the task's tools.
		diff(t, "what the desk knows", dump(reqs[len(reqs)-1]), `user: sign me up
call sign_up({})
assistant: Your email?
user: why
assistant: What about user: why?
user: my email
output the email
assistant: Thank you.
user: thanks
`)
		diff(t, "what the desk knew after the tool", dump(reqs[len(reqs)-2]), `user: sign me up
call sign_up({})
assistant: Your email?
user: why
assistant: What about user: why?
user: my email
output the email
`)
		// The task knew nothing of the desk's conversation.
		diff(t, "what the task knew", dump(reqs[1]), "assistant: Your email?\nuser: why\n")
	})
}

// dump is the conversation of a request without the system prompt, one item a line.
func dump(r *driver.Request) string {
	var b strings.Builder
	for it := range r.Messages.All() {
		b.WriteString(describe(it) + "\n")
	}
	return b.String()
}

func TestTaskMayKeepItsToolCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, answersToTasks)
		x.start(&agent.Agent{Tools: []llm.Tool{asking("sign_up", func() *agent.Task[string] {
			task := asks("email")
			task.KeepToolCalls = true
			return task
		})}})
		x.run("sign me up")
		x.run("my email")
		if got := dump(x.llm.Requests()[2]); !strings.Contains(got, "call save_email({})\noutput \n") {
			t.Errorf("the caller knows only\n%s", got)
		}
	})
}

func TestC103NestedTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer := func() *agent.Task[string] {
			task := agent.NewTask[string](&agent.Agent{ID: "outer"})
			task.OnEnter = func(ctx context.Context, _ *agent.RunContext) error {
				name, err := asks("name").Run(ctx)
				if err != nil {
					return err
				}
				email, err := asks("email").Run(ctx)
				return errors.Join(err, task.Complete(name+", "+email))
			}
			return task
		}
		x := newTexts(t, answersToTasks)
		x.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{asking("sign_up", outer)}})
		x.wantRun("sign me up", "handoff desk -> outer", "handoff outer -> name", "assistant: Your name?")
		x.wantRun("my name", "call save_name({})", "output ", "handoff name -> outer", "handoff outer -> email", "assistant: Your email?")
		x.wantRun("my email", "call sign_up({})", "call save_email({})", "output ", "handoff email -> outer", "handoff outer -> desk",
			"output the name, the email", "assistant: Thank you.")
	})
}

func TestC103ParallelTasksRunInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, script{
			"user: all": calling("name", "email"), "user: my name": calling("save_name"), "user: my email": calling("save_email"),
			"output the": {Text: "Thank you."},
		})
		both := 0
		ask := func(id string) llm.Tool {
			return asking(id, func() *agent.Task[string] {
				task := asks(id)
				enter := task.OnEnter
				task.OnEnter = func(ctx context.Context, rc *agent.RunContext) error { both++; return enter(ctx, rc) }
				return task
			})
		}
		x.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{ask("name"), ask("email")}})
		x.run("all")
		first := x.Agent().Name()
		if both != 1 {
			t.Fatalf("%d tasks began", both)
		}
		got := x.run("my " + first)
		second := x.Agent().Name()
		if both != 2 || second == first || second == "desk" {
			t.Errorf("after the first task: %s in charge, %d tasks began\n%s", second, both, got)
		}
		got = x.run("my " + second)
		if !strings.HasSuffix(got, "assistant: Thank you.\n") || x.Agent().Name() != "desk" {
			t.Errorf("%s in charge after\n%s", x.Agent().Name(), got)
		}
	})
}

func TestC103TaskInOnEnter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, answersToTasks)
		var email string
		desk := &agent.Agent{ID: "desk", OnEnter: func(ctx context.Context, rc *agent.RunContext) (err error) {
			rc.Session().Say("Welcome", nil)
			email, err = asks("email").Run(ctx)
			rc.Session().Say("Got it", nil)
			return err
		}}
		res, err := x.StartRun(t.Context(), desk, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close(context.Background())
		diff(t, "start", lines(res), "assistant: Welcome\nhandoff desk -> email\nassistant: Your email?\n")
		x.wantRun("my email", "call save_email({})", "output ", "handoff email -> desk", "assistant: Got it")
		if email != "the email" {
			t.Errorf("email %q", email)
		}
	})
}

func TestC103TaskOfASpeechBeforeTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, answersToTasks)
		x.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{asking("sign_up", func() *agent.Task[string] { return asks("email") })}})
		sp := x.GenerateReply(agent.Reply{UserInput: "sign me up"})
		synctest.Wait()
		if err := sp.Interrupt(false); !errors.Is(err, agent.ErrProtected) {
			t.Errorf("interrupting the speech that waits: %v", err)
		}
		x.wantRun("my email", "call sign_up({})", "call save_email({})", "output ", "handoff email -> desk", "output the email", "assistant: Thank you.")
		if sp.Protected() || sp.Wait(t.Context()) != nil || sp.Err() != nil {
			t.Errorf("speech: protected %v, err %v", sp.Protected(), sp.Err())
		}
	})
}

func TestTaskInOnExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, answersToTasks)
		var got string
		x.start(&agent.Agent{ID: "first", OnExit: func(ctx context.Context, rc *agent.RunContext) (err error) {
			got, err = asks("email").Run(ctx)
			rc.Session().Say("Goodbye", nil)
			return err
		}, Tools: []llm.Tool{toolOf("sign_up", func(context.Context, *agent.RunContext) (*agent.Agent, error) {
			return &agent.Agent{ID: "second", OnEnter: says("Second")}, nil
		})}})
		x.wantRun("sign me up", "call sign_up({})", "output ", "handoff first -> email", "assistant: Your email?")
		x.wantRun("my email", "call save_email({})", "output ", "handoff email -> first", "assistant: Goodbye", "handoff first -> second", "assistant: Second")
		if got != "the email" {
			t.Errorf("got %q", got)
		}
	})
}

func TestTaskThatFailsOrIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			end  func(task *agent.Task[string]) error
			want string
		}{
			"fail":   {func(task *agent.Task[string]) error { return task.Fail(llm.ToolErrorf("The user declines.")) }, "output The user declines. [error]"},
			"cancel": {func(task *agent.Task[string]) error { return task.Cancel() }, "output The task was cancelled. [error]"},
			"other":  {func(task *agent.Task[string]) error { return task.Fail(errors.New("secret")) }, "output An internal error occurred. [error]"},
		} {
			x := newTexts(t, answersToTasks)
			task := asks("email")
			x.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{asking("sign_up", func() *agent.Task[string] { return task })}})
			x.run("sign me up")
			if err := tt.end(task); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := tt.end(task); !errors.Is(err, agent.ErrTaskDone) {
				t.Errorf("%s again: %v", name, err)
			}
			synctest.Wait()
			if got := x.run("and now"); x.Agent().Name() != "desk" {
				t.Errorf("%s in charge\n%s", x.Agent().Name(), got)
			}
			if got := dump(x.llm.Requests()[1]); !strings.HasSuffix(got, tt.want+"\n") {
				t.Errorf("%s: the model was told\n%s", name, got)
			}
		}
	})
}

func TestTaskEndsWithTheContextOfItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, answersToTasks)
		var err error
		x.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{toolOf("sign_up", func(ctx context.Context, _ *agent.RunContext) (any, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			_, err = asks("email").Run(ctx)
			return nil, nil
		})}})
		x.run("sign me up")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if !errors.Is(err, context.DeadlineExceeded) || x.Agent().Name() != "desk" {
			t.Errorf("%v, %s in charge", err, x.Agent().Name())
		}
	})
}

func TestTaskIsRunOnceAndOnlyWhereItIsAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, answersToTasks)
		task := asks("email")
		var errs []error
		var late context.Context
		note := func(ctx context.Context) { _, err := task.Run(ctx); errs = append(errs, err) }
		note(t.Context())
		x.start(&agent.Agent{
			OnEnter: func(ctx context.Context, _ *agent.RunContext) error { late = ctx; return nil },
			Tools: []llm.Tool{toolOf("sign_up", func(ctx context.Context, _ *agent.RunContext) (any, error) {
				note(ctx)
				note(ctx)
				return nil, nil
			})},
		})
		synctest.Wait()
		if _, err := asks("name").Run(late); !errors.Is(err, agent.ErrTaskPlace) {
			t.Errorf("after OnEnter has ended: %v", err)
		}
		x.run("sign me up")
		x.run("my email")
		if len(errs) != 3 || errs[0] != agent.ErrTaskPlace || errs[1] != nil || errs[2] != agent.ErrTaskUsed {
			t.Errorf("%v", errs)
		}
	})
}

func TestHandoffOutOfATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, script{"user: sign me up": calling("sign_up"), "user: human": calling("human")})
		var failed error
		outer := agent.NewTask[string](&agent.Agent{ID: "outer"})
		outer.OnEnter = func(ctx context.Context, _ *agent.RunContext) error {
			inner := asks("email")
			inner.Tools = append(inner.Tools, toolOf("human", func(context.Context, *agent.RunContext) (*agent.Agent, error) {
				return &agent.Agent{ID: "human", OnEnter: says("Hello")}, nil
			}))
			v, err := inner.Run(ctx)
			return errors.Join(err, outer.Complete(v))
		}
		x.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{toolOf("sign_up", func(ctx context.Context, _ *agent.RunContext) (string, error) {
			v, err := outer.Run(ctx)
			failed = err
			return v, err
		})}})
		x.run("sign me up")
		got := x.run("human")
		for _, want := range []string{"call human({})\n", "handoff email -> human\n", "assistant: Hello\n"} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
		synctest.Wait()
		if !errors.Is(failed, agent.ErrTaskReplaced) {
			t.Errorf("the outer task: %v", failed)
		}
		time.Sleep(time.Minute)
		if h := x.History(); !strings.Contains(historyOf(h), "output The call was cancelled. [error]") {
			t.Errorf("the result of the tool is lost:\n%s", historyOf(h))
		}
		x.wantRun("still there", "assistant: What about user: still there?")
	})
}

func TestCompletionComesBeforeAHandoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, answersToTasks)
		task := agent.NewTask[string](&agent.Agent{ID: "email", OnEnter: says("Your email?")})
		task.Tools = []llm.Tool{toolOf("save_email", func(context.Context, *agent.RunContext) (*agent.Agent, error) {
			return &agent.Agent{ID: "next", OnEnter: says("Next")}, task.Complete("the email")
		})}
		x.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{asking("sign_up", func() *agent.Task[string] { return task })}})
		x.run("sign me up")
		x.wantRun("my email", "call sign_up({})", "call save_email({})", "output ", "handoff email -> desk", "output the email",
			"assistant: Thank you.", "handoff desk -> next", "assistant: Next")
	})
}

func TestHandoffOvertakesATaskThatHasNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{Text: "Let me ask you.", ToolCalls: calling("sign_up").Calls}}})
		var failed error
		c.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{toolOf("sign_up", func(ctx context.Context, _ *agent.RunContext) (any, error) {
			_, failed = asks("email").Run(ctx)
			return nil, nil
		})}})
		c.says(0.5, 2.5, "sign me up")
		c.until(4) // the agent still says what it wants to ask
		_ = c.s.UpdateAgent(&agent.Agent{ID: "next"})
		c.until(10)
		synctest.Wait()
		if !errors.Is(failed, agent.ErrTaskReplaced) || c.s.Agent().Name() != "next" {
			t.Errorf("%v, %s in charge", failed, c.s.Agent().Name())
		}
		c.close()
	})
}

func TestC017CloseCancelsTasks(t *testing.T) {
	for _, drain := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			x := newTexts(t, answersToTasks)
			var inner, outer error
			x.start(&agent.Agent{ID: "desk", OnEnter: func(ctx context.Context, _ *agent.RunContext) error {
				task := agent.NewTask[string](&agent.Agent{ID: "outer", OnEnter: func(ctx context.Context, _ *agent.RunContext) error {
					_, inner = asks("email").Run(ctx)
					return nil
				}})
				_, outer = task.Run(ctx)
				return nil
			}})
			time.Sleep(time.Second)
			t0 := time.Now()
			x.Shutdown(agent.ShutdownOptions{Now: !drain})
			if err := x.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if inner != agent.ErrTaskCancelled || outer != agent.ErrTaskCancelled {
				t.Errorf("drain %v: the tasks ended with %v and %v", drain, inner, outer)
			}
			if d := time.Since(t0); d != 0 || x.Agent().Name() != "desk" {
				t.Errorf("drain %v: the close took %v, %s in charge", drain, d, x.Agent().Name())
			}
		})
	}
}

func TestCloseWhileATaskOfAToolTalks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, calling("sign_up"))
		var failed error
		c.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{toolOf("sign_up", func(ctx context.Context, _ *agent.RunContext) (string, error) {
			v, err := asks("email").Run(ctx)
			failed = err
			return v, err
		})}})
		c.says(0.5, 2.5, "sign me up")
		c.until(4)
		t0 := time.Now()
		c.close()
		if d := time.Since(t0); d > time.Second || failed != agent.ErrTaskCancelled {
			t.Errorf("the close took %v, the task ended with %v", d, failed)
		}
		if got := c.history(); !strings.Contains(got, "assistant: Your [interrupted]\n") || !strings.Contains(got, "output The task was cancelled. [error]\n") {
			t.Errorf("history\n%s", got)
		}
	})
}

func TestUserTalksToTheTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{Text: "I need to ask.", ToolCalls: calling("sign_up").Calls}}},
			calling("save_email"), scripted.Answer{Chunks: oneChunk("Thank you.")})
		c.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{asking("sign_up", func() *agent.Task[string] { return asks("email") })}})
		c.says(0.5, 2.5, "sign me up")
		c.says(8, 9, "my email")
		c.until(20)
		c.wantTimeline(
			"0.00 handoff  -> desk", "0.00 agent listening",
			"0.50 user speaking", "2.70 final sign me up", "2.50 user listening",
			"3.00 user: sign me up", "3.00 agent thinking", "3.40 agent speaking",
			"5.40 assistant: I need to ask.", "5.40 agent thinking", // the tool runs until the task takes over
			"5.40 handoff desk -> email", "5.60 agent speaking", "7.60 assistant: Your email?", "7.60 agent listening",
			"8.00 user speaking", "9.20 final my email", "9.00 user listening",
			"9.50 user: my email", "9.50 agent thinking", "9.70 handoff email -> desk",
			"10.10 agent speaking", "12.10 assistant: Thank you.", "12.10 agent listening",
		)
		c.close()
	})
}

func TestTaskWhoseAgentCannotBeUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, answersToTasks)
		var failed error
		x.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{toolOf("sign_up", func(ctx context.Context, _ *agent.RunContext) (any, error) {
			task := asks("email")
			task.Tools = append(task.Tools, task.Tools[0], asks("email").Tools[0])
			_, failed = task.Run(ctx)
			return "sorry", nil
		})}})
		if got := x.run("sign me up"); failed == nil || !strings.Contains(got, "output sorry") {
			t.Errorf("%v\n%s", failed, got)
		}
	})
}

func TestQuietMomentsBesideATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, script{"user: both": calling("sign_up", "wait"), "user: other": calling("wait_long"), "output the": {Text: "Thank you."}})
		var beside, other, inTask error
		x.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{
			toolOf("sign_up", func(ctx context.Context, _ *agent.RunContext) (string, error) {
				time.Sleep(time.Second)
				task := asks("email")
				task.OnEnter = func(ctx context.Context, rc *agent.RunContext) error {
					inTask = rc.Session().WaitForIdle(ctx)
					return task.Complete("the email")
				}
				return task.Run(ctx)
			}),
			toolOf("wait", func(ctx context.Context, rc *agent.RunContext) (any, error) {
				time.Sleep(2 * time.Second)
				beside = rc.Session().WaitForIdle(ctx)
				return nil, nil
			}),
			toolOf("wait_long", func(ctx context.Context, rc *agent.RunContext) (any, error) {
				time.Sleep(time.Second / 2)
				other = rc.Session().WaitForIdle(ctx)
				return nil, nil
			}),
		}})
		sp := x.GenerateReply(agent.Reply{UserInput: "both"})
		another := x.GenerateReply(agent.Reply{UserInput: "other"})
		if sp.Wait(t.Context()) != nil || another.Wait(t.Context()) != nil {
			t.Fatal("speeches do not end")
		}
		if beside != nil || other != nil || inTask != nil {
			t.Errorf("waiting for a quiet moment: beside the task %v, in another speech %v, in the task %v", beside, other, inTask)
		}
	})
}

func TestToolOfAnotherSpeechDoesNotHoldUpATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, script{"user: task": calling("sign_up"), "user: other": calling("wait"), "user: my email": calling("save_email")})
		var waited error
		x.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{
			toolOf("sign_up", func(ctx context.Context, _ *agent.RunContext) (string, error) {
				time.Sleep(time.Second)
				return asks("email").Run(ctx)
			}),
			toolOf("wait", func(ctx context.Context, rc *agent.RunContext) (any, error) {
				time.Sleep(2 * time.Second)
				waited = rc.Session().WaitForIdle(ctx)
				return nil, nil
			}),
		}})
		sp := x.GenerateReply(agent.Reply{UserInput: "task"})
		x.GenerateReply(agent.Reply{UserInput: "other"})
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if waited != agent.ErrSelfWait || x.Agent().Name() != "email" {
			t.Errorf("the other tool got %v, %s in charge", waited, x.Agent().Name())
		}
		x.run("my email")
		if !isDone(sp) {
			t.Error("the speech that waited is not over")
		}
	})
}

func TestCallerHearsOfChangesAndOfToolsInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var desk agent.Session
		x := newTexts(t, script{
			"user: book": calling("book"), "user: sign me up": calling("sign_up"), "user: my email": calling("save_email"),
			"output the email": {Text: "Thank you."}, "still running": {Text: "I am at it."},
		})
		x.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{
			books("book", 10*time.Second),
			toolOf("sign_up", func(ctx context.Context, rc *agent.RunContext) (string, error) {
				desk = rc.Session()
				return asks("email").Run(ctx)
			}),
		}})
		x.run("book")
		x.run("sign me up")
		time.Sleep(20 * time.Second) // the room is booked meanwhile
		x.wantRun("wait", "assistant: What about user: wait?")
		other := llm.New(scripted.New(&scripted.Options{Respond: func(int, *driver.Request) scripted.Answer { return scripted.Answer{Text: "I am new."} }}), nil)
		if err := desk.UpdateAgentOptions(agent.Options{LLM: opt.Some(other)}); err != nil {
			t.Fatal(err)
		}
		x.wantRun("and now", "assistant: What about user: and now?") // the task has its own options
		got := x.run("my email")
		time.Sleep(time.Minute)
		if h := historyOf(x.History()); strings.Count(h, "assistant: I am new.") != 2 ||
			strings.Index(h, "assistant: I am new.") < strings.Index(h, "handoff email -> desk") {
			t.Errorf("run\n%s\nhistory\n%s", got, h)
		}
	})
}

func TestHandoffDoesNotWaitForATaskThatHoldsItUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTexts(t, answersToTasks)
		var failed error
		x.start(&agent.Agent{ID: "first", OnExit: func(ctx context.Context, _ *agent.RunContext) error {
			_, failed = asks("email").Run(ctx)
			return nil
		}})
		for _, id := range []string{"second", "third"} {
			if err := x.UpdateAgent(&agent.Agent{ID: id}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if a := x.Agent().Name(); a != "third" || failed != agent.ErrTaskReplaced {
			t.Errorf("%s in charge, the task ended with %v", a, failed)
		}
	})
}

func TestWhatIsSaidAfterATaskIsForItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, calling("sign_up"),
			scripted.Answer{Chunks: []driver.Chunk{{Text: "I note that.", ToolCalls: calling("save_email").Calls}}}, scripted.Answer{Chunks: oneChunk("Thank you.")})
		c.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{asking("sign_up", func() *agent.Task[string] { return asks("email") })}})
		c.says(0.5, 2.5, "sign me up")
		c.says(8, 9, "my email")
		c.until(11) // the task still speaks, but is done
		c.s.Say("By the way", nil)
		c.until(25)
		if h := c.history(); !strings.Contains(h, "assistant: I note that.\n") || strings.Index(h, "assistant: By the way") < strings.Index(h, "handoff email -> desk") {
			t.Errorf("history\n%s", h)
		}
		c.close()
	})
}

// The answer to what the user says to a task was begun early when the task is completed from outside.
func TestEarlyAnswerDoesNotHoldUpATaskThatIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, calling("sign_up"), scripted.Answer{Text: "Begun early"}, scripted.Answer{Text: "Thank you."}, scripted.Answer{Text: "I know."})
		c.opt.TurnHandling.Preemptive.Enabled = opt.Some(true)
		task := asks("email")
		c.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{asking("sign_up", func() *agent.Task[string] { return task })},
			TurnHandling: turn.Handling{Preemptive: turn.Preemptive{Enabled: opt.Off[bool]()}}})
		c.says(0.5, 2.5, "sign me up")
		c.says(8, 9, "I have typed it")
		c.until(9.3) // the turn is over at 9.5
		if err := task.Complete("the email"); err != nil {
			t.Fatal(err)
		}
		c.until(15)
		if got := c.s.Agent().Name(); got != "desk" || !strings.Contains(c.history(), "output the email\n") || !strings.Contains(c.history(), "user: I have typed it\n") {
			t.Errorf("%s in charge\n%s", got, c.history())
		}
		c.close()
	})
}

func TestCallerKnowsOfASharedToolThatEndsWhileATaskTalks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, keeps := range []bool{false, true} {
			m := scripted.New(&scripted.Options{Respond: func(_ int, r *driver.Request) scripted.Answer {
				lines := strings.Split(strings.TrimSpace(dump(r)), "\n")
				for said, a := range map[string]scripted.Answer{"book": calling("book"), "sign me up": calling("sign_up"), "my email": calling("save_email")} {
					if strings.HasSuffix(lines[len(lines)-1], "user: "+said) {
						return a
					}
				}
				return scripted.Answer{Text: "All right."}
			}})
			s := session.New(session.Options{LLM: llm.New(m, nil), Tools: []llm.Tool{books("book", 10*time.Second)}, Logger: slog.New(slog.DiscardHandler)})
			x := &texts{s, t, m}
			x.start(&agent.Agent{ID: "desk", Tools: []llm.Tool{asking("sign_up", func() *agent.Task[string] {
				task := asks("email")
				task.KeepToolCalls = keeps
				return task
			})}})
			for _, said := range []string{"book", "sign me up"} {
				x.run(said)
			}
			time.Sleep(20 * time.Second) // the room is booked meanwhile
			x.run("my email")
			x.run("thanks")
			reqs := m.Requests()
			if got := dump(reqs[len(reqs)-1]); strings.Count(got, "output book booked\n") != 1 {
				t.Errorf("keeps tool calls %v: the desk knows\n%s", keeps, got)
			}
		}
	})
}
