package session

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/parley-go/parley/llm"
)

// setupLimit is how long requests wait for a toolset that is being set up.
const setupLimit = 10 * time.Second

// equipment is a toolset that is in use. It is set up once and closed once, however many agents use
// it; one that the next agent uses too stays open over the handoff.
type equipment struct {
	users  int
	cancel context.CancelFunc // of Setup
	ready  chan struct{}      // closed when Setup has returned or setupLimit is over
	setUp  chan struct{}      // closed when Setup has returned
	closed chan struct{}      // closed when Close has returned
}

// managedIn is the toolsets among tools that are to be set up. Those inside of one are its own affair.
// It calls code of the user.
func managedIn(tools []llm.Tool) (sets []llm.ManagedToolset, err error) {
	for _, t := range tools {
		switch t := t.(type) {
		case llm.ManagedToolset:
			if !reflect.TypeOf(t).Comparable() {
				return nil, fmt.Errorf("toolset %q: a %T cannot be told from others; hand over a pointer", t.ID(), t)
			}
			sets = append(sets, t)
		case llm.Toolset:
			inner, err := managedIn(t.Tools())
			if err != nil {
				return nil, err
			}
			sets = append(sets, inner...)
		}
	}
	return sets, nil
}

// borrow counts one more user of each set, and sets up those that had none. On the loop.
func (r *run) borrow(sets []llm.ManagedToolset) {
	if r.ctx.Err() != nil {
		return // everything is given back by now
	}
	for _, set := range sets {
		old := r.toolsets[set]
		if old != nil && old.users > 0 {
			old.users++
			continue
		}
		ctx, cancel := context.WithTimeout(r.ctx, setupLimit)
		e := &equipment{users: 1, cancel: cancel, ready: make(chan struct{}), setUp: make(chan struct{}), closed: make(chan struct{})}
		r.toolsets[set] = e
		r.goDo("waiting for a toolset", func() {
			defer close(e.ready)
			await(e.setUp, setupLimit, func() { r.log.Warn("a toolset takes too long to set up", "toolset", set.ID()) })
		})
		r.goDo("toolset", func() {
			defer close(e.setUp)
			defer cancel()
			if old != nil {
				select {
				case <-old.closed: // it was in use before
				case <-ctx.Done():
				}
			}
			if err := set.Setup(ctx); err != nil && !errors.Is(err, context.Canceled) {
				r.log.Error("setting up a toolset failed", "toolset", set.ID(), "err", err)
			}
		})
	}
}

// giveBack counts one user less of each set, and closes those that have none. On the loop.
func (r *run) giveBack(sets []llm.ManagedToolset) {
	for _, set := range sets {
		e := r.toolsets[set]
		if e == nil || e.users == 0 {
			continue
		}
		if e.users--; e.users > 0 {
			continue
		}
		e.cancel()
		r.goDo("closing a toolset", func() {
			defer close(e.closed)
			await(e.setUp, closeWait, nil)
			if err := set.Close(); err != nil {
				r.log.Error("closing a toolset failed", "toolset", set.ID(), "err", err)
			}
		})
	}
}

// giveBackAll closes what is still in use and returns what tells that all is closed. On the loop.
func (r *run) giveBackAll() (closed []<-chan struct{}) {
	for set, e := range r.toolsets {
		e.users = min(e.users, 1)
		r.giveBack([]llm.ManagedToolset{set})
		closed = append(closed, e.closed)
	}
	return closed
}

// equip gives act the toolsets that its agent has now. On the loop.
func (r *run) equip(act *activity) {
	old := act.toolsets
	act.toolsets = nil
	if act.ctx.Err() == nil {
		act.toolsets = act.mind.sets
		r.borrow(act.toolsets)
	}
	r.giveBack(old)
}

// ready is the channels that close when the sets can be used. On the loop.
func (r *run) ready(sets ...llm.ManagedToolset) (wait []<-chan struct{}) {
	for _, set := range sets {
		if e := r.toolsets[set]; e != nil && !isClosed(e.ready) {
			wait = append(wait, e.ready)
		}
	}
	return wait
}

// waitAll waits until all of them are closed or ctx ends.
func waitAll(ctx context.Context, wait []<-chan struct{}) error {
	for _, c := range wait {
		select {
		case <-c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// takeStock looks again at the tools of act when all of its toolsets are set up, since they may have
// learned only then which tools they have. On the loop.
func (r *run) takeStock(act *activity) {
	m := act.mind
	sets := slices.Concat(r.ownSets, m.sets)
	if len(sets) == 0 || m.settled {
		m.settle()
		return
	}
	tools, wait := m.tools, r.ready(sets...) // one that was quick is looked at all the same
	r.goDo("tools", func() {
		if waitAll(act.ctx, wait) != nil {
			return
		}
		all, err := r.s.toolContext(tools)
		if err != nil {
			r.log.Error("the agent's tools cannot be used together", "agent", act.agent.Name(), "err", err)
			return
		}
		r.post(func() {
			if m.settled { // UpdateTools was faster
				return
			}
			m.all = all
			m.settle()
			r.tellModel(act)
		})
	})
}
