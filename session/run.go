package session

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt"
)

// run is a session from a start to its close. Its loop is the one goroutine that owns all state
// below "loop state"; everything else posts to it and never waits on it while it could be waited for.
type run struct {
	s    *Session
	id   string // of the session, for this run
	opt  *Options
	log  *slog.Logger
	mail *mailbox

	ctx       context.Context // of every call the session makes; ends with the close
	cancel    context.CancelFunc
	endSpan   func(err error, attrs ...slog.Attr)
	label     string         // of the first agent
	wg        sync.WaitGroup // every goroutine of the run but the loop and the dispatcher
	transport Transport
	io        IO
	mouth     *mouth
	turns     *mailbox          // user turns, worked on one after another
	events    *mailbox          // on their way to the listeners
	spent     metrics.Collector // of this run alone
	pending   pending           // what the report waits for
	pricedAt  time.Time         // of the prices
	watch     watch             // over the budgets
	done      chan struct{}
	loopDone  chan struct{}
	turnsDone chan struct{}
	opened    bool // the transport is; set before anybody else can know of it

	stampMu   sync.Mutex
	lastStamp time.Time

	// Loop state.
	startedAt, endedAt time.Time
	opening            bool // start is under way, and tears down if it fails
	cancelOpen         context.CancelFunc
	closing            *closeRequest
	hurry              context.CancelFunc // ends the draining
	closeReason        CloseReason
	closeErr           error
	agentState         agent.State
	userState          agent.UserState
	act                *activity
	acts               map[*activity]struct{} // that have something to be released
	next               *activity              // takes over when leaving has finished
	leaving            *activity
	handoffs           []*agent.Agent // that wait for the one that is under way
	parked             []func()       // what the user says meanwhile
	adapted            map[adaptedKey]*stt.Model
	toolsets           map[llm.ManagedToolset]*equipment
	ownSets            []llm.ManagedToolset // of the session
	ears               *ears
	lastEars           *ears                     // the last ones that were made
	judge              atomic.Pointer[judge]     // the ears read it too; nil for none
	conv               atomic.Pointer[converser] // likewise; with the realtime model, nil for none
	retired            map[*ears]struct{}        // ears that were replaced and still have words to tell
	heard              recognition
	talk               talk
	standing           standing
	overlap            overlap
	record             []Event
	latencies          []TurnLatency
	errors             map[string]int // final errors in a row, by kind of model
	outputReady        bool
	pendingTurns       int
	away               timer
	early              *early // an answer that was begun before its turn was over; nil for none
	pause              *pause // nil when nothing is paused
	resume             timer  // ends the pause
	resumeWaits        bool   // the pause ends if the open decision finds no turn
	aec                timer
	warmed             bool         // the echo warm-up has begun
	calls              []*toolCall  // tools that run
	late               []lateResult // of tools in the background, that the user was not told yet
	lateReply          *lateReply   // tells him; nil for none
	lateWaits          bool         // for a quiet moment to begin one
	fillers            []*filler
	idlers             []*idleWaiter // wait for a quiet moment, in order
	floor              *floor        // whose quiet moment it is; nil for everybody's
	claims             int           // of the user's turn, by programs
	waiters            []*waiter
	works              map[any]*activity // what is under way, and on whose behalf
	exchange           *exchange         // the Run that waits; nil for none
}

func newRun(ctx context.Context, s *Session, id string, t Transport) *run {
	r := &run{
		s: s, id: id, opt: &s.opt, log: loggerOf(ctx, s.opt), transport: t,
		mail: newMailbox(), turns: newMailbox(), events: newMailbox(),
		done: make(chan struct{}), loopDone: make(chan struct{}), turnsDone: make(chan struct{}),
		adapted: make(map[adaptedKey]*stt.Model), toolsets: make(map[llm.ManagedToolset]*equipment), retired: make(map[*ears]struct{}),
		acts: make(map[*activity]struct{}), works: make(map[any]*activity),
		agentState: agent.Initializing, userState: agent.UserListening,
		errors: make(map[string]int),
	}
	r.away.s, r.resume.s, r.aec.s, r.overlap.wait.s = r, r, r, r
	r.heard.init(r)
	r.pricedAt = now()
	r.watch.init(r)
	base := metrics.WithoutTags(context.WithoutCancel(ctx)) // a tool of another session may have started this one
	base = metrics.WithRecorder(base, r)
	base = metrics.WithTags(base, metrics.Tags{SessionID: id})
	base = model.WithHooks(base, &model.Hooks{OnError: r.modelFailed, OnAvailability: r.modelChanged, StartSpan: s.spans()})
	base, r.endSpan = model.StartSpan(base, "agent_session")
	r.ctx, r.cancel = context.WithCancel(base)
	return r
}

// loggerOf is where a session that is started with ctx logs.
func loggerOf(ctx context.Context, o Options) *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	if job := model.JobOf(ctx); job != nil {
		if l := job().Logger; l != nil {
			return l
		}
	}
	return slog.Default()
}

func (r *run) isClosed() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// post hands f to the loop.
func (r *run) post(f func()) bool { return r.mail.post(message{do: f}) }

// ask runs f on the loop and waits for it; false when the loop has ended. It must not be called on
// the loop.
func (r *run) ask(f func()) bool {
	ran := make(chan struct{})
	if !r.post(func() { f(); close(ran) }) {
		return false
	}
	<-ran // the loop runs all that it accepted and never blocks
	return true
}

func (r *run) loop() {
	defer close(r.loopDone)
	r.mail.run(func(m *message) {
		if m.do != nil {
			m.do()
		} else {
			r.onVAD(m)
		}
		r.serveWaiters()
		r.serveIdle()
		r.serveLimit()
		r.serveExchange()
	})
}

// goDo runs f on a goroutine of the run. A panic in f, which is a panic in user code, ends the
// session with an error.
func (r *run) goDo(what string, f func()) {
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		defer r.guard(what, nil)
		f()
	}()
}

// panicked is the error of what a panic broke.
type panicked struct {
	what string
	*llm.PanicError
}

func (e *panicked) Error() string { return fmt.Sprintf("panic in %s: %v", e.what, e.Value) }
func (e *panicked) Unwrap() error { return e.PanicError }

// guard is deferred around user code. A panic ends the session, and is the error of what it broke.
func (r *run) guard(what string, err *error) {
	p := recover()
	if p == nil {
		return
	}
	e := &panicked{what, &llm.PanicError{Value: p, Stack: debug.Stack()}}
	r.log.Error("session ends because of a panic", "in", what, "panic", p, "stack", string(e.Stack))
	if err != nil {
		*err = e
	}
	r.requestClose(closeRequest{reason: ReasonError, err: e})
}

func (r *run) start(ctx context.Context, a *agent.Agent, x *exchange) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Before the loop begins, since a request to close may be queued already.
	r.opening, r.cancelOpen, r.exchange, r.label = true, cancel, x, a.Name()
	go r.loop()
	go r.events.run(func(m *message) { m.do() })
	go func() {
		defer close(r.turnsDone)
		r.turns.run(func(m *message) { m.do() })
	}()

	err := r.open(ctx, a)
	if err == nil {
		return nil
	}
	r.ask(func() {
		if r.closing == nil {
			r.closing = &closeRequest{reason: ReasonError, err: err}
		}
	})
	r.tearDown()
	return err
}

func (r *run) open(ctx context.Context, a *agent.Agent) error {
	if err := r.watch.check(r.opt.PriceBooks); err != nil {
		return err
	}
	if err := checkTags(r.opt.Tags); err != nil {
		return err
	}
	if err := r.resolveModels(); err != nil {
		return err
	}
	if err := r.s.meet(a); err != nil {
		return err
	}
	own, err := managedIn(r.opt.Tools)
	if err != nil {
		return err
	}
	if r.transport != nil {
		ends, err := r.transport.Open(ctx, &host{r})
		if err != nil {
			return fmt.Errorf("opening transport: %w", err)
		}
		r.io, r.opened = ends, true
	}
	r.mouth = newMouth(r.io.AudioOut)
	r.ask(func() {
		if r.opened {
			r.standing.AgentJoinedAt = now()
		}
		if r.closing != nil {
			err = errClosedWhileStarting
			return
		}
		r.startedAt = now()
		if len(r.s.Tags()) > 0 {
			r.recordTags()
		}
		r.watch.begin(r)
		r.ownSets = own
		r.borrow(own)
		r.s.agentState.Store(r.agentState)
		r.setAgentState(agent.Initializing)
		if r.io.AudioOut == nil {
			r.outputReady = true
		}
		var act *activity
		if act, err = r.newActivity(a, nil); err != nil {
			return
		}
		err = r.enter(act, nil)
		r.opening = err != nil // whoever closes the session from here on tears it down
		if err == nil && r.io.VideoIn != nil {
			r.goDo("video", r.showVideo)
		}
		if err == nil && r.agentState == agent.Initializing {
			r.setAgentState(agent.Listening)
		}
	})
	return err
}

// stamp is the time for an item of the history: now, but later than every stamp before, since the
// history is ordered by it. It may be called from any goroutine.
func (r *run) stamp() time.Time {
	r.stampMu.Lock()
	defer r.stampMu.Unlock()
	t := now()
	if !t.After(r.lastStamp) {
		t = r.lastStamp.Add(time.Microsecond)
	}
	r.lastStamp = t
	return t
}

// emit records e and hands it to the listeners.
func (r *run) emit(e Event) { r.emitThen(e, nil) }

// emitThen is emit, and runs after when all listeners have seen the event.
func (r *run) emitThen(e Event, after func()) {
	switch e.(type) {
	case MetricsCollected, UsageUpdated:
	default:
		r.record = append(r.record, e)
	}
	r.tell(e, after)
}

// tell queues e for the listeners; after, if not nil, runs when all have seen it.
func (r *run) tell(e Event, after func()) {
	r.events.post(message{do: func() {
		r.s.events.deliver(r.log, e)
		if after != nil {
			after()
		}
	}})
}

func at(t time.Time) At { return At{CreatedAt: t} }

// Expect implements metrics.Expecter.
func (r *run) Expect() (done func()) { return r.pending.begin() }

// Record implements metrics.Recorder. It is called from every goroutine.
func (r *run) Record(ctx context.Context, e metrics.Event) {
	for _, also := range [...]metrics.Recorder{r.opt.Recorder, r.io.Recorder} {
		if also != nil {
			also.Record(ctx, e)
		}
	}
	changed := r.spent.Add(e)
	if changed {
		r.watch.used(r)
	}
	if r.s.events.wanted(reflect.TypeFor[MetricsCollected]()) {
		r.tell(MetricsCollected{at(now()), e}, nil)
	}
	if changed && r.s.events.wanted(reflect.TypeFor[UsageUpdated]()) {
		r.tell(UsageUpdated{at(now()), r.spent.Usage()}, nil)
	}
}

// modelFailed is told about every failed attempt of a model call, on any goroutine.
func (r *run) modelFailed(_ context.Context, e model.ErrorEvent) {
	r.post(func() {
		r.emit(ErrorOccurred{at(now()), e})
		if e.Recoverable {
			return
		}
		r.errors[e.Kind]++
		limit := r.opt.MaxUnrecoverableErrors.Default(defaultMaxModelErrors)
		if r.opt.MaxUnrecoverableErrors.IsOff() || r.errors[e.Kind] <= limit {
			return
		}
		r.beginClose(closeRequest{reason: ReasonError, err: fmt.Errorf("%d errors of the %s in a row: %w", r.errors[e.Kind], e.Kind, e.Err)})
	})
}

// modelChanged is told about a model behind a fallback, on any goroutine.
func (r *run) modelChanged(_ context.Context, e model.AvailabilityEvent) {
	r.post(func() { r.emit(ModelAvailabilityChanged{at(now()), e}) })
}

func (r *run) setAgentState(st agent.State) {
	if r.agentState == st {
		if r.io.AgentState != nil && st == agent.Initializing {
			r.io.AgentState(st)
		}
		return
	}
	old := r.agentState
	r.agentState = st
	r.s.agentState.Store(st)
	if r.act != nil && old == agent.Speaking {
		r.act.endpointing.AgentEnded(now())
		r.overlap.apart(now())
	}
	if st == agent.Speaking {
		r.act.endpointing.AgentStarted(now())
		r.talk.reset()
		r.warmUp()
		delete(r.errors, "llm")
		delete(r.errors, "tts")
	}
	if r.io.AgentState != nil {
		r.io.AgentState(st)
	}
	if st == agent.Speaking || st == agent.Thinking {
		r.stirFillers(nil)
	}
	r.emit(AgentStateChanged{at(now()), old, st})
	r.watchAway()
	r.watchEars()
}

func (r *run) setUserState(st agent.UserState, t time.Time) {
	if r.userState == st || r.claims > 0 && st != agent.UserSpeaking && r.closing == nil {
		return
	}
	old := r.userState
	r.userState = st
	r.s.userState.Store(st)
	if st == agent.UserSpeaking {
		r.stirFillers(nil)
	}
	r.emit(UserStateChanged{at(t), old, st})
	r.watchAway()
}

// watchAway arms the away timer while both sides listen and somebody is there.
func (r *run) watchAway() {
	if r.opt.UserAwayTimeout.IsOff() || r.closing != nil || !r.outputReady || r.toolsWork() ||
		r.userState != agent.UserListening || r.agentState != agent.Listening {
		r.away.stop()
		return
	}
	r.away.start(r.opt.UserAwayTimeout.Default(defaultAwayTimeout), func() { r.setUserState(agent.UserAway, now()) })
}

// toolsWork reports whether a tool runs that does not wait for a task itself.
func (r *run) toolsWork() bool {
	return slices.ContainsFunc(r.calls, func(k *toolCall) bool { return !k.inTask })
}

// commit adds items to the history and to what the agent of act knows.
func (r *run) commit(act *activity, items ...chat.Item) {
	r.s.remember(items...)
	act.mind.Add(items...)
	r.note(items...)
	for _, it := range items {
		switch it.(type) {
		case *chat.Message, *chat.Handoff:
			r.emit(ConversationItemAdded{at(now()), it})
		}
	}
}

// host is the run as its transport sees it.
type host struct{ r *run }

// SessionOf returns the session behind a Host, for transports that want more than to report to it.
func SessionOf(h Host) (*Session, bool) {
	x, ok := h.(*host)
	if !ok {
		return nil, false
	}
	return x.r.s, true
}

func (h *host) ReceiveText(t TextInput) {
	h.r.post(func() { h.r.receiveText(t) })
}

func (h *host) ParticipantLinked(p Participant) {
	h.r.s.linked.Store(&p)
	t := now()
	h.r.post(func() {
		h.r.log.Debug("participant linked", "identity", p.Identity, "kind", p.Kind)
		h.r.standing.callerJoined(t)
	})
}

func (h *host) ParticipantLeft(p Participant, reason string, closes bool) {
	h.r.log.Debug("participant left", "identity", p.Identity, "reason", reason)
	t := now()
	h.r.post(func() { h.r.standing.callerLeft(t) })
	if closes {
		h.r.requestClose(closeRequest{reason: ReasonParticipantDisconnected})
	}
}

func (h *host) OutputReady() {
	t := now()
	h.r.post(func() {
		h.r.outputReady = true
		h.r.standing.audible(t)
		h.r.watchAway()
	})
}

func (h *host) Disconnected(reason string) {
	h.r.log.Debug("transport disconnected", "reason", reason)
	h.r.requestClose(closeRequest{reason: ReasonParticipantDisconnected})
}
