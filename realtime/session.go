package realtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/internal/pcm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

const (
	// replayWindow is how much audio is kept for sending: what waits for the provider, and what it got
	// but may not have heard.
	replayWindow = 30 * time.Second
	// eventQueue is how many events wait for Next before the provider is left waiting.
	eventQueue = 256
	// closeWait bounds how long Close waits for what generations cost, and again for a driver.
	closeWait = time.Second
)

// Session is one conversation. Next belongs to one goroutine; the other methods may be called concurrently.
//
// A connection that fails is made again when that may help, as often as ConnOptions say; a minute on one
// connection, or a generation that is complete, starts the count anew. Each failure is reported to the hooks
// of the context; the last one is what Next returns. Audio of the last second, and all since the user began to
// speak until a transcript of it or an answer came, is sent again on the new connection: 30 s at most.
// A generation of which nothing came is asked for again; one that was cut off ends with an error.
type Session struct {
	m      *Model
	conn   model.ConnOptions
	o      SessionOptions
	user   context.Context // as given
	ctx    context.Context // ends with user or Close
	cancel context.CancelFunc
	events *queue[Event]
	took   chan struct{} // one token: events were taken
	wake   chan struct{} // one token: there is something to send
	quiet  chan struct{} // one token: the provider owes nothing
	closed chan struct{}
	done   chan struct{} // the goroutine ended

	mu       sync.Mutex
	then     []func()    // what to do without the lock
	who      *Model      // that is used, or was
	member   *member     // of a Fallback, the same
	tried    []failure   // models in a row
	c        *connection // nil while there is none
	want     state
	override *Generation     // whose tools and tool choice are in force
	known    map[string]bool // items that the caller has had in a context
	theirs   map[string]bool // items that a model made
	acks     []*ack
	ops      []*op
	orphans  []orphan // generations of broken connections
	resume   any      // of the last connection
	cut      bool     // a generation was cut off since the last connection

	reconnecting bool // there was a connection before
	swapped      bool // it was to another model

	isOver bool
	err    error // why
	mono   *pcm.Converter
	in     pcm.Backlog
	next   int64 // position of the next sample to send
	losing bool  // unsent audio is being forgotten
	turns  turns
}

// Session begins a conversation; o may be nil. It connects in the background; what is asked of it meanwhile
// waits. ctx governs its whole life: when it ends the session ends, and its recorder, tags and hooks get the
// session's metrics and errors. The caller closes the session.
func (m *Model) Session(ctx context.Context, o *SessionOptions) (*Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if m.err != nil {
		return nil, fmt.Errorf("realtime: session: %w", m.err)
	}
	s := &Session{
		m: m, who: m, conn: m.conn, user: ctx,
		events: newQueue[Event](),
		took:   make(chan struct{}, 1), wake: make(chan struct{}, 1), quiet: make(chan struct{}, 1),
		closed: make(chan struct{}), done: make(chan struct{}),
		known: map[string]bool{}, theirs: map[string]bool{},
	}
	if o != nil {
		s.o = *o
	}
	s.o.TextOnly = s.o.TextOnly || !m.caps.AudioOutput
	s.want = state{instructions: s.o.Instructions, tools: slices.Clone(s.o.Tools), choice: s.o.ToolChoice}
	s.setConversation(itemsOf(s.o.Context))
	if m.group != nil {
		s.turnTo(m.group.Ready()[0])
	}
	if err := s.possible(); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	go s.run()
	return s, nil
}

func (s *Session) possible() error {
	c := s.who.caps
	switch {
	case s.o.ClientTurns && !c.ClientTurns:
		return fmt.Errorf("realtime: session: turns by the caller: %w", ErrUnsupported)
	case !s.o.ClientTurns && !c.ServerTurns:
		return fmt.Errorf("realtime: session: turns by the model: %w", ErrUnsupported)
	}
	return nil
}

// unlock unlocks s.mu and does what was put off until then.
func (s *Session) unlock() {
	then := s.then
	s.then = nil
	s.mu.Unlock()
	for _, f := range then {
		f()
	}
}

// Info says who converses: of a Fallback, the model that is used now.
func (s *Session) Info() model.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.who.info
}

// Capabilities are those of the model that is used now.
func (s *Session) Capabilities() Capabilities {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.who.caps
}

// Context is the conversation as far as the session knows it, without messages that nobody knows the text of.
func (s *Session) Context() *chat.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.want.conv.context()
}

// Next waits for the next event, which then belongs to the caller. It returns the terminal error of a session
// that failed, the error of the context, or ErrClosed. When 256 events wait, the provider is left waiting.
func (s *Session) Next() (Event, error) {
	e, err := s.events.next(s.user)
	select {
	case s.took <- struct{}{}:
	default: // a token is waiting already
	}
	return e, err
}

// Push takes audio (borrowed) of the user and sends it in the background; it never waits for the provider.
// Audio that came while there was no connection is sent with the rest. When 30 s wait to be sent, the oldest
// is dropped and an error event tells. All frames must have the rate and channels of the first.
func (s *Session) Push(f audio.Frame) error {
	if err := f.Validate(); err != nil {
		return fmt.Errorf("realtime: push: %w", err)
	}
	s.mu.Lock()
	defer s.unlock()
	if err := s.usable(); err != nil || len(f.Data) == 0 {
		return err
	}
	if s.mono == nil {
		c, err := pcm.NewConverter(f, 0)
		if err != nil {
			return fmt.Errorf("realtime: push: %w", err)
		}
		s.mono = c
		s.in.Limit = audio.SamplesIn(replayWindow, f.Rate)
	}
	if !s.mono.Accepts(f) {
		return fmt.Errorf("realtime: push: audio format changed within the session")
	}
	s.in.Add(s.mono.Convert(f))
	s.forget()
	if s.in.Base > s.next {
		s.next = s.in.Base
		if !s.losing {
			s.losing = true
			s.report(errTooSlow, true, 0)
		}
	}
	s.signal()
	return nil
}

var errTooSlow = errors.New("realtime: provider takes audio too slowly: dropped what waited for 30 s")

// PushImage sends what the user shows. The error is ErrUnsupported if the model cannot see, which may only be
// known from the second image on; while there is no connection the image is dropped.
func (s *Session) PushImage(img *chat.Image) error {
	s.mu.Lock()
	defer s.unlock()
	if err := s.usable(); err != nil || s.c == nil {
		return err
	}
	w, ok := s.c.d.(driver.Watcher)
	if !ok || s.c.blind {
		return ErrUnsupported
	}
	s.drop(func(o *op) bool { return o.key == imageKey && !o.sent }) // only the latest counts
	s.queue(&op{key: imageKey, send: func(ctx context.Context, _ driver.Conn) error { return w.PushImage(ctx, img) }})
	return nil
}

// Generate asks for a generation and waits until the provider begins with it, at most for the timeout of the
// model's ConnOptions: then the error is a *model.Error and the request is withdrawn, as it is when ctx ends
// or by Interrupt. The generation's metrics have the tags of ctx. While another generation goes on the request
// waits. r may be nil.
func (s *Session) Generate(ctx context.Context, r *Request) (*Generation, error) {
	if r == nil {
		r = &Request{}
	}
	return s.ask(ctx, r.Tools, r.ToolChoice, func(ctx context.Context, d driver.Conn, id string) error {
		q := &driver.Request{ID: id, Instructions: r.Instructions}
		if s.perResponse() {
			q.Tools, q.ToolChoice = r.Tools, r.ToolChoice
		}
		return d.Generate(ctx, q)
	})
}

// Say has the model say a text, as Generate does. The error is ErrUnsupported if it cannot.
func (s *Session) Say(ctx context.Context, text string) (*Generation, error) {
	if !s.Capabilities().Say {
		return nil, ErrUnsupported
	}
	return s.ask(ctx, nil, nil, func(ctx context.Context, d driver.Conn, id string) error {
		if p, ok := d.(driver.Sayer); ok {
			return p.Say(ctx, &driver.Request{ID: id}, text)
		}
		return ErrUnsupported
	})
}

func (s *Session) perResponse() bool { return s.Capabilities().ToolsPerResponse }

// Interrupt ends all generations that go on or were asked for: the model is told, and what was not read yet
// is dropped.
func (s *Session) Interrupt() {
	s.mu.Lock()
	defer s.unlock()
	s.interrupt(nil)
}

// Truncate says that of a message with audio only the first d were heard, and what that says. It returns
// before the provider knows.
func (s *Session) Truncate(id string, d time.Duration, text string) error {
	s.mu.Lock()
	defer s.unlock()
	if err := s.usable(); err != nil {
		return err
	}
	heard := func(m *chat.Message) {
		m.Content, m.Interrupted = nil, true
		if text != "" {
			m.Content = []chat.Part{chat.Text(text)}
		}
	}
	s.want.conv.edit(id, heard)
	c := s.c
	if c == nil || !c.has.conv.has(id) {
		return nil
	}
	if t, ok := c.d.(driver.Truncater); ok && c.spoken(id) {
		c.has.conv.edit(id, heard)
		c.cut(id, d)
		s.queue(&op{key: "truncate", send: func(ctx context.Context, _ driver.Conn) error { return t.Truncate(ctx, id, d, text) }})
		return nil
	}
	s.reconcile() // spoken over another connection: to this one it is a text
	return nil
}

// Reconnect has the session go on over a new connection: at once, whatever goes on. switchModel has another
// model of a Fallback take over.
func (s *Session) Reconnect(switchModel bool) {
	s.mu.Lock()
	defer s.unlock()
	if s.c != nil {
		s.c.end(&renewal{why: "asked for", swap: switchModel})
	}
}

// Close ends the session at once, but for generations that go on or were just asked for: they are interrupted, and for
// what they cost it waits, 1 s at the most. All usage is recorded before Close returns. It may be called more than once.
func (s *Session) Close() error {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
		s.events.drop(ErrClosed)
		s.interrupt(nil)
	}
	s.unlock()
	s.settle()
	s.cancel()
	t := time.NewTimer(closeWait)
	defer t.Stop()
	select {
	case <-s.done:
	case <-t.C: // the driver does not let go; its goroutine ends when it does
		s.mu.Lock()
		if s.c != nil {
			s.c.bill()
			s.c.leaveResponses(ErrClosed)
		}
		s.unlock()
	}
	return nil
}

// settle waits until the provider owes nothing.
func (s *Session) settle() {
	t := time.NewTimer(closeWait)
	defer t.Stop()
	for {
		s.mu.Lock()
		going := s.c != nil && s.c.owes()
		s.unlock()
		if !going {
			return
		}
		select {
		case <-s.quiet:
		case <-s.done:
			return
		case <-s.user.Done():
			return
		case <-t.C:
			return
		}
	}
}

// usable says why nothing can be asked of the session any more.
func (s *Session) usable() error {
	select {
	case <-s.closed:
		return ErrClosed
	default:
	}
	switch {
	case s.user.Err() != nil:
		return s.user.Err()
	case s.isOver:
		return s.err
	}
	return nil
}

func (s *Session) signal() {
	select {
	case s.wake <- struct{}{}:
	default: // a token is waiting already
	}
}

// report tells the hooks of an error.
func (s *Session) report(err error, recoverable bool, n int) {
	e := model.ErrorEvent{Kind: "realtime", Info: s.who.info, Err: err, Recoverable: recoverable, Attempt: n, Time: time.Now()}
	s.then = append(s.then, func() { model.ReportError(s.ctx, e) })
}

func (s *Session) tell(e Event) { s.events.put(e) }

// run is the goroutine of a session: one connection after the other.
func (s *Session) run() {
	err := s.converse()
	switch {
	case s.user.Err() != nil:
		err = s.user.Err()
	case s.ctx.Err() != nil:
		err = ErrClosed
	case err != nil:
		err = fmt.Errorf("realtime: session: %w", err)
	default:
		err = io.ErrUnexpectedEOF // cannot be: a conversation ends by an error or by Close
	}
	s.mu.Lock()
	s.isOver, s.err = true, err
	s.acknowledgeAll(err)
	for _, o := range s.ops {
		if o.g != nil {
			o.g.end(Failed, err, true)
		}
	}
	for _, o := range s.orphans {
		o.g.end(Failed, err, true)
	}
	s.ops, s.orphans = nil, nil
	s.events.end(err)
	s.unlock()
	s.cancel()
	close(s.done)
}

// guard calls a driver.
func (m *Model) guard(op string, f func() error) error { return attempt.Guard(m.info, op, f) }
