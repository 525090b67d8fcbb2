package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime"
)

// converser is the session's side of a realtime model. It stays when the agent changes, if the model and who
// finds the turns do not, and the model can take the new agent's state.
type converser struct {
	r      *run
	model  *realtime.Model
	itself bool // the model finds the user's turns
	s      *realtime.Session
	end    func()        // closes it, once
	sync   chan struct{} // size 1: full while changes are on their way

	mu  sync.Mutex
	ids map[*realtime.Generation]string // of speeches that are about to be made, by the model's own wish

	live metrics.LiveTags // of what the user says

	// Of the loop.
	started  time.Time                   // when the model last heard the user begin to speak
	stopped  time.Time                   // when the user last stopped to speak; zero once that was answered
	segments map[string]string           // of transcripts, by item
	times    map[string]chat.TurnMetrics // of what the user said and the model has not written down yet, likewise
	unnamed  []said                      // by the user, as items that the model did not tell yet
	turnOver time.Time                   // when the user's last turn was
	began    int                         // generations that the model began by itself
	hushed   bool                        // what it said last is not to be taken up again
	rounds   int                         // of tools that it answers by itself, since the user's turn
}

// converseFor makes the converser that act needs. When it fails, the old one stays. On the loop.
func (r *run) converseFor(act *activity, tags metrics.Tags, set setup) error {
	old := r.conv.Load()
	if set.rt == nil {
		r.conv.Store(nil)
		r.hangUp(old)
		return nil
	}
	if old != nil && old.model == set.rt && old.itself == set.itself && old.suits(act) {
		old.s.BookTime() // of whom it was
		old.live.Set(tags)
		r.tellModel(act)
		return nil
	}
	c := &converser{r: r, model: set.rt, itself: set.itself, sync: make(chan struct{}, 1),
		ids: make(map[*realtime.Generation]string), segments: make(map[string]string), times: make(map[string]chat.TurnMetrics)}
	c.live.Set(tags)
	s, err := set.rt.Session(metrics.WithLiveTags(r.ctx, &c.live), &realtime.SessionOptions{
		Instructions: act.system(false), Tools: act.mind.all.Specs(), Context: act.known(),
		ClientTurns: !set.itself, TextOnly: r.io.AudioOut == nil || !set.rt.Capabilities().AudioOutput, Tags: c.tags,
	})
	if err != nil {
		return fmt.Errorf("agent %s: %w", act.agent.Name(), err)
	}
	c.s = s
	c.end = sync.OnceFunc(func() { _ = s.Close() })
	r.conv.Store(c)
	r.hangUp(old)
	r.goDo("realtime model", c.listen)
	return nil
}

// hangUp closes a converser that is not needed any more.
func (r *run) hangUp(c *converser) {
	if c != nil {
		if c.itself && r.act != nil && r.userState == agent.UserSpeaking && !r.hasVAD() {
			r.userStopped(now()) // nobody else would say so; whoever hears him now says that he speaks
		}
		r.goDo("closing realtime model", func() {
			_ = r.waitUntil(r.ctx, func() bool { return !c.speaks() })
			c.lastWords()
			c.end()
		})
	}
}

// speaks reports whether an answer is being said that c has begun. On the loop.
func (c *converser) speaks() bool {
	for act := range c.r.acts {
		for sp := range act.live {
			if sp.step.conv == c && !isClosed(sp.step.playedOut) {
				return true
			}
		}
	}
	return false
}

// close ends the conversation and waits until what it cost is booked.
func (c *converser) close() { c.end() }

// suits reports whether the model can take the state of act without a new conversation.
func (c *converser) suits(act *activity) bool {
	can := c.s.Capabilities()
	return can.MutableContext && can.MutableInstructions && can.MutableTools
}

// known is what the agent knows, as a realtime model is told. A model that answers outputs by itself is not to answer
// those of tools in the background: it is asked in a quiet moment, see replySoon.
func (act *activity) known() *chat.Context {
	c := act.mind.Copy(&chat.CopyOptions{ExcludeHandoffs: true, ExcludeConfigUpdates: true})
	late := act.r.late
	if l := act.r.lateReply; l != nil {
		late = slices.Concat(late, l.results)
	}
	for _, l := range late {
		for it := range c.All() {
			if o, ok := it.(*chat.FunctionCallOutput); ok && o.CallID == l.id {
				x := *o
				x.NoReply = true
				c.Upsert(&x)
				break
			}
		}
	}
	return c
}

// tellModel tells the realtime model, if there is one, what has changed of act, in the background. On the loop.
func (r *run) tellModel(act *activity) {
	c := r.conv.Load()
	if c == nil || act.rt == nil || r.act != nil && r.act != act && r.next != act {
		return
	}
	r.goDo("telling the realtime model", func() {
		if err := c.tell(act.ctx, act); err != nil && act.ctx.Err() == nil && !errors.Is(err, realtime.ErrClosed) {
			r.log.Warn("the realtime model does not take a change", "err", err)
		}
	})
}

// tell brings the model to the state of act and waits until it has it. It is not called on the loop.
func (c *converser) tell(ctx context.Context, act *activity) error {
	select {
	case c.sync <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.sync }()
	var instructions string
	var tools []llm.ToolSpec
	var known *chat.Context
	if !c.r.ask(func() { instructions, tools, known = act.system(false), act.mind.all.Specs(), act.known() }) {
		return agent.ErrNotRunning
	}
	return errors.Join(
		c.s.UpdateInstructions(ctx, instructions),
		c.s.UpdateTools(ctx, tools),
		c.s.UpdateContext(ctx, known),
	)
}

// tags are those of a generation that the model begins by itself: of the speech that will be made of it.
func (c *converser) tags(g *realtime.Generation) metrics.Tags {
	id := metrics.NewID("speech_")
	c.mu.Lock()
	c.ids[g] = id
	c.mu.Unlock()
	return metrics.Tags{SpeechID: id}
}

// listen hands what the model tells to the loop, until the end of the conversation.
func (c *converser) listen() {
	for {
		e, err := c.s.Next()
		if err != nil {
			if !errors.Is(err, realtime.ErrClosed) && c.r.ctx.Err() == nil {
				c.r.post(func() { c.lost(err) })
			}
			return
		}
		if !c.r.post(func() { c.hear(e) }) {
			return
		}
	}
}

// lost is called when the conversation has ended for good.
func (c *converser) lost(err error) {
	if c.r.conv.Load() == c {
		c.r.beginClose(closeRequest{reason: ReasonError, err: err})
	}
}

// hear deals with what the model tells. On the loop.
func (c *converser) hear(e realtime.Event) {
	r := c.r
	if r.conv.Load() != c || r.act == nil {
		c.hearLate(e)
		return
	}
	switch e := e.(type) {
	case *realtime.SpeechStarted:
		c.userStarted()
	case *realtime.SpeechStopped:
		c.userStopped(e.ItemID)
	case *realtime.Transcript:
		c.transcribed(e)
	case *realtime.ItemAdded:
		c.added(e)
	case *realtime.GenerationCreated:
		c.begins(e.Generation)
	case *realtime.Interrupted:
		c.cutOff(e.Generation)
	case *realtime.ToolCallsCancelled:
		for _, k := range slices.Clone(r.calls) {
			if slices.Contains(e.CallIDs, k.item.CallID) {
				r.cancelCall(k)
			}
		}
	case *realtime.Reconnected:
		r.log.Info("the realtime model goes on over another connection", "model", e.Info.Model, "provider", e.Info.Provider)
		if e.Cut && r.closing == nil && !r.act.owes() && !c.hushed {
			if _, err := r.generateReply(agent.Reply{}, false); err != nil {
				r.log.Warn("what was cut off is not said again", "err", err)
			}
		}
	case *realtime.Swapping:
		c.swapping(e)
	}
}

// hearLate deals with what a model tells whose place another one has taken: what the user said to it counts. On the loop.
func (c *converser) hearLate(e realtime.Event) {
	switch e := e.(type) {
	case *realtime.GenerationCreated:
		e.Generation.Interrupt()
	case *realtime.ItemAdded:
		if c.r.act != nil && c.owesWords() {
			c.added(e)
		}
	case *realtime.Transcript:
		if c.r.act != nil {
			c.transcribed(e)
			c.r.tellModel(c.r.act)
		}
	}
}

// hush notes that what the realtime model said last is not to be taken up again. On the loop.
func (r *run) hush() {
	if c := r.conv.Load(); c != nil {
		c.hushed = true
	}
}

// owes reports whether a speech goes on with what its tools do. On the loop.
func (act *activity) owes() bool {
	for sp := range act.live {
		if sp.step.owed && !sp.Interrupted() {
			return true
		}
	}
	return false
}

// userStarted takes the model's word that the user speaks: whatever may be interrupted is.
func (c *converser) userStarted() {
	r := c.r
	c.started = now()
	if !r.hasVAD() {
		r.userStarted(c.started)
	}
	sp := r.act.current
	if sp == nil || sp.Interrupted() {
		return
	}
	if err := r.interrupt(sp, false); err != nil {
		r.log.Warn("the model heard the user, the speech goes on since it is protected", "speech", sp.ID())
		return
	}
	r.overlapOver(sp, true, false)
	r.setAgentState(agent.Listening)
}

func (c *converser) userStopped(item string) {
	r := c.r
	c.stopped = now()
	c.turnOver = c.stopped
	if r.hasVAD() {
		if last := r.heard.lastSpeaking; !last.IsZero() {
			c.stopped = last
		}
	} else {
		r.userStopped(c.stopped)
	}
	if item != "" && c.itself && c.s.Capabilities().UserTranscription {
		c.times[item] = chat.TurnMetrics{StartedSpeakingAt: c.started, StoppedSpeakingAt: c.stopped}
	}
	r.schedule()
}

// begins makes a speech of what the model says by itself.
func (c *converser) begins(g *realtime.Generation) {
	r := c.r
	c.mu.Lock()
	id := c.ids[g]
	delete(c.ids, g)
	c.mu.Unlock()
	c.began++
	act := r.speaker()
	if act == nil || act != r.act || r.closing != nil {
		r.log.Warn("the model's answer is dropped: the agent takes no more speeches")
		g.Interrupt()
		if r.closing == nil && c.answered() != nil {
			r.park(func() { // or nobody answers the user
				if _, err := r.generateReply(agent.Reply{}, false); err != nil {
					r.log.Warn("the user is not answered", "err", err)
				}
			})
		}
		return
	}
	if id == "" {
		id = metrics.NewID("speech_")
	}
	t := c.answered()
	turnID := ""
	if t != nil {
		turnID = t.id
	}
	q := replyRequest{turn: t, base: act.mind.Copy(nil)}
	if t != nil {
		c.rounds = 0
	} else if c.spent() {
		q.choice.Mode = llm.ToolNone
		c.rounds++
	}
	q.compose(act)
	sp := r.newSpeechWith(act.ctx, act, sourceReply, act.protectedByDefault(), turnID, id)
	sp.turn, sp.begun, sp.told = t, g, act.system(false)
	g.Inside(sp.step.ctx)
	r.startSpeech(sp, func(sp *speech) error { return r.runReply(sp, q) })
	r.enqueue(sp, false)
}

// spent reports whether a model that answers outputs of tools by itself may call no more of them for now.
func (c *converser) spent() bool {
	return !c.r.opt.MaxToolSteps.IsOff() && c.rounds > c.r.opt.MaxToolSteps.Default(defaultToolSteps)
}

// answered is the user's turn that the model answers now; nil for none.
func (c *converser) answered() *userTurn {
	if c.stopped.IsZero() {
		return nil
	}
	t := &userTurn{id: metrics.NewID("turn_"), msg: chat.NewMessage(chat.User, ""), stopped: c.stopped, final: c.stopped, decided: now(), delays: true}
	c.stopped = time.Time{}
	return t
}

// cutOff stops the speech of a generation that the model has cut off.
func (c *converser) cutOff(g *realtime.Generation) {
	for sp := range c.r.act.live {
		if sp.speaks(g) && !sp.Interrupted() && c.r.interrupt(sp, false) == nil {
			c.r.overlapOver(sp, true, false)
		}
	}
}

// swapping stops what the agent says, since another model takes over, which is told what was heard.
func (c *converser) swapping(e *realtime.Swapping) {
	r, act := c.r, c.r.act
	hushed := c.hushed
	_ = r.interruptAll(true)
	c.hushed = hushed
	stopped := act.interrupted()
	r.goDo("another realtime model", func() {
		for _, sp := range stopped {
			if sp.Wait(r.ctx) != nil {
				break
			}
		}
		var known *chat.Context
		r.ask(func() { known = act.known() })
		e.Continue(known)
	})
}

// heardByModel reports whether the realtime model hears the user's turns, which the session ends, and nobody
// writes them down for it.
func (r *run) heardByModel() bool {
	c := r.conv.Load()
	return c != nil && !c.itself && !r.hasSTT()
}

// endHeard tells the realtime model, if it leaves turns to the session, that t is over. It is false when nothing is
// left to do.
func (r *run) endHeard(t *userTurn) bool {
	c := r.conv.Load()
	if c == nil || c.itself || t.ended {
		return true
	}
	t.ended = true
	r.ask(func() {
		c.forgo()
		c.turnOver = now()
		c.unnamed = append(c.unnamed, said{t.msg, t.msg.Metrics, r.stamp()})
	})
	if err := c.s.Commit(); err != nil {
		r.log.Warn("the user's turn does not reach the realtime model", "err", err)
	}
	return true
}
