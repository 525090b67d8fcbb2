package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/turn"
)

// activity is an agent's stay on the session. It is used on the loop only, but for the fields that
// never change.
type activity struct {
	setup
	r        *run
	agent    *agent.Agent
	mind     *mind                // what the agent knows
	tags     metrics.Tags         // of what it uses
	toolsets []llm.ManagedToolset // that it has borrowed

	// ctx is of the tools: they outlive an interruption of the speech that called them.
	ctx    context.Context
	cancel context.CancelFunc

	endpointing *turn.Endpointing
	exited      chan struct{} // closed when OnExit has run; nil before it was called
	blocked     bool          // takes no more user turns
	paused      bool          // takes no more speeches
	entered     bool          // is or was in charge
	closed      bool
	queue       []*speech
	current     *speech
	live        map[*speech]struct{} // not done
	delay       timer
	playedOutAt time.Time

	// See task.go.
	caller   *activity               // of the task that this is; nil for none
	heir     *activity               // the task that is in charge instead, or is about to be; nil for none
	slot     chan struct{}           // size 1: full while a task of this activity is under way
	tasks    context.Context         // of the waiting for tasks; ends before ctx
	endTasks context.CancelCauseFunc // of tasks
	noted    bool                    // the result of the task that this is
}

// deaf reports whether the user's words are for whoever comes next.
func (act *activity) deaf() bool { return act.blocked || act.heir != nil }

// block has act take no more user turns. An answer that was begun early would wait for ever to be heard.
func (r *run) block(act *activity) {
	act.blocked = true
	r.dropEarly()
}

const instructionsID = "lk.agent_task.instructions"

var instructionsAt = time.Unix(1, 0) // before all else

// newActivity makes an activity of a; caller is who waits for the task that a is, nil for none.
func (r *run) newActivity(a *agent.Agent, caller *activity) (*activity, error) {
	if err := r.s.meet(a); err != nil {
		return nil, err
	}
	m := r.s.mind(a)
	how, own := r.s.chosen(m)
	set, err := r.newSetup(a, own, how)
	if err != nil {
		return nil, err
	}
	act := &activity{setup: set, r: r, agent: a, mind: m, tags: metrics.Tags{AgentID: a.Name()}, caller: caller, live: make(map[*speech]struct{}), slot: make(chan struct{}, 1)}
	if caller != nil {
		act.tags = metrics.Tags{AgentID: caller.tags.AgentID, Task: a.Name()}
	}
	act.delay.s = r
	act.warn("")
	act.endpointing = turn.NewEndpointing(act.how.Endpointing)
	act.ctx, act.cancel = context.WithCancel(metrics.WithTags(r.ctx, act.tags))
	r.equip(act)
	r.takeStock(act)
	act.tasks, act.endTasks = context.WithCancelCause(act.ctx)
	r.acts[act] = struct{}{}
	return act, nil
}

// enter puts act in charge, and OnEnter runs.
func (r *run) enter(act *activity, old *activity) error {
	ctx, end := model.StartSpan(act.ctx, "start_agent_activity", slog.String("lk.agent_label", act.agent.Name()))
	if err := r.takeCharge(act, old); err != nil {
		end(err)
		return err
	}
	defer end(nil)
	act.prewarm()
	if act.agent.OnEnter != nil {
		r.hook(ctx, act, hookEnter, act.agent.OnEnter)
	}
	r.unpark()
	r.schedule()
	return nil
}

// takeCharge makes act the activity in charge: the ears listen for it.
func (r *run) takeCharge(act *activity, old *activity) error {
	oldID := ""
	if old != nil {
		oldID = old.agent.Name()
	}
	if r.closing == nil {
		if err := r.listenFor(act.tags, act.setup); err != nil {
			return err
		}
		if err := r.converseFor(act, act.tags, act.setup); err != nil {
			return err
		}
	}
	r.act, act.entered = act, true
	r.equip(act) // its tools may have changed since
	if !r.turnsBySTT() {
		r.sttSilent()
	}
	r.judgeFor(act)
	r.attribute()
	r.s.mu.Lock()
	r.s.agent = act.agent
	r.s.mu.Unlock()
	// The handoff is an event of the session, not something the agent knows.
	h := &chat.Handoff{OldAgentID: oldID, NewAgentID: act.agent.Name()}
	h.CreatedAt = r.stamp()
	r.s.remember(h)
	if old != nil {
		r.note(h)
	}
	r.emit(ConversationItemAdded{at(now()), h})
	return nil
}

// park keeps what the user says while a handoff is under way for the agent that comes next.
func (r *run) park(f func()) { r.parked = append(r.parked, f) }

// unpark deals with what was parked.
func (r *run) unpark() {
	parked := r.parked
	r.parked = nil
	for _, f := range parked {
		f()
	}
}

const (
	hookEnter = "OnEnter"
	hookExit  = "OnExit"
)

// hook runs a hook of an agent on a goroutine of its own; done is closed when it has ended. On the loop.
func (r *run) hook(ctx context.Context, act *activity, name string, f func(context.Context, *agent.RunContext) error) (done chan struct{}) {
	done = make(chan struct{})
	r.begin(done, act)
	end := func(error, ...slog.Attr) {}
	if span, ok := hookSpans[name]; ok {
		ctx, end = model.StartSpan(ctx, span, slog.String("lk.agent_label", act.agent.Name()))
	}
	r.goDo(name, func() {
		defer close(done)
		defer r.ask(func() { r.over(done) })
		rc := agent.NewRunContext(scoped{Session: r.s, act: act, entering: name == hookEnter}, nil, nil, nil)
		if name == hookEnter || name == hookExit {
			rc.AllowTasks(func(ctx context.Context, t *agent.TaskOwner) { r.runTask(ctx, taskCaller{act: act, w: done}, t) })
		}
		err := errors.New("the hook panicked")
		defer func() { end(err) }()
		if err = f(agent.ContextWithRun(ctx, rc), rc); err != nil && !errors.Is(err, context.Canceled) {
			r.log.Error("hook failed", "hook", name, "agent", act.agent.Name(), "err", err)
		}
	})
	return done
}

// leave runs OnExit of act, once, and then stops act from taking more speeches. It is not called on
// the loop.
func (r *run) leave(ctx context.Context, act *activity) {
	end := func(error, ...slog.Attr) {}
	defer func() { end(nil) }()
	r.ask(func() {
		if act.exited == nil {
			var inside context.Context
			inside, end = model.StartSpan(act.ctx, "drain_agent_activity", slog.String("lk.agent_label", act.agent.Name()))
			act.exited = make(chan struct{})
			if act.agent.OnExit == nil {
				close(act.exited)
			} else {
				act.exited = r.hook(heldUp(inside), act, hookExit, act.agent.OnExit)
			}
		}
	})
	select {
	case <-act.exited:
	case <-ctx.Done():
		if act.agent.OnExit != nil && !isClosed(act.exited) {
			r.log.Warn("session does not wait any longer for OnExit", "agent", act.agent.Name())
		}
	}
	r.ask(func() { act.paused = true })
}

// close drops what the activity still had. On the loop.
func (act *activity) close() {
	act.paused, act.blocked, act.closed = true, true, true
	act.delay.stop()
	act.cancel()
	act.r.equip(act)
	if len(act.live) == 0 {
		delete(act.r.acts, act)
	}
}

// idle reports whether no speech of act is left, and no task of it is in charge.
func (act *activity) idle() bool { return len(act.live) == 0 && act.heir == nil }

// canGo reports whether another agent may take over from act for good.
func (act *activity) canGo() bool { return act.idle() && !act.ending() }

// gone reports whether act is not in charge any more, nor is a task of it.
func (act *activity) gone() bool { return act.r.act != act && act.heir == nil }

// waitIdle waits until act is idle. It is not called on the loop.
func (act *activity) waitIdle(ctx context.Context) error { return act.r.waitUntil(ctx, act.idle) }

// handOver makes a the agent in charge, after the present one has finished speaking.
func (r *run) handOver(a *agent.Agent) error {
	if r.closing != nil || r.act == nil {
		return agent.ErrNotRunning
	}
	if r.next != nil { // handoffs take place one after another
		r.handoffs = append(r.handoffs, a)
		r.begin(a, nil)
		if r.act.caller != nil && r.act != r.leaving {
			agent.TaskOf(r.act.agent).Abort(agent.ErrTaskReplaced) // it holds up the handoff of its caller
		}
		return nil
	}
	next, err := r.newActivity(a, nil)
	if err != nil {
		return err
	}
	old := r.act
	r.next, r.leaving = next, old
	r.block(old)
	r.begin(next, old)
	if old.heir != nil { // in charge too late
		agent.TaskOf(old.heir.agent).Abort(agent.ErrTaskReplaced)
	}
	r.goDo("handoff", func() {
		defer r.ask(func() { r.over(next) })
		for old != nil {
			r.leave(r.ctx, old)
			// A task that is done meanwhile gives the conversation back first.
			if r.waitUntil(r.ctx, func() bool { return old.gone() || old.canGo() }) != nil {
				return // the session closes, and abandons next
			}
			ctx, cancel := context.WithTimeout(r.ctx, drainLimit)
			r.drainCalls(ctx, old)
			cancel()
			r.ask(func() { old = r.takeOver(next, old) })
		}
	})
	return nil
}

// takeOver ends a handoff. It returns the activity that is to leave before next can take over, nil when
// it has.
func (r *run) takeOver(next, old *activity) *activity {
	if r.closing != nil {
		return nil // the close abandons next
	}
	if old.gone() {
		r.block(r.act)
		r.leaving = r.act
		return r.act
	}
	if !old.canGo() {
		return old
	}
	r.next, r.leaving = nil, nil
	if err := r.enter(next, old); err != nil {
		r.abandon(next)
		r.beginClose(closeRequest{reason: ReasonError, err: fmt.Errorf("handing over to %s: %w", next.agent.Name(), err)})
		return nil
	}
	old.close()
	r.orphan(old)
	r.settle()
	for len(r.handoffs) > 0 && r.next == nil { // the next one that can be
		a := r.handoffs[0]
		r.handoffs = r.handoffs[1:]
		if err := r.handOver(a); err != nil {
			r.log.Error("handoff failed", "agent", a.Name(), "err", err)
		}
		r.over(a)
	}
	return nil
}

// speaker is the activity that a new speech belongs to: the one in charge, or the one that comes next when
// that takes no more. It is nil when the session does not speak any more.
func (r *run) speaker() *activity {
	act := r.act
	switch {
	case act == nil:
		return nil
	case act.heir != nil:
		return act.heir
	case !act.paused:
		return act
	case act.ending():
		return act.caller
	case r.next != nil && r.closing == nil:
		return r.next
	}
	return nil
}
