package session

import (
	"context"
	"errors"
	"log/slog"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/model"
)

// An agent.Task takes over in the middle of what another agent does:
//
//	caller  ── tool ─┬ slot ┬ all was said ┐                              ┌─ goes on ──
//	                 hold   comeIn         │                              │
//	task                                   └ enter ── done ── leave ── comeBack
//
// The caller's activity stays open and silent meanwhile: its heir is the activity of the task.

// taskCaller is who runs a task: a tool or a hook.
type taskCaller struct {
	act  *activity
	call *toolCall // nil for a hook
	w    any       // key of run.works
}

// runTask puts t in charge and returns when it is done and its caller is in charge again.
func (r *run) runTask(ctx context.Context, c taskCaller, t *agent.TaskOwner) {
	err := agent.ErrNotRunning
	r.ask(func() { err = r.beginTask(c) })
	if err != nil {
		t.Abort(err)
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.act.tasks, func() { cancel(context.Cause(c.act.tasks)) })()
	select {
	case c.act.slot <- struct{}{}:
		r.inSlot(ctx, c.act, t)
		r.ask(func() { r.endTask(c) }) // before the next one looks who waits
		<-c.act.slot
	case <-ctx.Done():
		t.Abort(context.Cause(ctx))
		r.ask(func() { r.endTask(c) })
	}
}

// beginTask keeps the user from interrupting the speech of c, which waits for a task from here on.
func (r *run) beginTask(c taskCaller) error {
	_, running := r.works[c.w]
	k := c.call
	if !running || c.act.closed || k != nil && (k.inTask || isClosed(k.ended) || k.background.Load()) {
		return agent.ErrTaskPlace
	}
	if k == nil {
		return nil
	}
	if err := k.sp.own.Hold(); err != nil {
		return err
	}
	k.sp.tasks++
	k.inTask = true
	r.watchAway()
	return nil
}

func (r *run) endTask(c taskCaller) {
	k := c.call
	if k == nil {
		return
	}
	k.sp.own.Release()
	k.sp.tasks--
	k.inTask = false
	r.watchAway()
}

// inSlot is runTask for the only task of act at the time.
func (r *run) inSlot(ctx context.Context, act *activity, t *agent.TaskOwner) {
	task, err := r.comeIn(ctx, act, t)
	if err != nil {
		t.Abort(err)
		return
	}
	select {
	case <-t.Done():
	case <-ctx.Done():
		t.Abort(context.Cause(ctx))
	}
	_, err = t.Result()
	cancelled := errors.Is(err, agent.ErrTaskCancelled) || ctx.Err() != nil
	task.endTasks(agent.ErrTaskCancelled)
	_ = r.waitUntil(r.ctx, func() bool { return task.heir == nil })
	r.ask(func() { r.block(task); r.silence(task, cancelled) })
	r.leave(r.ctx, task)
	r.ask(func() { r.silence(task, cancelled && r.closing != nil) }) // OnExit may have spoken
	if task.waitIdle(r.ctx) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, drainLimit)
	defer cancel()
	r.drainCalls(ctx, task)
	r.ask(func() { r.comeBack(act, task) })
}

// silence stops what a cancelled task says. A session that drains lets it finish.
func (r *run) silence(task *activity, cancelled bool) {
	if !cancelled || r.closing != nil && r.closing.drain {
		return
	}
	for sp := range task.live {
		_ = r.interrupt(sp, true)
	}
}

// comeIn puts t in charge as soon as act has said everything. It is not called on the loop.
func (r *run) comeIn(ctx context.Context, act *activity, t *agent.TaskOwner) (*activity, error) {
	var task *activity
	err := r.s.meet(t.Agent())
	if err != nil {
		return nil, err
	}
	r.ask(func() {
		switch {
		case r.closing != nil:
			err = agent.ErrTaskCancelled
			return
		case r.act != act:
			err = agent.ErrTaskPlace
			return
		}
		if task, err = r.newActivity(t.Agent(), act); err != nil {
			return
		}
		act.heir = task
		r.dropEarly()
	})
	if err != nil {
		return nil, err
	}
	wait := r.waitUntil(ctx, func() bool {
		switch {
		case isClosed(t.Done()):
			err = agent.ErrTaskDone
		case !act.rests():
			return false
		default:
			r.refresh(task)
			_, end := model.StartSpan(act.ctx, "pause_agent_activity", slog.String("lk.agent_label", act.agent.Name()))
			err = r.enter(task, act)
			end(err)
		}
		if err != nil {
			r.reject(task)
		}
		return true
	})
	if wait != nil {
		r.ask(func() { r.reject(task) })
		return nil, context.Cause(ctx)
	}
	return task, err
}

// reject takes back that task comes in.
func (r *run) reject(task *activity) {
	task.caller.heir = nil
	r.abandon(task)
	r.unpark()
	r.schedule()
	r.settle()
}

// comeBack puts act in charge again after task.
func (r *run) comeBack(act, task *activity) {
	if task.closed || act.closed {
		return // another agent took over, or the session ends
	}
	learned := task.mind.Copy(&chat.CopyOptions{
		ExcludeInstructions: true, ExcludeHandoffs: true, ExcludeConfigUpdates: true,
		ExcludeFunctionCalls: !agent.TaskOf(task.agent).KeepToolCalls(),
	})
	act.mind.Merge(learned, nil)
	for sp := range act.live {
		sp.learned = append(sp.learned, learned.Items()...)
	}
	r.s.forget(task.agent)
	act.heir = nil
	r.refresh(act)
	_, end := model.StartSpan(act.ctx, "resume_agent_activity", slog.String("lk.agent_label", act.agent.Name()))
	err := r.takeCharge(act, task)
	end(err)
	if err != nil {
		r.beginClose(closeRequest{reason: ReasonError, err: err})
	}
	task.close()
	r.noteTask(r.exchange, task)
	r.rejoin(act)
	r.replySoon()
	r.unpark()
	r.schedule()
	r.settle()
}

// refresh lets act work with the options that were changed while it was not in charge.
func (r *run) refresh(act *activity) {
	how, own := r.s.chosen(act.mind)
	set, err := r.newSetup(act.agent, own, how)
	if err != nil {
		r.log.Warn("the agent goes on with its old options", "agent", act.agent.Name(), "err", err)
		return
	}
	act.adopt(set)
}

// orphan closes those who wait for task, since another agent has taken over from it.
func (r *run) orphan(task *activity) {
	for act := task.caller; act != nil; task, act = act, act.caller {
		r.log.Warn("the task is not finished, another agent took over", "task", task.agent.Name(), "caller", act.agent.Name())
		agent.TaskOf(task.agent).Abort(agent.ErrTaskReplaced)
		act.heir = nil
		for sp := range act.live {
			_ = r.interrupt(sp, true) // what its tools did is remembered
		}
		act.close()
	}
}

// ending reports whether act is of a task that is done and gives the conversation back.
func (act *activity) ending() bool {
	return act != nil && act.caller != nil && !act.closed && isClosed(agent.TaskOf(act.agent).Done())
}

// suspended reports whether a task is in charge instead of act.
func (act *activity) suspended() bool { return act != nil && act.heir != nil && act.heir.entered }

// rests reports whether act has nothing to say, but for speeches that wait for a task.
func (act *activity) rests() bool {
	if act.current != nil || len(act.queue) > 0 {
		return false
	}
	for sp := range act.live {
		if sp.tasks == 0 {
			return false
		}
	}
	return true
}

// giveUpTasks ends the tasks that are in charge or want to be, and waits until the agent who called the
// first of them is back. It is not called on the loop.
func (r *run) giveUpTasks(ctx context.Context) {
	r.ask(func() {
		for act := range r.acts {
			act.endTasks(agent.ErrTaskCancelled)
		}
	})
	_ = r.waitUntil(ctx, func() bool { return r.act == nil || r.act.caller == nil && r.act.heir == nil })
}
