package session

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/tokenize"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/turn"
)

// speech is one speech of the agent, seen from inside. What is not constant is used on the loop
// only, but for the channels.
type speech struct {
	*agent.Speech
	own      *agent.SpeechOwner
	act      *activity
	source   string
	priority agent.Priority
	turn     *userTurn // the user turn that it answers; nil for none
	turnID   string    // of it, or of what the user typed, for the account; "" for none

	ctx     context.Context // of models and playout; ends with the interruption
	cancel  context.CancelFunc
	stopped chan struct{} // closed by the interruption
	step    *step         // the one that is queued or current

	user       *chat.Message // to be remembered when the speech gets its turn; nil when that is done
	typed      bool          // the user typed it
	asked      string        // what the user said, for the span, as is told
	told       string        // instructions
	eager      bool          // the voice begins before the speech has its turn
	held       *held         // what it costs, if it was begun before its turn was over
	discard    atomic.Bool   // nothing of it will be used
	answer     atomic.Pointer[llm.Stream]
	begun      *realtime.Generation // by a realtime model itself; nil for none
	background bool                 // played out, tools still run
	working    int                  // tools that the present step waits for
	tasks      int                  // of these, those that wait for an agent.Task
	learned    []chat.Item          // from tasks, which the present request does not know
	watchdog   timer
}

// step is one generation of a speech: what the model says until it is done or wants its tools.
type step struct {
	heard     bool          // used on the loop
	scheduled chan struct{} // closed when the step becomes the current one
	go_       chan struct{} // closed when it may be heard
	playedOut chan struct{} // closed when it was heard
	llm       *llm.Model    // the agent's when the step began, as are tts and rt
	rt        *realtime.Model
	tts       *tts.Model
	ctx       context.Context                     // of the speech, inside of the step's span
	endSpan   func(err error, attrs ...slog.Attr) // nil when that is done
	said      *chat.Message                       // what was heard; nil for nothing

	generation *realtime.Generation // of a realtime model; on the loop, as are the next three
	conv       *converser           // which that is of
	owed       bool                 // it has called tools, or was asked for with what they did
	account    []slog.Attr          // of it, for the span
}

// newStep makes a step with the models that act has now.
func newStep(act *activity) *step {
	return &step{scheduled: make(chan struct{}), go_: make(chan struct{}), playedOut: make(chan struct{}), llm: act.llm, tts: act.tts, rt: act.rt}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// newSpeech makes a speech of act that is neither run nor queued yet. turnID is of the user turn that it
// answers, "" for none. ctx is that of act.
func (r *run) newSpeech(ctx context.Context, act *activity, source string, protected bool, turnID string) *speech {
	return r.newSpeechWith(ctx, act, source, protected, turnID, metrics.NewID("speech_"))
}

func (r *run) newSpeechWith(ctx context.Context, act *activity, source string, protected bool, turnID, id string) *speech {
	sp := &speech{act: act, source: source, turnID: turnID, stopped: make(chan struct{}), step: newStep(act)}
	sp.watchdog.s = r
	sp.Speech, sp.own = agent.NewSpeech(id, protected, func(force bool) error {
		err := error(nil)
		r.ask(func() { err = r.interrupt(sp, force) })
		return err
	})
	sp.ctx, sp.cancel = context.WithCancel(metrics.WithTags(ctx, metrics.Tags{SpeechID: sp.ID(), TurnID: turnID}))
	sp.trace(sp.step)
	act.live[sp] = struct{}{}
	return sp
}

// startSpeech runs body for sp. What is to be heard waits until sp has its turn.
func (r *run) startSpeech(sp *speech, body func(*speech) error) {
	r.goDo("speech", func() {
		var err error
		defer func() { r.post(func() { r.finish(sp, err) }) }()
		defer r.guard(sp.source, &err)
		err = body(sp)
	})
}

// keepUser remembers what the user said to cause sp.
func (r *run) keepUser(sp *speech) {
	if m := sp.user; m != nil {
		sp.user = nil
		m.CreatedAt = r.stamp()
		sp.own.Add(m)
		r.commit(sp.act, m)
	}
}

// keepWords is keepUser for a speech that will not get its turn: what the user said or typed is never lost.
func (r *run) keepWords(sp *speech) {
	if sp.turn != nil || sp.typed {
		r.keepUser(sp)
	}
}

// finish ends sp for good.
func (r *run) finish(sp *speech, err error) {
	if !sp.own.Finish(err) {
		return
	}
	sp.watchdog.stop()
	sp.cancel()
	if sp.held != nil {
		sp.held.decide(true)
	}
	act := sp.act
	if i := slices.Index(act.queue, sp); i > 0 {
		for _, before := range act.queue[:i] {
			if isClosed(before.stopped) {
				r.keepWords(before) // which were said first
			}
		}
	}
	r.keepWords(sp)
	sp.traced(sp.step, err)
	r.endStep(sp, sp.step)
	if i := slices.Index(act.queue, sp); i >= 0 {
		act.queue = slices.Delete(act.queue, i, i+1)
	}
	delete(act.live, sp)
	r.repliedLate(sp)
	if act.closed && len(act.live) == 0 {
		delete(r.acts, act)
	}
	if x := r.exchange; x != nil {
		if _, caused := x.watched[sp]; caused {
			x.err = err
		}
	}
	r.over(sp)
	r.schedule()
	r.settle()
}

// settle gives the agent the state that fits when nothing is being said.
func (r *run) settle() {
	act := r.act
	if act == nil || act.ending() || r.pause != nil || act.current != nil && act.current.step.heard || r.agentState == agent.Initializing {
		return
	}
	for sp := range act.live {
		if sp.background && !sp.Interrupted() {
			r.setAgentState(agent.Thinking)
			return
		}
	}
	if act.current == nil && len(act.queue) == 0 {
		r.setAgentState(agent.Listening)
	}
}

// interrupt stops sp. On the loop.
func (r *run) interrupt(sp *speech, force bool) error {
	ok, err := sp.own.Interrupted(force)
	if !ok {
		return err
	}
	if sp.step.conv != nil {
		r.hush()
	}
	close(sp.stopped)
	sp.cancel()
	r.dropFillers(func(f *filler) bool { return f.call.sp == sp })
	if sp.act.current == sp && r.mouth != nil {
		r.mouth.clear()
	}
	r.release(sp)
	sp.watchdog.start(interruptionWatchdog, func() {
		r.log.Error("an interrupted speech does not end, giving it up", "speech", sp.ID())
		r.finish(sp, nil)
	})
	return nil
}

// interruptAll stops what plays, what works in the background and what is queued, up to the first
// protected speech.
func (r *run) interruptAll(force bool) error {
	act := r.act
	if act == nil {
		return nil
	}
	if c := act.current; c != nil && !force && c.Protected() && !c.Interrupted() {
		return agent.ErrProtected
	}
	r.dropEarly()
	r.hush()
	for sp := range act.live {
		if sp.background {
			_ = r.interrupt(sp, force)
		}
	}
	if act.current != nil {
		_ = r.interrupt(act.current, force)
	}
	for _, sp := range slices.Clone(act.queue) {
		if r.interrupt(sp, force) != nil {
			break
		}
	}
	return nil
}

// interrupted is the speeches that were interrupted and are not over yet.
func (act *activity) interrupted() (all []*speech) {
	for sp := range act.live {
		if sp.Interrupted() {
			all = append(all, sp)
		}
	}
	return all
}

// interruptible is the current speech if the user may stop it.
func (act *activity) interruptible() *speech {
	if act == nil || act.current == nil || act.current.Interrupted() || act.current.Protected() {
		return nil
	}
	return act.current
}

// interruptByVoice pauses the agent because the user talks, or stops it where that cannot be undone.
func (r *run) interruptByVoice() {
	sp := r.act.interruptible()
	if sp == nil || r.closing != nil || r.warmingUp() || r.act.detection() == turn.DetectManual || r.act.itself || !r.enoughWords() {
		return
	}
	if !isClosed(sp.step.go_) {
		return // one that waits for the user to be silent does not talk over anybody
	}
	if !r.hasVAD() {
		r.talksOver(now())
	}
	if r.canPause() {
		r.hold(sp, r.act.how.Interruption.FalseTimeout.Default(0))
		return
	}
	if r.interrupt(sp, false) == nil {
		r.overlapOver(sp, true, false)
		r.setAgentState(agent.Listening)
	}
}

// interruptByWords stops the agent because the user has said something.
func (r *run) interruptByWords() {
	r.interruptByVoice()
	if p := r.pause; p != nil && r.enoughWords() && r.act.detection() != turn.DetectManual {
		if err := r.interrupt(p.sp, false); err != nil {
			r.goOn(p) // it was protected meanwhile
			return
		}
		r.overlapOver(p.sp, true, false)
	}
}

// enoughWords reports whether the user has said as many words as an interruption takes.
func (r *run) enoughWords() bool {
	w := r.act.how.Interruption.MinWords.Default(0)
	return w <= 0 || !r.hasSTT() || tokenize.CountWords(join(r.heard.transcript, r.heard.interim)) >= w
}
