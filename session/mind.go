package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
)

// mind is what the session keeps of an agent, over handoffs: what it knows, and what has become of its
// instructions, options and tools. The agent.Agent of the user is never changed. It is used on the loop only.
type mind struct {
	*chat.Context // never nil
	instructions  string
	options       agent.Options        // that were changed; guarded by Session.mu
	tools         []llm.Tool           // the agent's own; never changed in place
	sets          []llm.ManagedToolset // among tools
	all           *llm.ToolContext     // with the tools of the session, as they were last seen
	settled       bool                 // all is what its toolsets have to offer
}

// meet makes the mind of a, if it has none yet. It calls code of the user, so callers see to it before
// they come to the loop.
func (s *Session) meet(a *agent.Agent) error {
	if s.mind(a) != nil {
		return nil
	}
	m := &mind{Context: a.ChatContext.Copy(nil), instructions: a.Instructions, tools: slices.Clone(a.Tools)}
	var err error
	if m.sets, m.all, err = s.lookAt(m.tools); err != nil {
		return fmt.Errorf("agent %s: %w", a.Name(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.minds[a] == nil {
		s.minds[a] = m
	}
	return nil
}

// lookAt flattens tools of an agent, with those of the session.
func (s *Session) lookAt(tools []llm.Tool) (sets []llm.ManagedToolset, all *llm.ToolContext, err error) {
	if all, err = s.toolContext(tools); err == nil {
		sets, err = managedIn(tools)
	}
	return sets, all, err
}

// mind returns what is kept of a, nil for nothing.
func (s *Session) mind(a *agent.Agent) *mind {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.minds[a]
}

// settle forgets, once, what a new mind cannot use.
func (m *mind) settle() {
	if !m.settled {
		m.settled = true
		m.forget()
	}
}

// forget drops what is kept of a.
func (s *Session) forget(a *agent.Agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.minds, a)
}

// forget drops the calls of tools that there are not.
func (m *mind) forget() {
	names := m.all.Names()
	if names == nil {
		names = []string{} // nil would keep all
	}
	m.Context = m.Copy(&chat.CopyOptions{Tools: names})
}

// system is the system prompt for a user who typed, or who spoke.
func (act *activity) system(typed bool) string {
	text, more := act.mind.instructions, act.agent.AudioInstructions
	if typed {
		more = act.agent.TextInstructions
	}
	if text != "" && more != "" {
		text += "\n\n"
	}
	return text + more
}

// compose makes the messages of a request: the agent's instructions, what it knows, what the user
// said, and the instructions for this reply; and the tools that go along. On the loop.
func (q *replyRequest) compose(act *activity) {
	c := q.base.Copy(&chat.CopyOptions{ExcludeHandoffs: true, ExcludeConfigUpdates: true})
	if text := act.system(q.typed); text != "" {
		_ = c.Remove(instructionsID) // an agent's context may hold older ones
		m := chat.NewMessage(chat.System, text)
		m.ID, m.CreatedAt = instructionsID, instructionsAt
		c.Insert(m)
	}
	if q.user != nil {
		u := *q.user
		u.CreatedAt = act.r.stamp()
		c.Add(&u)
	}
	if q.instructions != "" {
		c.Add(chat.NewMessage(chat.System, q.instructions))
	}
	act.r.underWay(act, c)
	q.messages, q.tools = c, act.r.s.tools(act.mind)
	q.wait = act.r.ready(slices.Concat(act.r.ownSets, act.mind.sets)...)
}

// visible is the tools that a reply is made with. Some are hidden from what the agent says on entering.
func (q *replyRequest) visible() (*llm.ToolContext, error) {
	all, err := llm.NewToolContext(q.tools...)
	if err != nil || !q.entering && q.only == nil {
		return all, err
	}
	var shown []llm.Tool
	for t := range all.All() {
		if !(q.entering && t.IgnoreOnEnter) && q.named(t) {
			shown = append(shown, t)
		}
	}
	return llm.NewToolContext(shown...)
}

// named reports whether the reply may use f, by its own name or that of its toolset.
func (q *replyRequest) named(f *llm.FunctionTool) bool {
	if q.only == nil || slices.Contains(q.only, f.Name) {
		return true
	}
	for _, t := range q.tools {
		if set, ok := t.(llm.Toolset); ok && slices.Contains(q.only, set.ID()) {
			if in, err := llm.NewToolContext(set.Tools()...); err == nil {
				if _, ok := in.Get(f.Name); ok {
					return true
				}
			}
		}
	}
	return false
}

// checkNames refuses names of tools and toolsets that there are not; shared are the session's tools.
func (m *mind) checkNames(shared []llm.Tool, names []string) error {
	for _, name := range names {
		_, ok := m.all.Get(name)
		if !ok && !slices.ContainsFunc(slices.Concat(shared, m.tools), func(t llm.Tool) bool { return t != nil && t.ID() == name }) {
			return fmt.Errorf("no tool or toolset is named %q", name)
		}
	}
	return nil
}

// scoped is the session as a tool or a hook of an agent sees it: what it changes is that agent's, also
// when another one is in charge by then.
type scoped struct {
	*Session
	act      *activity
	entering bool // in OnEnter, or in a tool of what OnEnter asked for
	tool     bool
}

// activityOf is the activity of the tool or hook that ctx is of, nil for none.
func activityOf(ctx context.Context) *activity {
	if rc := agent.RunContextFrom(ctx); rc != nil {
		if s, ok := rc.Session().(scoped); ok {
			return s.act
		}
	}
	return nil
}

// GenerateReply implements agent.Session. A reply that a tool asks for does not call tools unless it
// says so, or they could call each other for ever.
func (s scoped) GenerateReply(q agent.Reply) *agent.Speech {
	if s.tool && q.ToolChoice.Mode == "" {
		q.ToolChoice.Mode = llm.ToolNone
	}
	return s.newSpeech(func(r *run) (*speech, error) { return r.generateReply(q, s.entering) })
}

// ChatContext implements agent.Session.
func (s scoped) ChatContext() *chat.Context { return s.chatContext(s.act) }

// UpdateInstructions implements agent.Session.
func (s scoped) UpdateInstructions(text string) error { return s.updateInstructions(s.act, text) }

// UpdateTools implements agent.Session.
func (s scoped) UpdateTools(ctx context.Context, tools []llm.Tool) error {
	return s.updateTools(ctx, s.act, tools)
}

// UpdateChatContext implements agent.Session.
func (s scoped) UpdateChatContext(c *chat.Context) error { return s.updateChatContext(s.act, c) }

// ChatContext is a copy of what the agent in charge knows, without its instructions; nil before the
// start.
func (s *Session) ChatContext() *chat.Context { return s.chatContext(nil) }

// UpdateInstructions replaces the instructions of the agent in charge, from its next request on. What
// Agent.AudioInstructions and TextInstructions add stays. The history gets a chat.ConfigUpdate, unless
// nothing changed.
func (s *Session) UpdateInstructions(text string) error { return s.updateInstructions(nil, text) }

// UpdateTools replaces the tools of the agent in charge, from its next request on; those of the session
// stay. The agent forgets the calls of tools that are gone. The history gets a chat.ConfigUpdate with
// the names that came and went, if any did. It returns when new toolsets are set up, or ctx ends; ctx is
// for nothing else. Tools that cannot be used together are an error, and then nothing changes.
func (s *Session) UpdateTools(ctx context.Context, tools []llm.Tool) error {
	return s.updateTools(ctx, nil, tools)
}

// UpdateChatContext replaces what the agent in charge knows by a copy of c, from its next request on,
// without the calls of tools that it does not have. Its instructions and the history stay.
func (s *Session) UpdateChatContext(c *chat.Context) error { return s.updateChatContext(nil, c) }

// of runs f on the loop for act, nil for the activity in charge.
func (s *Session) of(act *activity, f func(r *run, act *activity)) error {
	r := s.current()
	if act != nil {
		r = act.r
	}
	err := agent.ErrNotRunning
	if r != nil {
		r.ask(func() {
			if act == nil {
				act = r.act
			}
			if act != nil {
				err = nil
				f(r, act)
			}
		})
	}
	return err
}

func (s *Session) chatContext(act *activity) (c *chat.Context) {
	_ = s.of(act, func(_ *run, act *activity) { c = act.mind.Copy(nil) })
	return c
}

func (s *Session) updateInstructions(act *activity, text string) error {
	return s.of(act, func(r *run, act *activity) {
		if act.mind.instructions == text {
			return
		}
		act.mind.instructions = text
		r.tellModel(act)
		r.reconfigured(act, &chat.ConfigUpdate{Instructions: text})
	})
}

func (s *Session) updateTools(ctx context.Context, act *activity, tools []llm.Tool) error {
	tools = slices.Clone(tools)
	sets, all, err := s.lookAt(tools)
	if err != nil {
		return fmt.Errorf("updating tools: %w", err)
	}
	var wait []<-chan struct{}
	if err := s.of(act, func(r *run, a *activity) {
		act = a
		r.borrow(sets)
		wait = r.ready(sets...)
	}); err != nil {
		return err
	}
	defer func() { _ = s.of(act, func(r *run, _ *activity) { r.giveBack(sets) }) }()
	if len(sets) > 0 { // what they have to offer is known only after their setup
		if err := waitAll(ctx, wait); err != nil {
			return fmt.Errorf("updating tools: %w", err)
		}
		if _, all, err = s.lookAt(tools); err != nil {
			return fmt.Errorf("updating tools: %w", err)
		}
	}
	return s.of(act, func(r *run, act *activity) {
		m := act.mind
		before, after := m.all.Names(), all.Names()
		m.tools, m.sets, m.all, m.settled = tools, sets, all, true
		m.forget()
		r.equip(act)
		r.tellModel(act)
		r.dropEarly()
		if u := (&chat.ConfigUpdate{ToolsAdded: without(after, before), ToolsRemoved: without(before, after)}); len(u.ToolsAdded)+len(u.ToolsRemoved) > 0 {
			r.reconfigured(act, u)
		}
	})
}

func (s *Session) updateChatContext(act *activity, c *chat.Context) error {
	if c == nil {
		return errors.New("updating chat context: no context")
	}
	return s.of(act, func(r *run, act *activity) {
		act.mind.Context = c
		act.mind.forget() // which makes it a copy
		r.tellModel(act)
		r.dropEarly()
	})
}

// reconfigured remembers a change of act's agent. An answer that was begun before it does not count.
func (r *run) reconfigured(act *activity, u *chat.ConfigUpdate) {
	u.CreatedAt = r.stamp()
	r.commit(act, u)
	r.dropEarly()
}

// without is the names that are not among others.
func without(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(others, n) })
}
