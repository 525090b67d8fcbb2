package session

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
)

// userTurn is one finished turn of the user, on its way to be answered.
type userTurn struct {
	id      string
	msg     *chat.Message
	stopped time.Time // end of the user's speech
	final   time.Time // last final transcript
	decided time.Time
	hook    time.Duration
	silent  bool      // is remembered, not answered
	delays  bool      // the times above are known
	heard   bool      // the answer is
	ended   bool      // a realtime model knows that it is over
	timed   bool      // a message has the latency of the answer
	cutIn   *activity // talks over the user to answer it; nil for an answer that waits for silence
}

func newTurn(h *recognition) *userTurn {
	t := &userTurn{id: cmp.Or(h.turnID, metrics.NewID("turn_")), msg: chat.NewMessage(chat.User, h.transcript), decided: now()}
	t.msg.Confidence = h.confidence()
	t.msg.Metrics.ProviderRequestIDs = h.requests
	t.stopped, t.final = h.lastSpeaking, h.lastFinal
	unwritten := h.transcript == "" // by us: a realtime model will do so
	if unwritten {
		t.final = t.stopped
	}
	t.delays = !h.turnStart.IsZero() && !t.stopped.IsZero() && !t.final.IsZero() && !t.stopped.Before(h.turnStart)
	if t.delays {
		transcription, end := max(t.final.Sub(t.stopped), 0), max(t.decided.Sub(t.stopped), 0)
		m := &t.msg.Metrics
		m.StartedSpeakingAt, m.StoppedSpeakingAt, m.EndOfTurnDelay = h.turnStart, t.stopped, &end
		if !unwritten {
			m.TranscriptionDelay = &transcription
		}
	}
	return t
}

// answer works on one turn after another, off the loop: hooks are never cancelled, and the order of
// the turns in the history is the order in which they were spoken.
func (r *run) answer(t *userTurn) {
	defer r.ask(func() {
		r.pendingTurns--
		r.turnDropped() // if it interrupted nobody
	})
	if !r.endHeard(t) {
		return
	}
	var act *activity
	var busy []*speech
	var mute bool
	r.ask(func() { act, busy, mute = r.makeWay(t) })
	if act == nil {
		return
	}
	for _, sp := range busy {
		if sp.Wait(r.ctx) != nil {
			break
		}
	}
	if mute {
		r.ask(func() { r.keep(act, t) })
		return
	}
	private := act.copyMind(r)
	if err := r.turnHook(act, t, private); err != nil {
		if act.ctx.Err() != nil { // the hook was cut off, the user was not
			r.ask(func() { r.forward(act, t) })
			return
		}
		if !errors.Is(err, llm.ErrStopResponse) {
			r.log.Error("the turn is dropped: OnUserTurnCompleted failed", "agent", act.agent.Name(), "err", err)
		}
		r.ask(r.dropEarly)
		return
	}
	r.ask(func() { r.reply(act, t, private) })
}

// makeWay interrupts what stands in the way of answering t. A nil activity means that nothing is
// left to do; mute that t is only to be remembered.
func (r *run) makeWay(t *userTurn) (act *activity, busy []*speech, mute bool) {
	act = r.act
	switch {
	case r.closing != nil || t.silent:
		r.keep(act, t)
		return nil, nil, false
	case act.deaf(): // whoever comes next answers
		r.park(func() { r.queue(t) })
		return nil, nil, false
	}
	if c := act.current; c != nil && c.Protected() && !c.Interrupted() {
		r.log.Warn("the agent must not be interrupted, the turn is not answered", "speech", c.ID())
		r.keep(act, t)
		return nil, nil, false
	}
	for sp := range act.live {
		if queued := act.current != sp && !sp.background; queued {
			continue
		}
		if !sp.Interrupted() {
			if r.interrupt(sp, false) != nil {
				continue
			}
			r.overlapOver(sp, true, false)
		}
		busy = append(busy, sp)
	}
	return act, busy, act.mute()
}

// forward has t answered by whoever has taken over from act, or is about to.
func (r *run) forward(act *activity, t *userTurn) {
	if r.closing != nil {
		r.keep(act, t)
		return
	}
	r.queue(t)
}

// keep remembers the words of t without answering them.
func (r *run) keep(act *activity, t *userTurn) {
	r.dropEarly()
	if act != nil && t.msg.Text() != "" {
		t.msg.CreatedAt = r.stamp()
		r.commit(act, t.msg)
	}
}

func (act *activity) copyMind(r *run) (c *chat.Context) {
	r.ask(func() { c = act.mind.Copy(nil) })
	return c
}

// turnHook runs OnUserTurnCompleted.
func (r *run) turnHook(act *activity, t *userTurn, private *chat.Context) (err error) {
	if act.agent.OnUserTurnCompleted == nil {
		return nil
	}
	began := now()
	defer func() {
		t.hook = now().Sub(began)
		t.msg.Metrics.OnUserTurnCompletedDelay = &t.hook
	}()
	defer r.guard("OnUserTurnCompleted", &err)
	rc := agent.NewRunContext(scoped{Session: r.s, act: act}, nil, nil, nil)
	ctx := agent.ContextWithRun(heldUp(metrics.WithTags(act.ctx, metrics.Tags{TurnID: t.id})), rc)
	return act.agent.OnUserTurnCompleted(ctx, rc, private, t.msg)
}

// reply queues the answer to t. On the loop.
func (r *run) reply(act *activity, t *userTurn, private *chat.Context) {
	switch {
	case r.closing != nil || r.pendingTurns > 1: // a newer turn is answered instead
		r.keep(act, t)
		return
	case act.deaf():
		r.forward(act, t)
		return
	}
	sp := r.adopt(act, t, private)
	if sp == nil {
		q, protected := replyRequest{}, act.protectedByDefault()
		if t.cutIn == act {
			q, protected = cutInRequest, true
		}
		q.turn, q.user, q.base = t, t.msg, private
		sp = r.newReply(act, q, protected, false)
	}
	r.recordEOU(t, sp)
}

// recordEOU reports how long the end of the turn took.
func (r *run) recordEOU(t *userTurn, sp *speech) {
	ev := &metrics.EOU{OnUserTurnCompletedDelay: t.hook}
	ev.Tags = sp.act.tags
	ev.Tags.TurnID, ev.Tags.SpeechID = t.id, sp.ID()
	ev.Metadata = metrics.Metadata{ModelName: "unknown", ModelProvider: "vad"}
	if !r.hasVAD() {
		ev.Metadata.ModelProvider = "stt"
	}
	if m := t.msg.Metrics; t.delays {
		ev.EndOfUtteranceDelay, ev.TranscriptionDelay = *m.EndOfTurnDelay, max(t.final.Sub(t.stopped), 0)
	}
	metrics.Record(context.WithoutCancel(r.ctx), ev)
}

// receiveText answers a text that the user typed: it interrupts the agent.
func (r *run) receiveText(t TextInput) {
	if r.act == nil || t.Text == "" {
		return
	}
	if r.act.deaf() && r.closing == nil {
		r.park(func() { r.receiveText(t) })
		return
	}
	if r.closing != nil {
		r.queue(&userTurn{msg: chat.NewMessage(chat.User, t.Text), silent: true})
		return
	}
	r.claim()
	defer r.unclaim()
	if err := r.interruptAll(false); err != nil {
		r.log.Debug("text does not interrupt", "err", err)
	}
	sp, err := r.generateReply(agent.Reply{UserInput: t.Text}, false)
	if err != nil {
		r.log.Warn("text is not answered", "err", err)
		r.keep(r.act, &userTurn{msg: chat.NewMessage(chat.User, t.Text)})
		return
	}
	sp.typed = true
}
