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

func withdrawnCase(k *kit) {
	begun := make(chan struct{}, 16)                             // there are less answers
	texts := []string{words, "One two three four five.", "Yes."} // short: a provider may insist on saying it
	k.answer = func(Asked) Reply {
		begun <- struct{}{}
		text := texts[0]
		texts = texts[1:]
		return Reply{Text: text}
	}
	t := k.talk(realtime.SessionOptions{})
	t.whole(t.generate(nil), words)
	_, conns := k.d.made()
	k.needs(is[driver.Canceller](conns[0]), "the provider cannot be told to stop")
	<-begun
	ctx, cancel := t.within()
	defer cancel()
	go func() {
		select {
		case <-begun:
		case <-ctx.Done():
		}
		cancel()
	}()
	if g, err := t.s.Generate(ctx, nil); err == nil {
		g.Interrupt() // the beginning was faster
	} else {
		k.check(errors.Is(err, context.Canceled), "Generate: %v", err)
	}
	t.whole(t.generate(nil), "Yes.")
	k.check(len(t.answers) == 0, "what was withdrawn came nevertheless")
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
	n := 0
	for _, e := range eventsOf[*metrics.Realtime](k) {
		if e.Outcome == metrics.Discarded || e.Outcome == metrics.Interrupted {
			n++
		}
	}
	k.check(n == 1, "%d answers are booked as not wanted", n)
}

func incompleteCase(k *kit) {
	k.answer = func(Asked) Reply { return Reply{Text: words, Status: "incomplete", Reason: "max_output_tokens"} }
	t := k.talk(realtime.SessionOptions{})
	a := t.read(t.speak())
	switch a.status {
	case realtime.Incomplete, realtime.Failed:
		told := func() bool { return len(k.errs()) == 1 && k.errs()[0].Recoverable }
		k.check(a.status == realtime.Incomplete || a.text == "", "the answer failed after %q", a.text)
		k.check(a.err != nil && k.soon(told), "the answer ended %q: %v; error events: %v", a.status, a.err, k.errs())
	default: // the provider does not tell
		k.check(a.status == realtime.Completed && a.err == nil && same(a.text, words), "the answer ended %q: %v, and was %q", a.status, a.err, a.text)
	}
	k.usage()
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
