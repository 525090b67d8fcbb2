package realtimetest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
)

// How answers and sessions end.

func (k *kit) says(text string) { k.answer = func(Asked) Reply { return Reply{Text: text} } }

// then answers with the texts in turn, and with the last one again and again.
func (k *kit) then(texts ...string) {
	k.answer = func(Asked) Reply {
		text := texts[0]
		if len(texts) > 1 {
			texts = texts[1:]
		}
		return Reply{Text: text}
	}
}

func interruptedCase(k *kit) {
	k.then(long, "Yes.")
	t := k.talk(realtime.SessionOptions{})
	g := t.speak()
	t.begun(g)
	t.s.Interrupt()
	a := t.read(g)
	k.check(a.status == realtime.Cancelled && errors.Is(a.err, realtime.ErrInterrupted), "the answer ended %q: %v", a.status, a.err)
	if _, conns := k.d.made(); is[driver.Canceller](conns[0]) {
		k.check(k.soon(func() bool { return len(k.interrupted()) == 1 }), "the provider goes on %v after it was interrupted", timeout)
	}
	t.whole(t.speak(), "Yes.")
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
	n := len(k.interrupted())
	k.check(n == 1, "%d answers are booked as interrupted", n)
}

// interrupted are the answers that are booked as such.
func (k *kit) interrupted() (all []*metrics.Realtime) {
	for _, e := range eventsOf[*metrics.Realtime](k) {
		if e.Cancelled && e.Outcome == metrics.Interrupted {
			all = append(all, e)
		}
	}
	return all
}

// soon waits for ok, for no longer than the front waits for a provider.
func (k *kit) soon(ok func() bool) bool {
	for end := time.Now().Add(timeout); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

func truncatedCase(k *kit) {
	k.needs(k.caps.Truncation, "the provider cannot cut answers")
	k.needs(k.caps.AudioOutput, "the model does not speak")
	const heard = 120 * time.Millisecond
	k.then(long, "Yes.")
	t := k.talk(realtime.SessionOptions{})
	g := t.speak()
	m := t.begun(g)
	t.s.Interrupt()
	err := t.s.Truncate(m.ID(), heard, "One")
	k.check(err == nil, "Truncate: %v", err)
	t.whole(t.speak(), "Yes.")
	asked := k.last()
	i := slices.IndexFunc(asked.Turns, func(x Turn) bool { return x.Role == "assistant" })
	k.check(i >= 0 && asked.Turns[i].Audio == heard, "%v were heard, the provider knows %+v", heard, asked.Turns)
	it, _ := t.s.Context().ByID(m.ID())
	x, ok := it.(*chat.Message)
	k.check(ok && x.Text() == "One" && x.Interrupted, "the session knows %+v", it)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

func spokenOverCase(k *kit) {
	k.needs(k.caps.ServerTurns, "the caller finds the turns")
	k.then(long, "Yes.")
	t := k.talk(realtime.SessionOptions{})
	g := t.speak()
	t.begun(g)
	next := t.speak()
	a := t.read(g)
	k.check(a.status == realtime.Cancelled && !same(a.text, long), "the answer that was spoken over ended %q: %v, after %q", a.status, a.err, a.text)
	t.whole(next, "Yes.")
	t.heardIt(2)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

func removedCase(k *kit) {
	k.needs(k.caps.MutableContext, "the conversation cannot be changed")
	k.then(long, "Yes.")
	t := k.talk(realtime.SessionOptions{})
	g := t.speak()
	m := t.begun(g)
	t.s.Interrupt()
	c := t.s.Context()
	_ = c.Remove(m.ID())
	t.update(c)
	t.whole(t.speak(), "Yes.")
	asked := k.last()
	k.check(count(asked, "assistant") == 0, "the provider knows %q", asked.texts())
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

func closeCase(k *kit) {
	k.says(long)
	t := k.talk(realtime.SessionOptions{})
	t.begun(t.speak())
	for range 2 {
		err := t.s.Close()
		k.check(err == nil, "Close: %v", err)
	}
	n := len(eventsOf[metrics.Event](k))
	err := t.failure()
	k.check(errors.Is(err, realtime.ErrClosed), "Next after Close: %v", err)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
	k.check(n == len(eventsOf[metrics.Event](k)), "something was booked after Close")
	k.outcome(metrics.Interrupted)
}

func contextEndsCase(k *kit) {
	k.says(long)
	ctx, cancel := context.WithCancel(k.context())
	defer cancel()
	t := k.talkUnder(ctx, realtime.SessionOptions{})
	t.begun(t.speak())
	cancel()
	err := t.failure()
	k.check(errors.Is(err, context.Canceled), "Next: %v", err)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

func driverCase(k *kit) {
	ctx, cancel := context.WithTimeout(k.context(), k.h.Patience)
	defer cancel()
	d, err := k.p.Driver.Connect(ctx, &driver.Setup{Instructions: "You are a test.", History: &chat.Context{}, ClientTurns: !k.caps.ServerTurns})
	k.check(err == nil, "Connect: %v", err)
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := d.Next(ctx); err != nil {
				ended <- err
				return
			}
		}
	}()
	for range 2 {
		err = d.Close()
		k.check(err == nil, "Close: %v", err)
	}
	<-ended
	k.check(ctx.Err() == nil, "Next still waited after %v", k.h.Patience)
}
