package session

import (
	"errors"
	"fmt"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/turn"
)

// UpdateOptions lays h over the session's TurnHandling, at once and for every agent that comes; what an
// agent itself has set still wins. It fails, and changes nothing, when the agent in charge could not
// work with it. On a session that does not run it counts from the next start.
func (s *Session) UpdateOptions(h turn.Handling) error { return s.update(h, nil, agent.Options{}) }

// UpdateAgentOptions gives the agent in charge other models and turn handling, at once and whenever this
// session puts it in charge again. A step of a speech goes on with the models that it began with. It
// fails, and changes nothing, when the agent could not work with them, for example with
// turn.ErrVADSilence, and before the first start. On a session that does not run it counts from the
// next start.
func (s *Session) UpdateAgentOptions(o agent.Options) error {
	m := s.mind(s.Agent())
	if m == nil {
		return agent.ErrNotRunning
	}
	return s.update(turn.Handling{}, m, o)
}

// UpdateAgentOptions implements agent.Session.
func (s scoped) UpdateAgentOptions(o agent.Options) error {
	return s.update(turn.Handling{}, s.act.mind, o)
}

// update lays h over the turn handling of the session and, unless m is nil, o over the options of m's
// agent.
func (s *Session) update(h turn.Handling, m *mind, o agent.Options) error {
	var err error
	if r := s.current(); r == nil || !r.ask(func() { err = r.update(h, m, o) }) {
		s.lay(h, m, o)
	}
	return err
}

// update is Session.update on the loop.
func (r *run) update(h turn.Handling, m *mind, o agent.Options) error {
	if r.act != nil && r.closing == nil {
		if err := r.refit(h, m, o); err != nil {
			return fmt.Errorf("updating options: %w", err)
		}
	}
	r.s.lay(h, m, o)
	return nil
}

func (s *Session) lay(h turn.Handling, m *mind, o agent.Options) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.how = h.Over(s.how)
	if m != nil {
		m.options = o.Over(m.options)
	}
}

// chosen is the session's turn handling and what was changed of m's agent.
func (s *Session) chosen(m *mind) (turn.Handling, agent.Options) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.how, m.options
}

// refit lets the agent in charge, and the one that follows it, work with what update is about to lay
// over the options: both of them, or none.
func (r *run) refit(h turn.Handling, m *mind, o agent.Options) error {
	fit := func(act *activity) (setup, error) {
		how, own := r.s.chosen(act.mind)
		if act.mind == m {
			own = o.Over(own)
		}
		return r.newSetup(act.agent, own, h.Over(how))
	}
	set, err := fit(r.act)
	following := setup{}
	if err == nil && r.next != nil {
		following, err = fit(r.next)
	}
	if err == nil && (set.rt == nil) != (r.act.rt == nil) {
		err = errors.New("an LLM cannot take the place of a realtime model, nor the other way round, while the agent is in charge")
	}
	if err == nil {
		err = r.listenFor(r.act.tags, set)
	}
	if err == nil {
		err = r.converseFor(r.act, r.act.tags, set)
	}
	if err != nil {
		return err
	}
	if r.next != nil {
		r.next.adopt(following)
	}
	old := r.act.setup
	r.act.adopt(set)
	r.judgeFor(r.act)
	if set.llm != old.llm || set.tts != old.tts {
		r.dropEarly()
	}
	if set.how != old.how || set.vad != old.vad || set.stt != old.stt {
		r.decideAgain()
	}
	r.watchEars()
	r.schedule()
	return nil
}

// adopt lets act work with set. What endpointing has learned is kept, as far as it still fits.
func (act *activity) adopt(set setup) {
	old := act.setup
	act.setup = set
	act.warn(old.warning)
	act.endpointing.Update(changes(old.how.Endpointing, set.how.Endpointing))
	if set.llm != old.llm {
		act.prewarm()
	}
}

// changes is what of b differs from a.
func changes(a, b turn.EndpointingOptions) turn.EndpointingOptions {
	if b.Mode == a.Mode {
		b.Mode = ""
	}
	b.MinDelay, b.MaxDelay = changed(a.MinDelay, b.MinDelay), changed(a.MaxDelay, b.MaxDelay)
	b.Alpha = changed(a.Alpha, b.Alpha)
	return b
}

func changed[T comparable](a, b opt.Value[T]) opt.Value[T] {
	if a == b {
		return opt.Value[T]{}
	}
	return b
}

// decideAgain makes the open decision anew, and one that was left to somebody else until now.
func (r *run) decideAgain() {
	h := &r.heard
	if !r.turnsBySTT() {
		r.sttSilent()
	}
	if h.commit != nil {
		return // waits for the last words
	}
	h.stopDeciding()
	switch {
	case r.act.detection() == turn.DetectManual:
		r.dropEarly()
		r.turnDropped()
	case !h.speaking && !h.sttSpeaking:
		r.endTurnSoon()
	}
}
