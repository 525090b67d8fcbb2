package session

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/turn"
)

// Session is a voice agent's conversation with a user. Make one with New, Start it, and read Usage
// and Report when it is closed; it may be started again. All methods may be called from any
// goroutine.
type Session struct {
	id        string
	opt       Options
	taskTools []llm.Tool // see toolContext
	events    *dispatcher

	agentState atomic.Value // agent.State
	userState  atomic.Value // agent.UserState
	linked     atomic.Pointer[Participant]

	mu      sync.Mutex
	run     *run // the current or last one; nil before the first Start
	agent   *agent.Agent
	history *chat.Context
	minds   map[*agent.Agent]*mind
	how     turn.Handling // of the session, with what was changed
	tags    map[string]string
	tracers []*model.SpanStarter
}

var _ agent.Session = (*Session)(nil)

// ErrStarted is returned by Start when the session is running.
var ErrStarted = errors.New("session is already running")

// New makes a session. It holds no resources until it is started.
func New(o Options) *Session {
	s := &Session{
		id:      metrics.NewID("session_"),
		opt:     o,
		events:  &dispatcher{},
		history: &chat.Context{},
		minds:   make(map[*agent.Agent]*mind),
		how:     o.TurnHandling,
		tags:    make(map[string]string),
	}
	maps.Copy(s.tags, o.Tags)
	s.taskTools = s.newTaskTools()
	s.agentState.Store(agent.Initializing)
	s.userState.Store(agent.UserListening)
	return s
}

// Start begins the conversation: it opens the transport, puts a in charge and returns when the
// session listens. OnEnter runs meanwhile. ctx bounds the start; its values go along with every
// call that the session makes; once started, the session lives until it is closed. A transport of
// nil gives a session without ears and voice, for text.
func (s *Session) Start(ctx context.Context, a *agent.Agent, t Transport) error {
	_, err := s.start(ctx, a, t, nil)
	return err
}

// start is Start; x, if not nil, waits for what OnEnter causes.
func (s *Session) start(ctx context.Context, a *agent.Agent, t Transport, x *exchange) (*run, error) {
	if a == nil {
		return nil, errors.New("starting session: no agent")
	}
	last := s.current()
	r, err := s.newRun(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("starting session: %w", err)
	}
	if err := r.start(ctx, a, x); err != nil {
		s.undo(r, last)
		return nil, fmt.Errorf("starting session: %w", err)
	}
	return r, nil
}

func (s *Session) newRun(ctx context.Context, t Transport) (*run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil && !s.run.isClosed() {
		return nil, ErrStarted
	}
	if s.run != nil && !s.run.startedAt.IsZero() {
		s.id = metrics.NewID("session_") // who has the report of the last run must not take that of this one for the same
	}
	s.run = newRun(ctx, s, s.id, t)
	return s.run, nil
}

// undo leaves the session as it was after its last run, whose usage and report are to be had, if r never began.
func (s *Session) undo(r, last *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == r && r.startedAt.IsZero() && last != nil {
		s.run, s.id = last, last.id
	}
}

func (s *Session) current() *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run
}

// ID is "session_" and a random part. A session that is started again has another one from then on.
func (s *Session) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// Done is closed when the session is closed and everything it had is released. It is nil before the
// first Start.
func (s *Session) Done() <-chan struct{} {
	if r := s.current(); r != nil {
		return r.done
	}
	return nil
}

// Wait waits until the session is closed or ctx ends.
func (s *Session) Wait(ctx context.Context) error {
	r := s.current()
	if r == nil {
		return agent.ErrNotRunning
	}
	return r.wait(ctx)
}

func (r *run) wait(ctx context.Context) error {
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the session now, with reason "user_initiated", and waits until it is closed or ctx
// ends. A closed session stays closed. Tools and hooks, and listeners too, cannot wait for the end
// of the session that waits for them: use Shutdown there. Close with a tool's or hook's context
// returns agent.ErrSelfWait when the close has begun.
func (s *Session) Close(ctx context.Context) error {
	return s.CloseFor(ctx, ReasonUserInitiated)
}

// CloseFor is Close with another reason. The first request decides.
func (s *Session) CloseFor(ctx context.Context, reason CloseReason) error {
	r := s.current()
	if r == nil {
		return nil
	}
	r.requestClose(closeRequest{reason: reason})
	if agent.RunContextFrom(ctx) != nil {
		return agent.ErrSelfWait // the session waits for the tool or hook that called
	}
	return r.wait(ctx)
}

// Shutdown closes the session and returns at once. Unless o.Now is set, what is queued is said first.
func (s *Session) Shutdown(o agent.ShutdownOptions) {
	if r := s.current(); r != nil {
		r.requestClose(closeRequest{reason: ReasonUserInitiated, drain: !o.Now, hangUp: o.HangUp})
	}
}

// Usage is what the session has spent since its start, per provider and model, in a fixed order. It
// stays readable after the close.
func (s *Session) Usage() metrics.Usage {
	if r := s.current(); r != nil {
		return r.spent.Usage()
	}
	return metrics.Usage{}
}

// Context returns a context like ctx in which calls of models count as usage of the session, as they do in
// its tools and hooks: for a classifier or a summary beside the conversation, also after the close. It is
// of nobody's turn and of no agent; metrics.WithTags says otherwise. Before the first start it is ctx.
func (s *Session) Context(ctx context.Context) context.Context {
	r := s.current()
	if r == nil {
		return ctx
	}
	return metrics.WithTags(metrics.WithRecorder(metrics.WithoutTags(ctx), r), metrics.Tags{SessionID: r.id})
}

// UsageBy is Usage apart by a dimension; with price books each group has its cost. The groups add up to
// Usage exactly, and their costs to Cost but for what is rounded; see docs/usage.md.
func (s *Session) UsageBy(d metrics.Dimension) []metrics.Group {
	r := s.current()
	if r == nil {
		return nil
	}
	groups := r.spent.UsageBy(d)
	metrics.Price(groups, r.pricedAt, s.opt.PriceBooks...)
	return groups
}

// History is a copy of the conversation so far, of all agents.
func (s *Session) History() *chat.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.history.Copy(nil)
}

// Agent is the agent in charge, nil before the start.
func (s *Session) Agent() *agent.Agent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.agent
}

// AgentState is what the agent does now.
func (s *Session) AgentState() agent.State { return s.agentState.Load().(agent.State) }

// UserState is what the user does now.
func (s *Session) UserState() agent.UserState { return s.userState.Load().(agent.UserState) }

// Userdata is what Options.Userdata was.
func (s *Session) Userdata() any { return s.opt.Userdata }

// Say speaks text as soon as the agent's earlier speeches are over.
func (s *Session) Say(text string, o *agent.SayOptions) *agent.Speech {
	return s.SayStream(one(text), o)
}

// SayStream is Say for a text that is still being written. It is read on a goroutine of its own, once
// the speech has its turn.
func (s *Session) SayStream(text iter.Seq[string], o *agent.SayOptions) *agent.Speech {
	if o == nil {
		o = &agent.SayOptions{}
	}
	return s.newSpeech(func(r *run) (*speech, error) { return r.say(orNothing(text), o) })
}

// GenerateReply lets the model answer as soon as the agent's earlier speeches are over.
func (s *Session) GenerateReply(q agent.Reply) *agent.Speech {
	return s.newSpeech(func(r *run) (*speech, error) { return r.generateReply(q, false) })
}

func (s *Session) newSpeech(create func(r *run) (*speech, error)) *agent.Speech {
	var sp *speech
	err := agent.ErrNotRunning
	if r := s.current(); r != nil {
		r.ask(func() { sp, err = create(r) })
	}
	if err != nil {
		return agent.FailedSpeech(metrics.NewID("speech_"), err)
	}
	return sp.Speech
}

// Interrupt stops the speech that is playing and those queued before the first protected one, and
// waits until they are over and the history holds what was heard of them. With force it stops all;
// without, a protected speech that is playing is agent.ErrProtected, and nothing happens. ctx bounds
// the waiting alone: one that has ended already makes Interrupt return at once. A tool does not wait
// for the speech that called it. Listeners should not wait: tools wait for them.
func (s *Session) Interrupt(ctx context.Context, force bool) error {
	var stopped []*speech
	err := agent.ErrNotRunning
	if r := s.current(); r != nil {
		r.ask(func() {
			err = r.interruptAll(force)
			if err == nil && r.act != nil {
				stopped = r.act.interrupted()
			}
		})
	}
	for _, sp := range stopped {
		if e := sp.Wait(ctx); e != nil && !errors.Is(e, agent.ErrSelfWait) {
			return e
		}
	}
	return err
}

// UpdateAgent hands the conversation over to a. It returns at once; what the present agent still
// has to say is said first.
func (s *Session) UpdateAgent(a *agent.Agent) error {
	if a == nil {
		return errors.New("updating agent: no agent")
	}
	if err := s.meet(a); err != nil {
		return err
	}
	err := agent.ErrNotRunning
	if r := s.current(); r != nil {
		r.ask(func() { err = r.handOver(a) })
	}
	return err
}

// remember adds items to the history.
func (s *Session) remember(items ...chat.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history.Add(items...)
}

// now is the wall clock; its readings carry the monotonic clock, so differences are true durations.
func now() time.Time { return time.Now() }
