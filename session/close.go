package session

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
)

// How long the steps of a close may take. A session that drains waits longer for what is being said.
const (
	drainLimit = 60 * time.Second
	exitLimit  = 3 * time.Second // OnExit of a session that does not drain
	idleLimit  = time.Second     // its speeches, which were interrupted
	hookLimit  = 3 * time.Second // turns that are in a hook
	closeWait  = 5 * time.Second // anything else
	usageWait  = 5 * time.Second // requests that were cut and still wait for their usage
)

var errClosedWhileStarting = errors.New("closed while it was starting")

// closeRequest says how a session is to end.
type closeRequest struct {
	reason CloseReason
	err    error
	drain  bool
	hangUp bool
}

// HangUper is implemented by transports that can end the call for everybody.
type HangUper interface {
	HangUp(ctx context.Context) error
}

// requestClose is beginClose from any goroutine.
func (r *run) requestClose(q closeRequest) { r.post(func() { r.beginClose(q) }) }

// beginClose begins the end of the session. Only the first request counts, but a later one may still
// end the draining, or hang up.
func (r *run) beginClose(q closeRequest) {
	if c := r.closing; c != nil {
		c.hangUp = c.hangUp || q.hangUp
		if c.drain && !q.drain {
			c.drain = false
			_ = r.interruptAll(true)
			if r.hurry != nil { // nil while start is under way: there is nothing to drain
				r.hurry()
			}
		}
		return
	}
	r.closing = &q
	r.away.stop()
	r.aec.stop()
	r.watchEars()
	if r.opening {
		r.cancelOpen() // start tears down what there is
		return
	}
	r.speakOver()
	ctx, cancel := context.WithCancel(r.ctx)
	r.hurry = cancel
	// Not goDo: tearDown waits for all goroutines of the run.
	go func() {
		defer cancel()
		r.finishTasks(ctx)
		r.finishSpeaking(ctx)
		r.lastWords()
		r.tearDown()
	}()
}

// speakOver has the agent speak although the user does: a session that closes does not heed him any more.
func (r *run) speakOver() {
	r.heard.silent = true
	if r.pause != nil && r.closing.drain {
		r.goOn(r.pause)
	}
	r.schedule()
}

// finishTasks brings the agent back who called a task that is in charge.
func (r *run) finishTasks(hurry context.Context) {
	limit := exitLimit + idleLimit
	r.ask(func() {
		if r.closing.drain {
			limit = drainLimit
		}
	})
	ctx, cancel := context.WithTimeout(hurry, limit)
	defer cancel()
	r.giveUpTasks(ctx)
}

// finishSpeaking runs OnExit and waits for what is being said, or stops it. hurry ends with the draining.
func (r *run) finishSpeaking(hurry context.Context) {
	var act *activity
	drain := false
	r.ask(func() {
		drain = r.closing.drain
		if act = r.act; act != nil {
			r.block(act)
		}
		if !drain {
			_ = r.interruptAll(true)
		}
	})
	if act == nil {
		return
	}
	exit, idle := exitLimit, idleLimit
	if drain {
		exit, idle = drainLimit, drainLimit
	}
	ctx, cancel := context.WithTimeout(hurry, exit)
	r.leave(ctx, act)
	cancel()
	// OnExit may have spoken; whoever does not drain does not wait for that either.
	r.ask(func() {
		if !r.closing.drain {
			_ = r.interruptAll(true)
		}
	})
	ctx, cancel = context.WithTimeout(hurry, idle)
	defer cancel()
	if act.waitIdle(ctx) == nil {
		if drain {
			r.drainCalls(ctx, nil)
		}
		return
	}
	r.ask(func() {
		_ = r.interruptAll(true)
		for _, k := range r.calls {
			k.cancel()
		}
		act.cancel()
	})
	ctx, cancel = context.WithTimeout(r.ctx, idleLimit)
	defer cancel()
	if err := act.waitIdle(ctx); err != nil {
		r.log.Warn("session closes although a speech does not end", "err", err)
	}
}

// lastWords takes what the user said last into the history, behind the turns that are being worked on.
func (r *run) lastWords() {
	var e *ears
	var retired []*ears
	var reason CloseReason
	r.ask(func() {
		retired = slices.Collect(maps.Keys(r.retired))
		e, reason = r.ears, r.closing.reason
		r.heard.stop()
	})
	limit := r.opt.CloseTranscriptTimeout
	if limit <= 0 {
		limit = defaultCloseWait
	}
	if e != nil {
		e.stop()
		if reason != ReasonError {
			e.endSTT(limit) // also without words to come: a stream that ends well tells what it costs
		}
		e.close()
	}
	if c := r.conv.Load(); c != nil {
		if reason != ReasonError {
			c.lastWords()
		}
		c.close() // which books what it cost
	}
	for _, e := range retired {
		if reason != ReasonError {
			e.endSTT(limit) // as they are about to by themselves
		}
	}
	r.ask(func() {
		r.standing.callerSilent(now())
		if r.userState == agent.UserSpeaking {
			r.setUserState(agent.UserListening, now())
		}
		r.unpark() // was said before
		if text := r.heard.takeAll(); text != "" && reason != ReasonError {
			r.queue(&userTurn{msg: chat.NewMessage(chat.User, text), silent: true})
		}
	})
}

// tearDown releases everything and ends the loop. Nothing of the run is left afterwards.
func (r *run) tearDown() {
	r.turns.close()
	await(r.turnsDone, hookLimit, nil) // hooks are not cancelled while they may still come to their end
	r.cancel()
	waitFor(&r.wg, closeWait, func() { r.log.Error("session closed although goroutines of it still run") })
	await(r.pending.over(), usageWait, func() { r.log.Warn("session closes although the usage of some calls is not known yet") })
	told := make(chan struct{})
	hangUp := false
	var closing []<-chan struct{} // toolsets
	r.ask(func() {
		for len(r.calls) > 0 {
			r.cancelCall(r.calls[0])
		}
		for act := range r.acts {
			r.abandon(act)
		}
		if r.exchange != nil {
			r.endExchange(r.exchange, nil)
		}
		closing = r.giveBackAll()
		hangUp = r.closing.hangUp
		r.watch.stop()
		r.endedAt = now()
		r.closeReason, r.closeErr = r.closing.reason, r.closing.err
		if r.act == nil { // never opened: nobody was told that it began
			close(told)
			return
		}
		r.emitThen(Closed{at(r.endedAt), r.closing.reason, r.closing.err}, func() { close(told) })
	})
	await(told, closeWait, func() { r.log.Error("session closed although a listener still runs") })
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), closeWait)
	if waitAll(ctx, closing) != nil {
		r.log.Error("session closed although a toolset still closes")
	}
	cancel()
	r.closeModels()
	r.closeTransport(hangUp)
	r.ask(func() {
		if r.opened {
			r.standing.AgentLeftAt = now()
		}
	})
	r.s.agentState.Store(agent.Initializing)
	r.s.userState.Store(agent.UserListening)
	r.events.close()
	r.mail.close()
	<-r.loopDone // its state changes no more
	r.endSpan(r.closeErr, slog.String("lk.agent_label", r.label))
	close(r.done)
}

// abandon ends what act still has. On the loop.
func (r *run) abandon(act *activity) {
	act.close()
	for sp := range act.live {
		r.finish(sp, nil)
	}
}

func (r *run) closeTransport(hangUp bool) {
	if !r.opened {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), closeWait)
	defer cancel()
	if h, ok := r.transport.(HangUper); ok && hangUp {
		if err := h.HangUp(ctx); err != nil {
			r.log.Warn("hanging up failed", "err", err)
		}
	}
	if err := r.transport.Close(ctx); err != nil {
		r.log.Warn("closing transport failed", "err", err)
	}
}

// await waits for done, for d at the most, and then calls late, which may be nil.
func await(done <-chan struct{}, d time.Duration, late func()) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		if late != nil {
			late()
		}
	}
}

// waitFor waits for wg, for d at the most, and then calls late.
func waitFor(wg *sync.WaitGroup, d time.Duration, late func()) {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	await(done, d, late)
}
