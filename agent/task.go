package agent

import (
	"context"
	"errors"
	"sync"

	"github.com/parley-go/parley/llm"
)

// Task is an agent that is in charge until it has found something out. It is run from a tool, from
// OnEnter or from OnExit of another agent, which waits meanwhile and then goes on with the result:
//
//	func askEmail() *agent.Task[string] {
//		task := agent.NewTask[string](&agent.Agent{ID: "email", Instructions: "Ask for the email address."})
//		task.Tools = []llm.Tool{llm.NewTool("save", "Save the address.",
//			func(ctx context.Context, rc *agent.RunContext, in address) (any, error) {
//				return nil, task.Complete(in.Email)
//			})}
//		return task
//	}
//
//	email, err := askEmail().Run(ctx) // in a tool, OnEnter or OnExit
//
// A task is used once. Its methods may be called from any goroutine.
type Task[T any] struct {
	*Agent
	// KeepToolCalls lets the agent that waits know of the task's tool calls, besides of what was said.
	KeepToolCalls bool

	owner *TaskOwner
}

// Errors of tasks.
var (
	ErrTaskPlace = errors.New("a task is run with the context of a tool, OnEnter or OnExit, while these run")
	ErrTaskUsed  = errors.New("a task can be run only once")
	ErrTaskDone  = errors.New("task is already done")
	// ErrTaskCancelled is what a cancelled task fails with. The model is told so when a tool returns it.
	ErrTaskCancelled error = &llm.ToolError{Message: "The task was cancelled."}
	// ErrTaskReplaced is what a task fails with when another agent takes over for good.
	ErrTaskReplaced error = &llm.ToolError{Message: "The task was not finished because another agent took over."}
)

// NewTask makes a a task. a belongs to the task from here on.
func NewTask[T any](a *Agent) *Task[T] {
	t := &Task[T]{Agent: a, owner: &TaskOwner{agent: a, done: make(chan struct{})}}
	a.task = t.owner
	return t
}

// Run puts the task in charge and waits until it is done. ctx is that of the tool or hook, or one made
// of it: its end cancels the task, and so do the end of the session (ErrTaskCancelled) and a handoff to
// another agent (ErrTaskReplaced).
//
// The task takes over when what the agent has to say was said; tasks of tools that run in parallel come
// one after another. Until Run returns, the user cannot interrupt the speech that called the tool. The
// task starts with an empty context unless its ChatContext is set; what was said in it is known to the
// agent afterwards.
func (t *Task[T]) Run(ctx context.Context) (T, error) {
	rc := RunContextFrom(ctx)
	if rc == nil || rc.tasks == nil {
		var none T
		return none, ErrTaskPlace
	}
	if !t.owner.begin(t.KeepToolCalls) {
		var none T
		return none, ErrTaskUsed
	}
	rc.tasks(ctx, t.owner)
	v, err := t.owner.Result()
	out, _ := v.(T)
	return out, err
}

// Complete ends the task with a value. The second end of a task is ErrTaskDone.
func (t *Task[T]) Complete(v T) error { return t.owner.finish(v, nil) }

// Fail ends the task with an error, which Run returns. What a tool returns of it is told to the model
// word for word only if it is an llm.ToolError.
func (t *Task[T]) Fail(err error) error { return t.owner.finish(nil, err) }

// Cancel interrupts what the task says and ends it with ErrTaskCancelled.
func (t *Task[T]) Cancel() error { return t.owner.finish(nil, ErrTaskCancelled) }

// Done is closed when the task is done.
func (t *Task[T]) Done() <-chan struct{} { return t.owner.done }

// TaskOwner is the side of a task that puts it in charge; the session has it.
type TaskOwner struct {
	agent *Agent
	done  chan struct{}

	mu        sync.Mutex
	used      bool
	keepCalls bool
	value     any
	err       error
}

// TaskOf returns the task that a is, nil for a plain agent.
func TaskOf(a *Agent) *TaskOwner { return a.task }

// Agent is the task's agent.
func (o *TaskOwner) Agent() *Agent { return o.agent }

// Done is closed when the task is done.
func (o *TaskOwner) Done() <-chan struct{} { return o.done }

// KeepToolCalls is Task.KeepToolCalls.
func (o *TaskOwner) KeepToolCalls() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.keepCalls
}

// Abort ends the task with err, unless it is done.
func (o *TaskOwner) Abort(err error) { _ = o.finish(nil, err) }

// Result is what the task ended with, zero while it is not done.
func (o *TaskOwner) Result() (any, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.value, o.err
}

func (o *TaskOwner) begin(keepCalls bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.used {
		return false
	}
	o.used, o.keepCalls = true, keepCalls
	return true
}

func (o *TaskOwner) finish(v any, err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-o.done:
		return ErrTaskDone
	default:
	}
	o.value, o.err = v, err
	close(o.done)
	return nil
}
