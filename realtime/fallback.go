package realtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/parley-go/parley/internal/failover"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

// heardWait is how long a swap waits for Swapping.Continue.
const heardWait = 2 * time.Second

// FallbackOptions tune a Fallback; nil and zero values mean the defaults.
type FallbackOptions struct {
	// Conn says how each model is tried, instead of its own options: default one retry, 0.5 s between
	// retries and a timeout of 10 s.
	Conn model.ConnOptions
	// Cooldown is how long a model that failed is passed over: default 10 s.
	Cooldown time.Duration
	// NoRegenerate leaves a generation that was cut off by a swap as it is: Reconnected.Cut is false then.
	NoRegenerate bool
	// OnAvailability is told when a model is passed over from now on, and when it is used again. It is
	// called from a goroutine of a session and must return quickly.
	OnAvailability func(model.AvailabilityEvent)
}

func (o *FallbackOptions) defaults() FallbackOptions {
	var d FallbackOptions
	if o != nil {
		d = *o
	}
	if d.Conn.MaxRetry == 0 {
		d.Conn.MaxRetry = 1
	}
	if d.Conn.RetryInterval == 0 {
		d.Conn.RetryInterval = 500 * time.Millisecond
	}
	d.Conn = d.Conn.Defaults()
	return d
}

type (
	group  = failover.Group[*Model]
	member = failover.Member[*Model]
)

// Fallback returns a model that converses with the first of models, with the next one when that fails, and so
// on; o may be nil. A model that failed is passed over by all sessions until its cooldown is over, and asked
// before only when all others failed.
//
// A session that goes on with another model tells it by Swapping, connects with all that it knows of the
// conversation, and tells it by Reconnected. It does not go back by itself. Each failure is reported once, as a
// recoverable error as long as there is somebody else. Metrics are those of the models that did the work. Info is
// the model that would be asked now, Session.Info the one that is. A Fallback among models stands for its own
// models.
//
// All models must agree on AudioOutput, ServerTurns and ClientTurns, else Session fails. Capabilities are what
// all can do; those of a Session are what its present model can do.
func Fallback(o *FallbackOptions, models ...*Model) *Model {
	d := o.defaults()
	var all []*Model
	for _, m := range models {
		switch {
		case m == nil:
		case m.group != nil:
			all = append(all, m.group.Models()...)
		default:
			all = append(all, m)
		}
	}
	m := New(nobody{}, nil)
	m.conn, m.again = d.Conn, !d.NoRegenerate
	if len(all) == 0 {
		m.err = errNobody
		return m
	}
	m.caps = all[0].caps
	for _, x := range all[1:] {
		if !sameKind(m.caps, x.caps) && m.err == nil {
			m.err = fmt.Errorf("%s and %s do not agree on audio output and turns", all[0].info.Label, x.info.Label)
		}
		m.caps = common(m.caps, x.caps)
	}
	m.group = failover.New("realtime", d.Cooldown, d.OnAvailability, all)
	return m
}

func sameKind(a, b Capabilities) bool {
	return a.AudioOutput == b.AudioOutput && a.ServerTurns == b.ServerTurns && a.ClientTurns == b.ClientTurns
}

// common is what both can do.
func common(a, b Capabilities) Capabilities {
	a.UserTranscription = a.UserTranscription && b.UserTranscription
	a.AutoToolReply = a.AutoToolReply && b.AutoToolReply
	a.MutableContext = a.MutableContext && b.MutableContext
	a.ToolsPerResponse = a.ToolsPerResponse && b.ToolsPerResponse
	a.MutableInstructions = a.MutableInstructions && b.MutableInstructions
	a.MutableTools = a.MutableTools && b.MutableTools
	a.Truncation = a.Truncation && b.Truncation
	a.Say = a.Say && b.Say
	return a
}

var errNobody = errors.New("a fallback without models")

// nobody is the driver of a Fallback, which nothing gets to.
type nobody struct{}

func (nobody) Info() model.Info           { return model.Info{Label: "realtime.Fallback"} }
func (nobody) Capabilities() Capabilities { return Capabilities{} }

func (nobody) Connect(context.Context, *driver.Setup) (driver.Conn, error) {
	return nil, &model.Error{Kind: model.KindRequest, Op: "connect", Err: errNobody}
}

// failure is a model that failed, and why.
type failure struct {
	who *member
	err error
}

// turnTo has who converse from now on.
func (s *Session) turnTo(who *member) {
	s.member, s.who = who, who.Model
	s.resume = nil // it belongs to the model before
}

// mayPassOn reports whether another model would take over should the present one fail. It is for the
// goroutine that runs the session.
func (s *Session) mayPassOn() bool {
	return s.m.group != nil && len(s.tried)+1 < len(s.m.group.Models())
}

// converseWithAny converses with one model after the other.
func (s *Session) converseWithAny() error {
	began := time.Now()
	for {
		if len(s.tried) == 0 {
			began = time.Now()
		}
		err := s.connectAll()
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		var planned *renewal
		if !errors.As(err, &planned) {
			s.member.Failed(s.user)
		}
		s.tried = append(s.tried, failure{s.member, err})
		next := s.untried()
		if next == nil {
			return failover.Failure(s.who.info, "session", began, errorsOf(s.tried))
		}
		s.swapTo(next)
	}
}

// untried is the model to ask next, nil for none.
func (s *Session) untried() *member {
	for _, who := range s.m.group.Ready() {
		if !slices.ContainsFunc(s.tried, func(f failure) bool { return f.who == who }) {
			return who
		}
	}
	return nil
}

// swapTo has who take over, with the conversation as the user heard it.
func (s *Session) swapTo(who *member) {
	s.mu.Lock()
	e := &Swapping{From: s.who.info, To: who.Model.info, Cut: s.cut && s.m.again, continues: make(chan *chat.Context, 1)}
	s.tell(e)
	s.unlock()
	t := time.NewTimer(heardWait)
	defer t.Stop()
	var heard *chat.Context
	select {
	case heard = <-e.continues:
	case <-t.C:
	case <-s.ctx.Done():
	}
	s.mu.Lock()
	defer s.unlock()
	if heard != nil {
		s.setConversation(itemsOf(heard))
	}
	s.swapped = s.reconnecting
	s.turnTo(who)
}

// works says that the present model does well. It is for the goroutine that runs the session.
func (s *Session) works() {
	if s.member != nil {
		s.member.Works(s.user)
	}
}

func errorsOf(tried []failure) (errs []error) {
	for _, f := range tried {
		errs = append(errs, f.err)
	}
	return errs
}
