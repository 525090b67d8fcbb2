package agent_test

import (
	"context"
	"errors"
	"testing"

	"github.com/parley-go/parley/agent"
)

// inTool is a context of a tool whose session lets run end the task.
func inTool(t *testing.T, run func(o *agent.TaskOwner)) context.Context {
	rc := agent.NewRunContext(nil, nil, nil, nil)
	rc.AllowTasks(func(_ context.Context, o *agent.TaskOwner) { run(o) })
	return agent.ContextWithRun(t.Context(), rc)
}

func TestTaskGivesBackItsValue(t *testing.T) {
	task := agent.NewTask[int](&agent.Agent{ID: "count"})
	if o := agent.TaskOf(task.Agent); o == nil || o.Agent() != task.Agent || agent.TaskOf(&agent.Agent{}) != nil {
		t.Fatal("the agent does not know its task")
	}
	task.KeepToolCalls = true
	ctx := inTool(t, func(o *agent.TaskOwner) {
		if !o.KeepToolCalls() {
			t.Error("KeepToolCalls is lost")
		}
		if err := task.Complete(0); err != nil {
			t.Error(err)
		}
		o.Abort(errors.New("too late"))
	})
	if v, err := task.Run(ctx); v != 0 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	<-task.Done()
	if err := task.Cancel(); err != agent.ErrTaskDone {
		t.Errorf("the second end: %v", err)
	}
	if _, err := task.Run(ctx); err != agent.ErrTaskUsed {
		t.Errorf("the second run: %v", err)
	}
}

func TestTaskOfAnInterfaceMayGiveNil(t *testing.T) {
	task := agent.NewTask[error](&agent.Agent{})
	if v, err := task.Run(inTool(t, func(*agent.TaskOwner) { _ = task.Complete(nil) })); v != nil || err != nil {
		t.Errorf("%v, %v", v, err)
	}
}

func TestTaskFails(t *testing.T) {
	broken := errors.New("broken")
	task := agent.NewTask[string](&agent.Agent{})
	if _, err := task.Run(inTool(t, func(*agent.TaskOwner) { _ = task.Fail(broken) })); err != broken {
		t.Errorf("%v", err)
	}
	for _, ctx := range []context.Context{t.Context(), agent.ContextWithRun(t.Context(), agent.NewRunContext(nil, nil, nil, nil))} {
		if _, err := agent.NewTask[string](&agent.Agent{}).Run(ctx); err != agent.ErrTaskPlace {
			t.Errorf("where tasks are not run: %v", err)
		}
	}
}

func TestHoldProtectsUntilRelease(t *testing.T) {
	sp, owner := newSpeech(false)
	for range 2 {
		if err := owner.Hold(); err != nil {
			t.Fatalf("cannot be held: %v", err)
		}
	}
	owner.Release()
	if err := sp.SetProtected(false); err != nil || !sp.Protected() {
		t.Errorf("%v, protected %v: what the application says does not end a hold", err, sp.Protected())
	}
	if ok, err := owner.Interrupted(false); ok || err != agent.ErrProtected {
		t.Errorf("interrupted while it was held: %v, %v", ok, err)
	}
	owner.Release()
	if ok, err := owner.Interrupted(false); !ok || err != nil {
		t.Errorf("not interrupted after the last release: %v, %v", ok, err)
	}
	if err := owner.Hold(); err != agent.ErrInterrupted {
		t.Errorf("holding what was interrupted: %v", err)
	}
	other, ended := newSpeech(false)
	ended.Finish(nil)
	if err := ended.Hold(); err != agent.ErrInterrupted || other.Protected() {
		t.Errorf("holding what is over: %v", err)
	}
}
