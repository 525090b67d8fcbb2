package sandbox

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// Voices are how a Talker tells of its answers in a provider's protocol. All are called with its lock, and only
// while the answer was not cut, but for Ended.
type Voices struct {
	Began func()
	// Word tells the next word, with the space before it, and its sound.
	Word   func(w string, pcm []byte) error
	Called func(c llm.ToolCall) error
	// Ended tells that all was told, or that the answer was cut after what was said.
	Ended func(said string, whole bool)
}

// Talker is what the stand-ins share of those providers that answer the user's turns by themselves, one answer at a
// time, and bill the time of a connection. Its lock is the caller's as well, for all that belongs to the
// conversation.
type Talker struct {
	Mutex
	Turns []Turn  // with the lock
	Pace  float64 // audio comes no faster than so many times real time; 0 at once

	talk  Talk
	rate  int
	c     *Call
	ws    *Socket
	v     Voices
	began time.Time
	wg    sync.WaitGroup // of answers

	active *spoken // with the lock
	next   func()  // begins when the active answer is over; with the lock
}

// spoken is an answer under way.
type spoken struct {
	stopped chan struct{} // closed when it is cut
	cut     bool          // with the lock
}

// NewTalker returns the Talker of a connection, whose speech has a rate in Hz. End it.
func NewTalker(talk Talk, rate int, c *Call, ws *Socket, v Voices) *Talker {
	return &Talker{talk: talk.Defaults(), rate: rate, c: c, ws: ws, v: v, began: time.Now()}
}

// Ear hears for the conversation.
func (t *Talker) Ear(rate int) Ear {
	return Ear{Rate: rate, Text: t.talk.Ear, Understand: t.c.Understand}
}

// Begin says that the time counts from now on, instead of from the connection.
func (t *Talker) Begin() { t.began = time.Now() }

// End ends the conversation and bills its time.
func (t *Talker) End(m metrics.Metadata) {
	t.Lock()
	t.next = nil
	t.cut()
	t.Unlock()
	t.wg.Wait()
	e := &metrics.Realtime{SessionDuration: time.Since(t.began)}
	e.Metadata = m
	t.c.Ledger.Bill(e)
}

// Cut ends the answer under way, and forgets the one after it. It reports whether there was one. With the lock.
func (t *Talker) Cut() bool {
	t.next = nil
	return t.cut()
}

func (t *Talker) cut() bool {
	a := t.active
	if a == nil || a.cut {
		return false
	}
	a.cut = true
	close(a.stopped)
	return true
}

// Answer answers what was said, now or after the answer under way; say is said instead if it is not "". With the
// lock.
func (t *Talker) Answer(instructions string, tools []llm.ToolSpec, say string) {
	begin := func() {
		t.begin(TalkRequest{Instructions: instructions, Tools: tools, Turns: slices.Clone(t.Turns)}, say)
	}
	if t.active != nil {
		t.next = begin
		return
	}
	begin()
}

func (t *Talker) begin(r TalkRequest, say string) {
	a := &spoken{stopped: make(chan struct{})}
	t.active = a
	f, end := t.ws.Stream()
	reply := Reply{Text: say}
	if say == "" && f != fault.Empty {
		reply = t.talk.Answer(r)
	}
	if f != fault.Silence {
		t.v.Began()
	}
	t.wg.Go(func() {
		defer end()
		if f == fault.Silence {
			t.ws.Hang()
			return
		}
		said, err := t.speak(a, f, reply)
		if err != nil {
			t.ws.Hang()
			return
		}
		t.over(a, said)
	})
}

// speak says a reply until it is cut.
func (t *Talker) speak(a *spoken, f fault.Kind, r Reply) (said string, err error) {
	if said, err = t.say(a, f, r.Text); err != nil || t.isCut(a) {
		return said, err
	}
	for _, c := range r.Calls {
		if c.CallID == "" {
			c.CallID = metrics.NewID("call_")
		}
		if err := t.unless(a, func() error { return t.v.Called(c) }); err != nil {
			return said, err
		}
	}
	return said, nil
}

// say says a text, which is part of the conversation then.
func (t *Talker) say(a *spoken, f fault.Kind, text string) (said string, err error) {
	defer func() {
		t.Lock()
		defer t.Unlock()
		if said != "" {
			t.Turns = append(t.Turns, Turn{Role: "assistant", Text: said})
		}
	}()
	pieces, pace := t.talk.Speak(text, t.rate), t.Pace
	if f == fault.Slow {
		pace = 1
	}
	for i, w := range strings.Fields(text) {
		if i > 0 {
			w = " " + w
		}
		if pace > 0 && !t.ws.Pause(time.Duration(float64(audio.Samples(len(pieces[i])/2).At(t.rate))/pace), a.stopped) {
			return said, nil
		}
		err := t.unless(a, func() error { return t.v.Word(w, pieces[i]) })
		if err != nil || t.isCut(a) {
			return said, err
		}
		said += w
	}
	return said, nil
}

func (t *Talker) isCut(a *spoken) bool {
	t.Lock()
	defer t.Unlock()
	return a.cut
}

// unless does f unless the answer is cut.
func (t *Talker) unless(a *spoken, f func() error) error {
	t.Lock()
	defer t.Unlock()
	if a.cut {
		return nil
	}
	return f()
}

// over ends an answer and begins the next.
func (t *Talker) over(a *spoken, said string) {
	t.Lock()
	defer t.Unlock()
	t.v.Ended(said, !a.cut)
	t.active = nil
	if next := t.next; next != nil {
		t.next = nil
		next()
	}
}
