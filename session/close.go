package session

import (
	"context"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
)

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

// requestClose is close from any goroutine.
func (r *run) requestClose(q closeRequest) { r.post(func() { r.close(q) }) }

// close begins the end of the session. Only the first request counts, but a later one that does not
// drain ends the draining.
func (r *run) close(q closeRequest) {
	if r.closing != nil {
		if r.closing.drain && !q.drain {
			r.closing.drain = false
			r.closing.hangUp = r.closing.hangUp || q.hangUp
			_ = r.interruptAll(true)
		}
		return
	}
	r.closing = &q
	r.away.stop()
	r.aec.stop()
	r.watchEars()
	// Not goDo: tearDown waits for all goroutines of the run.
	go func() {
		r.finishSpeaking(q)
		r.lastWords(q)
		r.tearDown()
	}()
}

// finishSpeaking runs OnExit and waits for what is being said, or stops it.
func (r *run) finishSpeaking(q closeRequest) {
	ctx, cancel := context.WithTimeout(r.ctx, drainLimit)
	defer cancel()
	var act *activity
	r.ask(func() {
		act = r.act
		if act != nil {
			act.blocked = true
		}
		if !q.drain {
			_ = r.interruptAll(true)
		}
	})
	if act == nil {
		return
	}
	r.leave(ctx, act)
	// OnExit may have spoken; whoever does not drain does not wait for that either.
	if !r.isDraining() {
		r.ask(func() { _ = r.interruptAll(true) })
	}
	if err := act.waitIdle(ctx); err != nil {
		r.log.Warn("session closes although the agent has not finished speaking", "err", err)
		r.ask(func() { _ = r.interruptAll(true) })
	}
}

func (r *run) isDraining() (d bool) {
	r.ask(func() { d = r.closing.drain })
	return d
}

// lastWords takes what the user said last into the history.
func (r *run) lastWords(q closeRequest) {
	var e *ears
	r.ask(func() { e = r.ears })
	if e == nil {
		return
	}
	limit := r.opt.CloseTranscriptTimeout
	if limit <= 0 {
		limit = defaultCloseWait
	}
	e.stop()
	if q.reason != ReasonError {
		pending := false
		r.ask(func() { pending = r.heard.unfinished() })
		if pending {
			e.endSTT(limit)
		}
	}
	e.close()
	r.ask(func() {
		r.heard.stop()
		if r.userState == agent.UserSpeaking {
			r.setUserState(agent.UserListening, now())
		}
		if text := r.heard.takeAll(); text != "" && q.reason != ReasonError && r.act != nil {
			r.keep(r.act, &turn{msg: chat.NewMessage(chat.User, text)})
		}
	})
}

// tearDown releases everything and ends the loop.
func (r *run) tearDown() {
	r.turns.close()
	r.cancel()
	waitFor(&r.wg, interruptionWatchdog, func() {
		r.log.Error("session closed although goroutines of it still run")
	})
	var hangUp bool
	told := make(chan struct{})
	r.ask(func() {
		if r.act != nil {
			r.act.close()
		}
		hangUp = r.closing.hangUp
		r.endedAt = now()
		r.closeReason, r.closeErr = r.closing.reason, r.closing.err
		if r.startedAt.IsZero() { // never opened: nobody was told that it began
			close(told)
			return
		}
		r.emitThen(Closed{at(r.endedAt), r.closing.reason, r.closing.err}, func() { close(told) })
	})
	select {
	case <-told:
	case <-time.After(interruptionWatchdog):
		r.log.Error("session closed although a listener still runs")
	}
	r.closeTransport(hangUp)
	r.s.agentState.Store(agent.Initializing)
	r.s.userState.Store(agent.UserListening)
	r.events.close()
	r.mail.close()
	close(r.done)
}

func (r *run) closeTransport(hangUp bool) {
	if r.transport == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), interruptionWatchdog)
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

// waitFor waits for wg, for d at the most; late is called when that is not enough.
func waitFor(wg interface{ Wait() }, d time.Duration, late func()) {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		late()
	}
}
