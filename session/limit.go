package session

import (
	"context"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/tokenize"
)

// cutInInstructions are what the model is told when the user does not let the agent speak.
const cutInInstructions = "The user has been talking for a long time without letting you speak. " +
	"Cut in politely: react to what was said, in one or two short sentences."

// talk is what the user has said since the agent spoke last. It is used on the loop only.
type talk struct {
	since time.Time // the user began with it; zero before the first word
	text  string
	words int
	due   *agent.UserTurnExceeded // to be told when nothing of the agent is under way; nil for nothing
	told  bool                    // the hook runs
}

// reset is called when the agent speaks, and when the turn is forgotten.
func (k *talk) reset() { *k = talk{told: k.told} }

// started notes that the user speaks since onset. A sound that no words came of does not count.
func (k *talk) started(onset time.Time) {
	if k.words == 0 {
		k.since = onset
	}
}

// countTalk counts final words against the limit of what the user may say at a stretch.
func (r *run) countTalk(text string) {
	k, h, limit := &r.talk, &r.heard, r.act.how.Limit
	if k.since.IsZero() {
		k.since = h.turnStart
	}
	k.text, k.words = join(k.text, text), k.words+tokenize.CountWords(text)
	words, byWords := limit.MaxWords.Get()
	longest, byTime := limit.MaxDuration.Get()
	spoke := now().Sub(k.since)
	if (byWords && k.words >= words || byTime && spoke >= longest) && !k.told && r.agentState != agent.Speaking {
		k.due = &agent.UserTurnExceeded{Transcript: h.transcript, Accumulated: k.text, Words: k.words, Duration: spoke}
	}
}

// serveLimit is called after everything that the loop does. It tells the agent that the user has said
// too much, once nothing of the agent's own is under way.
func (r *run) serveLimit() {
	k, act := &r.talk, r.act
	if k.due == nil {
		return
	}
	if r.closing != nil || act.deaf() || act.paused {
		k.due = nil // whoever comes next hears the user out
		return
	}
	if r.pendingTurns > 0 || r.busy() {
		return
	}
	ev := *k.due
	k.due = nil
	if act.agent.OnUserTurnExceeded == nil {
		r.cutIn()
		return
	}
	k.told = true
	done := r.hook(metrics.WithTags(act.ctx, r.listening()), act, "OnUserTurnExceeded", func(ctx context.Context, rc *agent.RunContext) error {
		return act.agent.OnUserTurnExceeded(ctx, rc, ev)
	})
	r.goDo("waiting for a hook", func() {
		<-done
		r.post(func() { k.told = false })
	})
}

// busy reports whether a speech of the agent is under way. One that was begun early does not count, and
// still less one that was thrown away.
func (r *run) busy() bool {
	for sp := range r.act.live {
		if (r.early == nil || r.early.sp != sp) && !sp.discard.Load() {
			return true
		}
	}
	return false
}

// cutIn has the agent talk over the user: the words so far are a turn, and its answer is protected and
// calls no tools.
func (r *run) cutIn() {
	h := &r.heard
	if r.act.mute() || h.commit != nil {
		return
	}
	r.dropEarly()
	if h.transcript == "" { // they are turns that nobody has answered
		r.newReply(r.act, cutInRequest, true, false)
		return
	}
	h.stopDeciding()
	t := newTurn(h)
	t.cutIn = r.act
	r.take(t)
	if h.speaking {
		h.turnStart = now() // what follows is another turn
		r.turnID()
	}
}

var cutInRequest = replyRequest{instructions: cutInInstructions, choice: llm.ToolChoice{Mode: llm.ToolNone}}
