package session

import (
	"time"

	"github.com/parley-go/parley/agent"
)

// pause says that the output was paused because the user made a sound. It is undone when that was
// no interruption, and becomes one when words arrive.
type pause struct {
	sp      *speech
	state   agent.State   // of the agent when the pause began
	timeout time.Duration // silence of the user after which the speech goes on
}

// canPause reports whether a speech may be paused before it is interrupted: only if words can tell
// the one from the other.
func (r *run) canPause() bool {
	i := r.act.how.Interruption
	return r.io.AudioOut != nil && r.ears != nil && r.ears.stt != nil && r.closing == nil &&
		i.ResumeFalse.Default(false) && !i.FalseTimeout.IsOff()
}

// hold pauses sp. A speech that is paused already stays so, with the state and timeout of the first time.
func (r *run) hold(sp *speech, timeout time.Duration) {
	if r.pause != nil && r.pause.sp == sp {
		r.resume.stop()
		return
	}
	r.pause = &pause{sp: sp, state: r.agentState, timeout: timeout}
	r.resume.stop()
	r.io.AudioOut.Pause()
	r.setAgentState(agent.Listening)
}

// release ends the pause of sp, or of whatever is paused when sp is nil, and lets the output run.
func (r *run) release(sp *speech) {
	if r.pause == nil || sp != nil && r.pause.sp != sp {
		return
	}
	r.pause = nil
	r.resume.stop()
	r.io.AudioOut.Resume()
}

// resumeLater lets a paused speech go on when the user stays silent.
func (r *run) resumeLater() {
	if p := r.pause; p != nil {
		r.resume.start(p.timeout, r.resumeNow)
	}
}

// resumeAfterWords gives the words that arrive while the agent is paused time to become an interruption.
func (r *run) resumeAfterWords() {
	if r.pause != nil && !r.heard.speaking && !r.heard.sttSpeaking {
		r.resume.start(r.act.how.Interruption.FalseTimeout.Default(0), r.resumeNow)
	}
}

// resumeNow lets a paused speech go on, unless it is still open whether the user has said something.
func (r *run) resumeNow() {
	p := r.pause
	if p == nil {
		return
	}
	if r.act.current != p.sp {
		r.release(nil)
		return
	}
	if r.heard.deciding() || r.pendingTurns > 0 {
		r.resumeWaits = true // for the decision: see turnDropped
		return
	}
	r.goOn(p)
}

// goOn lets the speech of p go on.
func (r *run) goOn(p *pause) {
	r.release(p.sp)
	r.setAgentState(p.state)
	r.overlapOver(p.sp, false, false)
	r.emit(AgentFalseInterruption{At: at(now()), Resumed: true})
}

// turnDropped is called when an end of turn was considered and there was none.
func (r *run) turnDropped() {
	if r.resumeWaits {
		r.resumeWaits = false
		r.resumeNow()
	}
}

// reconcile brings the output into the state that sp needs when its audio begins: a pause of an
// earlier speech must not hold it back, and it must not begin while the user speaks.
func (r *run) reconcile(sp *speech) {
	if r.pause != nil && r.pause.sp == sp && !sp.Protected() {
		return
	}
	r.release(nil)
	if r.heard.speaking && r.canPause() && !sp.Protected() && !sp.Interrupted() && r.agentState != agent.Speaking {
		r.hold(sp, 0)
	}
}

// warmUp begins the time in which echo cancellation learns: while it lasts, what is heard while the
// agent speaks is taken for the agent itself.
func (r *run) warmUp() {
	if r.warmed || r.io.AudioOut == nil {
		return
	}
	r.warmed = true
	if d := r.opt.AECWarmup.Default(defaultAECWarmup); d > 0 && !r.opt.AECWarmup.IsOff() {
		r.aec.start(d, r.watchEars)
	}
}

// warmingUp reports whether what is heard may be the agent's own echo.
func (r *run) warmingUp() bool { return r.aec.running() && r.agentState == agent.Speaking }

// watchEars decides whether the STT hears the user or silence.
func (r *run) watchEars() {
	if r.ears == nil || r.act == nil {
		return
	}
	c := r.act.current
	discard := r.act.how.Interruption.DiscardProtected.Default(false) && c != nil && c.Protected() && !c.Interrupted() && isClosed(c.step.go_)
	r.ears.deaf.Store(r.warmingUp() || discard)
}
