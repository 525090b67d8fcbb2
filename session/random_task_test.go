package session_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
)

// newTask makes a tool or hook that waits for a task, for so long; nested makes the task do so too.
func (x *random) newTask(nested bool) func(context.Context, *agent.RunContext) (string, error) {
	patience := time.Duration(500+x.rng.IntN(15000)) * time.Millisecond
	talks, leaves, inner := x.rng.IntN(2) == 0, x.rng.IntN(3) == 0, func(context.Context, *agent.RunContext) (string, error) { return "", nil }
	if nested {
		inner = x.newTask(false)
	}
	return func(ctx context.Context, rc *agent.RunContext) (string, error) {
		task := agent.NewTask[string](&agent.Agent{ID: "task"})
		task.Tools = []llm.Tool{
			toolOf("done", func(ctx context.Context, rc *agent.RunContext) (any, error) {
				v, _ := inner(ctx, rc)
				return nil, task.Complete(v)
			}),
			toolOf("ask", inner),
			toolOf("transfer", func(context.Context, *agent.RunContext) (*agent.Agent, error) {
				return &agent.Agent{ID: "transferred"}, nil
			}),
		}
		if talks {
			task.OnEnter = says("What do you want?")
		}
		if leaves {
			task.OnExit = says("Back to you")
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		x.tasks.Add(1)
		defer x.tasks.Add(-1)
		return task.Run(ctx)
	}
}

// newRun lets the user say something through Run.
func (x *random) newRun() {
	patience := time.Duration(x.rng.IntN(20000)) * time.Millisecond
	x.runs.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		res, _ := x.s.Run(ctx, "I say this through Run")
		x.mu.Lock()
		x.results = append(x.results, res)
		x.mu.Unlock()
	})
}

// checkRuns: what runs told is in the history, in order, and no task waits any more.
func (x *random) checkRuns(t *testing.T) {
	x.runs.Wait()
	if n := x.tasks.Load(); n != 0 {
		t.Errorf("%d tasks wait still", n)
	}
	for _, res := range x.results {
		var last time.Time
		for _, it := range res.Items {
			if _, ok := x.s.History().ByID(it.Head().ID); !ok {
				t.Errorf("%s is told by a run, but not in the history", describe(it))
			}
			if !it.Head().CreatedAt.After(last) {
				t.Errorf("%s is told too late", describe(it))
			}
			last = it.Head().CreatedAt
		}
	}
}

func hook(f func(context.Context, *agent.RunContext) (string, error)) func(context.Context, *agent.RunContext) error {
	return func(ctx context.Context, rc *agent.RunContext) error {
		_, err := f(ctx, rc)
		return err
	}
}

func has(r *driver.Request, name string) bool {
	return slices.ContainsFunc(r.Tools, func(t driver.ToolSpec) bool { return t.Name == name })
}
