package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/turn"
)

// activity is an agent's stay on the session. It is used on the loop only, but for the fields that
// never change.
type activity struct {
	setup
	r        *run
	agent    *agent.Agent
	mind     *mind                // what the agent knows
	toolsets []llm.ManagedToolset // that it has borrowed

	// ctx is of the tools: they outlive an interruption of the speech that called them.
	ctx    context.Context
	cancel context.CancelFunc

	endpointing *turn.Endpointing
	exited      chan struct{} // closed when OnExit has run; nil before it was called
	blocked     bool          // takes no more user turns
	paused      bool          // takes no more speeches
	queue       []*speech
	current     *speech
	live        map[*speech]struct{} // not done
	idle        chan struct{}        // closed and replaced whenever live becomes empty
	delay       timer
	playedOutAt time.Time
}

const instructionsID = "lk.agent_task.instructions"

var instructionsAt = time.Unix(1, 0) // before all else

func (r *run) newActivity(a *agent.Agent) (*activity, error) {
	if err := r.s.meet(a); err != nil {
		return nil, err
	}
	m := r.s.mind(a)
	how, own := r.s.chosen(m)
	set, err := r.newSetup(a, own, how)
	if err != nil {
		return nil, err
	}
	act := &activity{setup: set, r: r, agent: a, mind: m, live: make(map[*speech]struct{}), idle: make(chan struct{})}
	act.delay.s = r
	act.warn("")
	act.endpointing = turn.NewEndpointing(act.how.Endpointing)
	act.ctx, act.cancel = context.WithCancel(metrics.WithTags(r.ctx, metrics.Tags{AgentID: a.Name()}))
	r.equip(act)
	r.takeStock(act)
	return act, nil
}

// enter puts act in charge: the ears listen for it, and OnEnter runs.
func (r *run) enter(act *activity, old *activity) error {
	oldID := ""
	if old != nil {
		oldID = old.agent.Name()
	}
	if err := r.listenFor(act.agent, act.setup); err != nil {
		act.close()
		return err
	}
	r.act = act
	r.equip(act) // its tools may have changed since
	if !r.turnsBySTT() {
		r.sttSilent()
	}
	r.judgeFor(act)
	r.s.mu.Lock()
	r.s.agent = act.agent
	r.s.mu.Unlock()
	// The handoff is an event of the session, not something the agent knows.
	h := &chat.Handoff{OldAgentID: oldID, NewAgentID: act.agent.Name()}
	h.CreatedAt = r.stamp()
	r.s.remember(h)
	r.emit(ConversationItemAdded{at(now()), h})
	act.prewarm()
	if act.agent.OnEnter != nil {
		r.hook(act.ctx, act, hookEnter, act.agent.OnEnter)
	}
	r.unpark()
	r.schedule()
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

// hook runs a hook of an agent on a goroutine of its own and returns when it has ended.
func (r *run) hook(ctx context.Context, act *activity, name string, f func(context.Context, *agent.RunContext) error) (done chan struct{}) {
	done = make(chan struct{})
	r.goDo(name, func() {
		defer close(done)
		rc := agent.NewRunContext(scoped{Session: r.s, act: act, entering: name == hookEnter}, nil, nil, nil)
		if err := f(agent.ContextWithRun(ctx, rc), rc); err != nil && !errors.Is(err, context.Canceled) {
			r.log.Error("hook failed", "hook", name, "agent", act.agent.Name(), "err", err)
		}
	})
	return done
}

// leave runs OnExit of act, once, and then stops act from taking more speeches. It is not called on
// the loop.
func (r *run) leave(ctx context.Context, act *activity) {
	r.ask(func() {
		if act.exited == nil {
			act.exited = make(chan struct{})
			if act.agent.OnExit == nil {
				close(act.exited)
			} else {
				act.exited = r.hook(heldUp(act.ctx), act, hookExit, act.agent.OnExit)
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
	act.paused, act.blocked = true, true
	act.delay.stop()
	act.cancel()
	act.r.equip(act)
}

// waitIdle waits until no speech of act is left. It is not called on the loop.
func (act *activity) waitIdle(ctx context.Context) error {
	for {
		var idle chan struct{}
		n := 0
		act.r.ask(func() { idle, n = act.idle, len(act.live) })
		if n == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d speeches: %w", n, ctx.Err())
		}
	}
}

// handOver makes a the agent in charge, after the present one has finished speaking.
func (r *run) handOver(a *agent.Agent) error {
	if r.closing != nil || r.act == nil {
		return agent.ErrNotRunning
	}
	if r.next != nil { // handoffs take place one after another
		r.handoffs = append(r.handoffs, a)
		return nil
	}
	next, err := r.newActivity(a)
	if err != nil {
		return err
	}
	old := r.act
	old.blocked, r.next = true, next
	r.dropEarly()
	r.goDo("handoff", func() {
		r.leave(r.ctx, old)
		if old.waitIdle(r.ctx) != nil {
			return // the session closes, and abandons next
		}
		ctx, cancel := context.WithTimeout(r.ctx, drainLimit)
		defer cancel()
		r.drainCalls(ctx, old)
		r.ask(func() { r.takeOver(next, old) })
	})
	return nil
}

// takeOver ends a handoff.
func (r *run) takeOver(next, old *activity) {
	if r.closing != nil {
		return // the close abandons next
	}
	r.next = nil
	if err := r.enter(next, old); err != nil {
		r.abandon(next)
		r.beginClose(closeRequest{reason: ReasonError, err: fmt.Errorf("handing over to %s: %w", next.agent.Name(), err)})
		return
	}
	old.close()
	r.settle()
	if len(r.handoffs) > 0 {
		a := r.handoffs[0]
		r.handoffs = r.handoffs[1:]
		if err := r.handOver(a); err != nil {
			r.log.Error("handoff failed", "agent", a.Name(), "err", err)
		}
	}
}

// speaker is the activity that a new speech belongs to: the one in charge, or the next one when that
// takes no more. It is nil when the session does not speak any more.
func (r *run) speaker() *activity {
	switch {
	case r.act != nil && !r.act.paused:
		return r.act
	case r.next != nil && r.closing == nil:
		return r.next
	}
	return nil
}
