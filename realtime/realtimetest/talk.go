package realtimetest

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/realtime"
)

// talk is a session of the kit, and what it told.
type talk struct {
	k       *kit
	s       *realtime.Session
	o       realtime.SessionOptions
	answers chan *realtime.Generation // that nobody asked for; size 64, more is a mistake of the model
	ended   chan struct{}

	mu     sync.Mutex
	events []realtime.Event
	err    error         // of Next
	heard  chan struct{} // closed and replaced with each event
}

// talk begins a session, which the case may close.
func (k *kit) talk(o realtime.SessionOptions) *talk {
	k.Helper()
	return k.talkUnder(k.context(), o)
}

func (k *kit) talkUnder(ctx context.Context, o realtime.SessionOptions) *talk {
	k.Helper()
	if !k.caps.ServerTurns {
		o.ClientTurns = true
	}
	if o.Instructions == "" {
		o.Instructions = "You are a test."
	}
	s, err := k.m.Session(ctx, &o)
	k.check(err == nil, "session: %v", err)
	t := &talk{k: k, s: s, o: o, answers: make(chan *realtime.Generation, 64), ended: make(chan struct{}), heard: make(chan struct{})}
	go t.listen()
	k.talks = append(k.talks, t)
	return t
}

func (t *talk) close() {
	_ = t.s.Close()
	<-t.ended
}

func (t *talk) listen() {
	defer close(t.ended)
	for {
		e, err := t.s.Next()
		if g, ok := e.(*realtime.GenerationCreated); ok {
			select {
			case t.answers <- g.Generation:
			default: // nobody waits for so many
			}
		}
		t.mu.Lock()
		if err == nil {
			t.events = append(t.events, e)
		} else {
			t.err = err
		}
		close(t.heard)
		t.heard = make(chan struct{})
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// within is a context for one wait.
func (t *talk) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.k.context(), t.k.h.Patience)
}

// find waits for an event of type T that is as wanted.
func find[T realtime.Event](t *talk, what string, wanted func(T) bool) (found T) {
	t.k.Helper()
	t.until(what, func() bool {
		for _, e := range t.events {
			if x, ok := e.(T); ok && (wanted == nil || wanted(x)) {
				found = x
				return true
			}
		}
		return false
	})
	return found
}

// until waits until ok, which is asked with the lock after every event.
func (t *talk) until(what string, ok func() bool) {
	t.k.Helper()
	late := time.NewTimer(t.k.h.Patience)
	defer late.Stop()
	for {
		t.mu.Lock()
		done, err, more := ok(), t.err, t.heard
		t.mu.Unlock()
		if done {
			return
		}
		t.k.check(err == nil, "the session ended before %s: %v", what, err)
		select {
		case <-more:
		case <-late.C:
			t.k.check(false, "no %s within %v; error events: %v", what, t.k.h.Patience, t.k.errs())
		}
	}
}

// failure waits for the end of the session and returns its error.
func (t *talk) failure() error {
	t.k.Helper()
	select {
	case <-t.ended:
	case <-time.After(t.k.h.Patience):
		t.k.check(false, "the session goes on after %v; error events: %v", t.k.h.Patience, t.k.errs())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// push pushes sound in frames of 20 ms, as fast as the session takes it.
func (t *talk) push(f audio.Frame) {
	t.k.Helper()
	step := audio.SamplesIn(20*time.Millisecond, f.Rate) * f.Channels
	for at := 0; at < len(f.Data); at += step {
		if t.s.Push(audio.Frame{Data: f.Data[at:min(at+step, len(f.Data))], Rate: f.Rate, Channels: f.Channels}) != nil {
			return // Next tells why
		}
	}
}

// speak has the user say something, and returns the answer to it.
func (t *talk) speak() *realtime.Generation {
	t.k.Helper()
	if !t.o.ClientTurns {
		t.push(t.k.h.Speech)
		return t.next()
	}
	_ = t.s.StartTurn()
	t.push(t.k.h.Speech)
	err := t.s.Commit()
	t.k.check(err == nil, "Commit: %v", err)
	t.connected() // Generate has no patience with a slow dial
	return t.generate(nil)
}

// connected waits until there is a connection.
func (t *talk) connected() {
	t.k.Helper()
	for end := time.Now().Add(t.k.h.Patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, conns := t.k.d.made(); len(conns) > 0 {
			return
		}
	}
	t.k.check(false, "no connection within %v; error events: %v", t.k.h.Patience, t.k.errs())
}

// next waits for an answer that nobody asked for.
func (t *talk) next() *realtime.Generation {
	t.k.Helper()
	select {
	case g := <-t.answers:
		return g
	case <-t.ended:
		t.k.check(false, "the session ended before it answered: %v", t.failure())
	case <-time.After(t.k.h.Patience):
		t.k.check(false, "no answer within %v; error events: %v", t.k.h.Patience, t.k.errs())
	}
	return nil
}

// generate asks for an answer.
func (t *talk) generate(r *realtime.Request) *realtime.Generation {
	t.k.Helper()
	ctx, cancel := t.within()
	defer cancel()
	g, err := t.s.Generate(ctx, r)
	if errors.Is(err, realtime.ErrUnsupported) {
		t.k.Skip("the model answers what it hears, and cannot be asked for more")
	}
	t.k.check(err == nil, "Generate: %v; error events: %v", err, t.k.errs())
	return g
}

// answer is what came of a generation.
type answer struct {
	text   string
	audio  time.Duration
	item   string // of the first message
	only   bool   // text
	calls  []*realtime.Call
	status realtime.Status
	err    error // the first, of anything
}

// read reads a generation to its end.
func (t *talk) read(g *realtime.Generation) (a answer) {
	t.k.Helper()
	ctx, cancel := t.within()
	defer cancel()
	note := func(err error) {
		if a.err == nil && !errors.Is(err, io.EOF) {
			a.err = err
		}
	}
	for {
		m, err := g.NextMessage(ctx)
		if err != nil {
			note(err)
			break
		}
		if a.item == "" {
			a.item = m.ID()
		}
		a.only = m.TextOnly()
		for {
			f, err := m.NextAudio(ctx)
			if err != nil {
				note(err)
				break
			}
			t.k.check(f.Rate == t.k.caps.OutputRate && f.Channels == 1, "audio of %d Hz and %d channels, the model says %d Hz", f.Rate, f.Channels, t.k.caps.OutputRate)
			a.audio += f.Duration()
		}
		for {
			text, err := m.NextText(ctx)
			if err != nil {
				note(err)
				break
			}
			a.text += text
		}
	}
	for {
		c, err := g.NextCall(ctx)
		if err != nil {
			note(err)
			break
		}
		a.calls = append(a.calls, c)
	}
	t.k.check(ctx.Err() == nil, "an answer did not end within %v: %+v", t.k.h.Patience, a)
	<-g.Done()
	status, err := g.Result()
	a.status = status
	if err != nil && a.err == nil {
		a.err = err
	}
	return a
}

// whole reads an answer that must be good and say text.
func (t *talk) whole(g *realtime.Generation, text string) answer {
	t.k.Helper()
	a := t.read(g)
	t.k.check(a.err == nil && a.status == realtime.Completed, "the answer ended %q: %v", a.status, a.err)
	t.k.check(same(a.text, text), "the answer was %q, not %q", a.text, text)
	if t.k.caps.AudioOutput && !t.o.TextOnly {
		t.k.check(a.audio > 0, "the answer has no audio")
	}
	return a
}

// begun waits for the first sound of an answer, or its first text, and returns its message.
func (t *talk) begun(g *realtime.Generation) *realtime.Message {
	t.k.Helper()
	ctx, cancel := t.within()
	defer cancel()
	m, err := g.NextMessage(ctx)
	t.k.check(err == nil, "there was no message: %v", err)
	if m.TextOnly() {
		_, err = m.NextText(ctx)
	} else {
		_, err = m.NextAudio(ctx)
	}
	t.k.check(err == nil, "there was nothing in the message: %v", err)
	return m
}

// heardIt waits until the user's turn number n is known as text, if the model tells.
func (t *talk) heardIt(n int) {
	t.k.Helper()
	if !t.k.caps.UserTranscription {
		return
	}
	items := map[string]bool{}
	find(t, "transcript", func(e *realtime.Transcript) bool {
		if e.Final && same(e.Text, t.k.h.Text) {
			items[e.ItemID] = true
		}
		return len(items) == n
	})
}

// update has the provider know a conversation.
func (t *talk) update(c *chat.Context) {
	t.k.Helper()
	ctx, cancel := t.within()
	defer cancel()
	err := t.s.UpdateContext(ctx, c)
	t.k.check(err == nil, "UpdateContext: %v", err)
}
