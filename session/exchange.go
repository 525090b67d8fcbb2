package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/opt"
)

// Errors of Run and RunFor.
var (
	// ErrRunning is returned while another Run waits.
	ErrRunning = errors.New("another Run is under way")
	// ErrNoOutput is returned by RunFor when no task was completed.
	ErrNoOutput = errors.New("no task was completed")
)

// RunResult is what the agents did in a Run.
type RunResult struct {
	// Items are the agents' messages, their tool calls and the outputs, and handoffs, in order of time.
	Items []chat.Item
	// Output is the value of the agent.Task that was completed last, if Completed says that there was one.
	Output    any
	Completed bool

	failed error // of a task that ended last, without a value
}

// Run lets the user say input and returns when everything that this causes is over: the reply with its
// tools, what else is said meanwhile, handoffs, the OnEnter of agents that take over, and Foreground.
// An agent.Task that asks the user something is over for now when it has asked: the next Run answers it.
// It needs no audio, so it is what tests of agents use; see package sessiontest.
//
// The error is that of the last reply, if that failed, of the close if the session closes meanwhile, or
// of ctx, whose end ends the waiting and nothing else; the result then has what was done until then. One
// Run at a time: a second one is ErrRunning.
func (s *Session) Run(ctx context.Context, input string) (*RunResult, error) {
	return s.runReply(ctx, agent.Reply{UserInput: input})
}

func (s *Session) runReply(ctx context.Context, q agent.Reply) (*RunResult, error) {
	r := s.current()
	if r == nil {
		return &RunResult{}, agent.ErrNotRunning
	}
	x := newExchange()
	err := agent.ErrNotRunning
	r.ask(func() {
		if r.exchange != nil {
			err = ErrRunning
			return
		}
		r.exchange = x
		if _, err = r.generateReply(q, false); err != nil {
			r.exchange = nil
		}
	})
	if err != nil {
		return &RunResult{}, err
	}
	return r.awaitExchange(ctx, x)
}

// StartRun is Start, and then waits like Run until everything is over that OnEnter causes. When ctx ends
// that waiting, the session stays started.
func (s *Session) StartRun(ctx context.Context, a *agent.Agent, t Transport) (*RunResult, error) {
	x := newExchange()
	r, err := s.start(ctx, a, t, x)
	if err != nil {
		return &RunResult{}, err
	}
	return r.awaitExchange(ctx, x)
}

// RunOptions are the options of RunFor.
type RunOptions struct {
	// Retries is how often the agent is asked again when no task was completed: default 2. Off: never.
	Retries opt.Value[int]
	// Instructions are for those further replies; the default asks to complete the task.
	Instructions string
}

const defaultRunRetries = 2

const defaultRunInstructions = "You have not completed the task. Complete it now with the matching tool."

// RunFor is Run for conversations that end with a value: that of the agent.Task that was completed, as a
// T. A value of another type is an error, no value after all retries is ErrNoOutput, and a task that
// failed is its error. The result has the items of all tries.
func RunFor[T any](ctx context.Context, s *Session, input string, o *RunOptions) (T, *RunResult, error) {
	if o == nil {
		o = &RunOptions{}
	}
	tries := 1 + o.Retries.Default(defaultRunRetries)
	if o.Retries.IsOff() {
		tries = 1
	}
	ask := o.Instructions
	if ask == "" {
		ask = defaultRunInstructions
	}
	var out T
	all := &RunResult{}
	q := agent.Reply{UserInput: input}
	for range max(tries, 1) {
		res, err := s.runReply(ctx, q)
		all.Items = append(all.Items, res.Items...)
		all.Output, all.Completed, all.failed = res.Output, res.Completed, res.failed
		switch v, ok := res.Output.(T); {
		case err != nil:
			return out, all, err
		case res.failed != nil:
			return out, all, res.failed
		case ok || res.Completed && res.Output == nil && isNil(any(out)):
			return v, all, nil
		case res.Completed:
			return out, all, fmt.Errorf("the task was completed with a %T, not a %T", res.Output, out)
		}
		q = agent.Reply{Instructions: ask}
	}
	return out, all, ErrNoOutput
}

// exchange is a Run from inside. It is used on the loop only; what it found is read when done is closed.
type exchange struct {
	watched map[any]struct{} // keys of run.works that it waits for
	result  RunResult
	err     error
	done    chan struct{}
}

func newExchange() *exchange {
	return &exchange{watched: make(map[any]struct{}), done: make(chan struct{})}
}

func (r *run) awaitExchange(ctx context.Context, x *exchange) (*RunResult, error) {
	select {
	case <-x.done:
	case <-ctx.Done():
		if !r.ask(func() { r.endExchange(x, ctx.Err()) }) {
			<-x.done // the end of the session has ended it
		}
	}
	return &x.result, x.err
}

// begin notes that w is under way, on behalf of act, nil for the session: a speech, a hook, a handoff.
func (r *run) begin(w any, act *activity) {
	r.works[w] = act
	if x := r.exchange; x != nil {
		x.watched[w] = struct{}{}
	}
}

// over notes that w has ended. w may have been over already.
func (r *run) over(w any) { delete(r.works, w) }

// rejoin makes the present exchange wait for what act still does, since act goes on now.
func (r *run) rejoin(act *activity) {
	for w, of := range r.works {
		if x := r.exchange; x != nil && of == act {
			x.watched[w] = struct{}{}
		}
	}
}

// serveExchange ends the exchange when all is over that it waits for, but for what waits itself for a
// task. It is called after everything that the loop does.
func (r *run) serveExchange() {
	x := r.exchange
	if x == nil || r.act == nil || r.act.ending() {
		return
	}
	for w := range x.watched {
		if act, on := r.works[w]; on && !act.suspended() {
			return
		}
	}
	r.endExchange(x, nil)
}

// endExchange ends x, unless it has ended.
func (r *run) endExchange(x *exchange, err error) {
	if r.exchange != x {
		return
	}
	r.exchange = nil
	if c := r.closing; c != nil && !c.drain && err == nil && x.err == nil {
		if err = agent.ErrNotRunning; c.err != nil {
			err = fmt.Errorf("session closed: %w", c.err)
		}
	}
	if err != nil {
		x.err = err
	}
	if r.act != nil {
		r.noteTask(x, r.act)
	}
	slices.SortStableFunc(x.result.Items, func(a, b chat.Item) int { return a.Head().CreatedAt.Compare(b.Head().CreatedAt) })
	close(x.done)
}

// note takes what an agent has done into the result of the exchange.
func (r *run) note(items ...chat.Item) {
	x := r.exchange
	if x == nil {
		return
	}
	for _, it := range items {
		switch it := it.(type) {
		case *chat.Message:
			if it.Role == chat.User {
				continue
			}
		case *chat.ConfigUpdate:
			continue
		}
		x.result.Items = append(x.result.Items, it)
	}
}

// noteTask takes over the result of the task that act is, once.
func (r *run) noteTask(x *exchange, act *activity) {
	t := agent.TaskOf(act.agent)
	if x == nil || t == nil || act.noted || !isClosed(t.Done()) {
		return
	}
	act.noted = true
	v, err := t.Result()
	x.result.Output, x.result.Completed, x.result.failed = v, err == nil, err
}
