package session

import (
	"slices"
	"time"

	"github.com/parley-go/parley/agent"
)

// line puts sp into the queue: behind those of its priority, before lower ones.
func (act *activity) line(sp *speech) {
	i := slices.IndexFunc(act.queue, func(other *speech) bool { return other.priority < sp.priority })
	if i < 0 {
		i = len(act.queue)
	}
	act.queue = slices.Insert(act.queue, i, sp)
}

// enqueue gives sp its place in the queue and tells that it exists.
func (r *run) enqueue(sp *speech, byUser bool) {
	sp.act.line(sp)
	r.begin(sp, sp.act)
	r.emit(SpeechCreated{At: at(now()), Speech: sp.Speech, UserInitiated: byUser, Source: sp.source})
	r.schedule()
}

// protectedByDefault reports whether speeches of act are protected when nobody says otherwise.
func (act *activity) protectedByDefault() bool {
	return !act.how.Interruption.Enabled.Default(false)
}

func (act *activity) speechDelay() time.Duration {
	return act.agent.MinConsecutiveSpeechDelay.Default(act.r.opt.MinConsecutiveSpeechDelay)
}

// schedule lets the next speech have its turn, if there is one and nothing is in its way. It is
// called on the loop whenever something of that may have changed.
func (r *run) schedule() {
	act := r.act
	if act == nil {
		return
	}
	for act.current == nil && len(act.queue) > 0 {
		sp := act.queue[0]
		if isClosed(sp.stopped) {
			act.queue = act.queue[1:]
			r.keepWords(sp)
			continue
		}
		if wait := act.speechDelay() - now().Sub(act.playedOutAt); wait > 0 && !act.playedOutAt.IsZero() {
			if !act.delay.running() {
				act.delay.start(wait, r.schedule)
			}
			return
		}
		act.queue = act.queue[1:]
		act.current = sp
		sp.own.Scheduled()
		r.keepUser(sp)
		if sp.source != sourceSay {
			r.setAgentState(agent.Thinking)
		}
		close(sp.step.scheduled)
	}
	// The agent does not begin to talk while the user does, unless it must not be interrupted anyway.
	if sp := act.current; sp != nil && !isClosed(sp.step.go_) && (r.heard.silent || sp.Protected() || act.itself) {
		close(sp.step.go_)
	}
	r.watchEars()
}

// endStep makes room for the next speech after st was heard.
func (r *run) endStep(sp *speech, st *step) {
	sp.traced(st, nil)
	if !isClosed(st.playedOut) {
		close(st.playedOut)
	}
	r.release(sp)
	r.overlapOver(sp, false, true)
	if sp.act.current == sp {
		sp.act.current = nil
		if st.heard {
			sp.act.playedOutAt = now()
		}
	}
}

// again queues sp for another step.
func (r *run) again(sp *speech) *step {
	st := newStep(sp.act)
	st.owed = true
	sp.trace(st)
	sp.step, sp.background = st, false
	sp.act.line(sp)
	return st
}
