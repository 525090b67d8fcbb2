package realtimetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
)

// kit is one case at work.
type kit struct {
	testing.TB
	h    Harness
	why  string
	p    Provider
	d    *watched
	m    *realtime.Model
	conn model.ConnOptions
	caps realtime.Capabilities

	mu     sync.Mutex
	answer func(Asked) Reply // of the case; nil answers Words
	asked  []Asked
	events []metrics.Event
	errors []model.ErrorEvent
	talks  []*talk // of the case's own goroutine
}

// words are what models answer unless a case wants something else.
const words = "The lights are on now."

// long is an answer that takes a while to say.
const long = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty."

// reply is the Answer of the scene.
func (k *kit) reply(a Asked) Reply {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, a)
	if k.answer == nil {
		return Reply{Text: words}
	}
	return k.answer(a)
}

// last is what the newest answer was made of.
func (k *kit) last() Asked {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.asked) == 0 {
		return Asked{}
	}
	return k.asked[len(k.asked)-1]
}

// check fails the case with its sentence and what was seen.
func (k *kit) check(ok bool, format string, args ...any) {
	k.Helper()
	if !ok {
		k.Logf("the contract: %s", k.why)
		k.Fatalf(format, args...)
	}
}

// Record implements metrics.Recorder.
func (k *kit) Record(_ context.Context, e metrics.Event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.events = append(k.events, e)
}

func (k *kit) context() context.Context {
	return model.WithHooks(metrics.WithRecorder(k.Context(), k), &model.Hooks{OnError: func(_ context.Context, e model.ErrorEvent) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.errors = append(k.errors, e)
	}})
}

// errs are the error events until now.
func (k *kit) errs() []model.ErrorEvent {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]model.ErrorEvent(nil), k.errors...)
}

// eventsOf are the metrics events of type T until now.
func eventsOf[T metrics.Event](k *kit) (all []T) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.events {
		if t, ok := e.(T); ok {
			all = append(all, t)
		}
	}
	return all
}

// watched is the driver, and notes the connections that it makes.
type watched struct {
	driver.Realtime
	maxAge time.Duration // instead of the driver's

	mu       sync.Mutex
	connects int // asked for
	conns    []driver.Conn
}

// Capabilities implements driver.Realtime.
func (w *watched) Capabilities() driver.Capabilities {
	c := w.Realtime.Capabilities()
	c.MaxAge = w.maxAge
	return c
}

// Connect implements driver.Realtime.
func (w *watched) Connect(ctx context.Context, s *driver.Setup) (driver.Conn, error) {
	c, err := w.Realtime.Connect(ctx, s)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.connects++
	if err == nil {
		w.conns = append(w.conns, c)
	}
	return c, err
}

// made is how many connections were asked for, and those that came about.
func (w *watched) made() (asked int, conns []driver.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.connects, append([]driver.Conn(nil), w.conns...)
}

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
	return t.generate(nil)
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

// same reports whether texts differ in white space only.
func same(a, b string) bool {
	return strings.Join(strings.Fields(a), " ") == strings.Join(strings.Fields(b), " ")
}

// has reports whether a turn of the role says text.
func (a *Asked) has(role, text string) bool {
	for _, t := range a.Turns {
		if t.Role == role && same(t.Text, text) {
			return true
		}
	}
	return false
}

// texts are the turns as text, for comparison.
func (a *Asked) texts() (all []string) {
	for _, t := range a.Turns {
		all = append(all, t.Role+": "+strings.Join(strings.Fields(t.Text), " "))
	}
	return all
}

// over closes all sessions.
func (k *kit) over() {
	for _, t := range k.talks {
		t.close()
	}
}

// noLeaks checks that connections are closed and that no error told the key.
func (k *kit) noLeaks() {
	k.Helper()
	var open int
	for range 500 {
		if open = k.p.Served().Open; open == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	k.check(open == 0, "%d connections are still open after the end", open)
	for _, e := range k.errs() {
		if k.h.Secret != "" {
			k.check(!strings.Contains(fmt.Sprintf("%v %+v", e.Err, e.Err), k.h.Secret), "an error contains the key")
		}
	}
}
