package session

import (
	"context"
	"slices"
	"sync"

	"github.com/parley-go/parley/agent"
)

// floor is the right to speak in a quiet moment without anybody cutting in.
type floor struct{ _ byte } // not empty: two of them must differ

// idleWaiter is something to be done in the first quiet moment.
type idleWaiter struct {
	floor *floor      // a floor that does not hold this waiter up; nil for none
	call  *toolCall   // the tool that waits; nil for none
	owes  bool        // the tool also waits until the user was told what it has told
	f     func(error) // called once, on the loop: nil in the quiet moment, else why there will be none
}

// whenIdle does what w says in the first quiet moment: it may be this one. On the loop.
func (r *run) whenIdle(w *idleWaiter) { r.idlers = append(r.idlers, w) }

// forgetIdle takes w back. On the loop.
func (r *run) forgetIdle(w *idleWaiter) {
	if i := slices.Index(r.idlers, w); i >= 0 {
		r.idlers = slices.Delete(r.idlers, i, i+1)
	}
}

// serveIdle is called after everything that the loop does. What one waiter does may end the quiet
// moment for the others.
func (r *run) serveIdle() {
	for {
		var err error
		i := slices.IndexFunc(r.idlers, func(w *idleWaiter) bool {
			switch {
			case r.closing != nil:
				err = agent.ErrNotRunning
			case r.waitsFor(w.call):
				err = agent.ErrSelfWait
			default:
				return r.quietFor(w.floor) && !(w.owes && r.owesReply(w.call))
			}
			return true
		})
		if i < 0 {
			return
		}
		w := r.idlers[i]
		r.idlers = slices.Delete(r.idlers, i, i+1)
		w.f(err)
	}
}

// waitsFor reports whether an agent that is to take over now waits for the call. k may be nil.
func (r *run) waitsFor(k *toolCall) bool {
	act := r.act
	switch {
	case r.next != nil || act.ending():
		return k.holdsUp(act)
	case act != nil && act.heir != nil:
		return k.holdsUp(act) && k.sp.tasks == 0
	}
	return false
}

// holdsUp reports whether a handoff of act waits for the call. k may be nil.
func (k *toolCall) holdsUp(act *activity) bool {
	return k != nil && k.act == act && !isClosed(k.ended) && !(k.shared && k.background.Load())
}

// quietFor is quiet for whoever has f, which may be nil: nobody else has the floor.
func (r *run) quietFor(f *floor) bool { return r.quiet() && (r.floor == nil || r.floor == f) }

// quiet reports whether nobody speaks, is about to, or has said something that is still to be
// answered. A reply that was heard and whose tools still run is quiet.
func (r *run) quiet() bool {
	act, h := r.act, &r.heard
	if act == nil || r.next != nil || act.deaf() || r.userState == agent.UserSpeaking || h.speaking || h.sttSpeaking ||
		h.deciding() || r.pendingTurns > 0 || act.current != nil || len(act.queue) > 0 {
		return false
	}
	for sp := range act.live {
		early := r.early != nil && r.early.sp == sp
		if !early && !sp.Interrupted() && !(sp.background && sp.working > 0) {
			return false // between two steps
		}
	}
	return true
}

// awaitIdle does f on the loop in the first quiet moment and returns when that is done. It is not
// called on the loop.
func (r *run) awaitIdle(ctx context.Context, w *idleWaiter) error {
	if ctx.Value(heldUpKey{}) != nil {
		return agent.ErrSelfWait
	}
	w.call = callOf(ctx)
	done := make(chan error, 1) // one result
	if f := w.f; f != nil {
		w.f = func(err error) { f(err); done <- err }
	} else {
		w.f = func(err error) { done <- err }
	}
	if !r.post(func() { r.whenIdle(w) }) {
		return agent.ErrNotRunning
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		r.ask(func() { r.forgetIdle(w) })
		return ctx.Err()
	}
}

// heldUpKey marks the contexts of hooks that the session waits for.
type heldUpKey struct{}

func heldUp(ctx context.Context) context.Context { return context.WithValue(ctx, heldUpKey{}, true) }

// floorKey is where a context carries the floor that it was called with.
type floorKey struct{}

func floorOf(ctx context.Context) *floor {
	f, _ := ctx.Value(floorKey{}).(*floor)
	return f
}

// WaitForIdle waits for a quiet moment: nobody speaks or is about to, the user's last turn is
// answered, no other agent is taking over, and nobody else has the floor. Tools that still run are no
// hindrance once their speech was heard. It waits on through handoffs. When the session closes it
// returns agent.ErrNotRunning; a hook that the session itself waits for (OnUserTurnCompleted, OnExit)
// gets agent.ErrSelfWait, and so does a tool that a handoff waits for. Ending ctx ends the waiting and
// nothing else.
func (s *Session) WaitForIdle(ctx context.Context) error {
	r := s.current()
	if r == nil {
		return agent.ErrNotRunning
	}
	return r.awaitIdle(ctx, &idleWaiter{floor: floorOf(ctx)})
}

// Foreground waits for a quiet moment as WaitForIdle does, and runs f with the floor: until f returns,
// nobody else finds the session idle. WaitForIdle and Foreground with the context that f gets are
// exempt. A tool in the background first waits until the user was told what it has told. The error is
// that of the waiting or of f.
func (s *Session) Foreground(ctx context.Context, f func(ctx context.Context) error) error {
	r := s.current()
	if r == nil {
		return agent.ErrNotRunning
	}
	mine, held := floorOf(ctx), false
	if mine != nil {
		r.ask(func() { held = r.floor == mine })
	}
	if held {
		if err := r.awaitIdle(ctx, &idleWaiter{floor: mine}); err != nil {
			return err
		}
		return f(ctx)
	}
	got := &floor{}
	r.ask(func() { r.begin(got, activityOf(ctx)) })
	defer r.post(func() { // also when the waiting was given up in the moment when it was over
		r.over(got)
		if r.floor == got {
			r.floor = nil
		}
	})
	err := r.awaitIdle(ctx, &idleWaiter{owes: callOf(ctx) != nil, f: func(err error) {
		if err == nil {
			r.floor = got
		}
	}})
	if err != nil {
		return err
	}
	return f(context.WithValue(ctx, floorKey{}, got))
}

// ClaimUserTurn takes a turn on behalf of the user, for programs that get the user's words by another
// way than his voice: until release is called, the user counts as speaking and the session is not
// idle. Claims may overlap and outlive handoffs; when the last one is released, the state is again
// what is heard. release may be called more than once.
func (s *Session) ClaimUserTurn() (release func()) {
	r := s.current()
	if r == nil || !r.ask(r.claim) {
		return func() {}
	}
	return sync.OnceFunc(func() { r.ask(r.unclaim) })
}

// claim is ClaimUserTurn on the loop.
func (r *run) claim() {
	r.claims++
	r.setUserState(agent.UserSpeaking, now())
}

func (r *run) unclaim() {
	r.claims--
	if r.claims == 0 && !r.heard.speaking && !r.heard.sttSpeaking {
		r.setUserState(agent.UserListening, now())
	}
}
