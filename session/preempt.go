package session

import (
	"strings"
	"unicode"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/turn"
)

// early is an answer that was begun before the turn was over.
type early struct {
	sp   *speech
	text string        // what it answers
	base *chat.Context // what the agent knew
}

// preempt begins the answer to text, should that be the whole turn. On the loop.
func (r *run) preempt(text string) {
	h, act, o := &r.heard, r.act, r.act.how.Preemptive
	if r.early != nil && sameWords(r.early.text, text) {
		return
	}
	r.dropEarly()
	tries, limited := o.MaxTries.Get()
	longest, bounded := o.MaxSpeech.Get()
	switch {
	case !o.Enabled.Default(false), act.detection() == turn.DetectManual, act.llm == nil, act.deaf(), act.paused, r.closing != nil,
		r.pendingTurns > 0, r.busy(), limited && h.tries >= tries, bounded && now().Sub(h.turnStart) > longest:
		return
	}
	h.tries++
	base := act.mind.Copy(nil)
	q := replyRequest{user: chat.NewMessage(chat.User, text), base: base}
	q.compose(act)
	account := &held{r: r}
	sp := r.newSpeech(metrics.WithRecorder(act.ctx, account), act, sourceReply, act.protectedByDefault(), r.turnID())
	sp.held, sp.eager = account, o.TTS.Default(false)
	r.early = &early{sp: sp, text: text, base: base}
	r.startSpeech(sp, func(sp *speech) error { return r.runReply(sp, q) })
}

// dropEarly throws away an answer that was begun too early.
func (r *run) dropEarly() {
	e := r.early
	if e == nil {
		return
	}
	r.early = nil
	e.sp.discard.Store(true)
	e.sp.held.decide(true)
	r.goDo("dropping an early answer", func() {
		if s := e.sp.answer.Load(); s != nil {
			s.Discard() // before the interruption, which would be booked as one
		}
		r.ask(func() { _ = r.interrupt(e.sp, true) })
	})
}

// adopt makes the early answer the answer to t, if it answers the same words in the same context; nil
// if there is none that does.
func (r *run) adopt(act *activity, t *userTurn, private *chat.Context) *speech {
	e := r.early
	if e == nil {
		return nil
	}
	if e.sp.act != act || !sameWords(e.text, t.msg.Text()) || !e.base.Equivalent(private) || isClosed(e.sp.stopped) {
		r.log.Debug("an early answer does not fit", "speech", e.sp.ID())
		r.dropEarly()
		return nil
	}
	r.early = nil
	e.sp.held.decide(false)
	e.sp.turn, e.sp.user = t, t.msg
	r.enqueue(e.sp, false)
	return e.sp
}

// sameWords compares texts by their words, without case and punctuation.
func sameWords(a, b string) bool {
	return strings.EqualFold(bare(a), bare(b))
}

func bare(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsDigit(c) && c != '\''
	}), " ")
}
