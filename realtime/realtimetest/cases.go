package realtimetest

import (
	"strings"
	"sync"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
)

// Cases returns the demands.
func Cases() []Case {
	return append([]Case{
		{"info", `a driver says who it is: a label of the form "plugin.Kind", a lower-case provider, a model, and rates that exist`, fault.Plan{}, infoCase},
		{"capabilities", "a connection can do what its driver's capabilities promise", fault.Plan{}, capabilitiesCase},
		{"spoken turn", "what the user says is heard and answered, and costs what the provider bills", fault.Plan{}, spokenCase},
		{"spoken turns", "a conversation goes on: every turn is answered, and the provider remembers those before", fault.Plan{}, spokenTurnsCase},
		{"client turns", "when the caller finds the turns, nothing is answered before it asks", fault.Plan{}, clientTurnsCase},
		{"client clears", "what the caller clears was never said", fault.Plan{}, clearCase},
		{"asked", "the model answers when it is asked to, after its instructions for that answer", fault.Plan{}, askedCase},
		{"asked twice", "answers that are asked for at once come one after the other", fault.Plan{}, askedTwiceCase},
		{"connections", "every connection tells in one event how it came about, and in one of usage that it did", fault.Plan{}, connectionsCase},
		{"tool call", "a call is complete, its output is known to the provider, and the answer to it comes", fault.Plan{}, toolCase},
		{"words and two calls", "an answer may say something and call twice; when both outputs are there, one answer comes", fault.Plan{}, twoCallsCase},
		{"no tools", "an answer for which tools are forbidden calls none", fault.Plan{}, noToolsCase},
		{"history", "what was said before the session is known to the provider", fault.Plan{}, historyCase},
		{"context", "items that the caller adds, changes and removes are those that the provider answers", fault.Plan{}, contextCase},
		{"instructions", "instructions that change are followed in the next answer", fault.Plan{}, instructionsCase},
		{"tools", "tools that change are those of the next answer", fault.Plan{}, toolsCase},
		{"interrupted", "an answer that the caller interrupts ends at once, is booked as such, and the next one comes", fault.Always(fault.Slow), interruptedCase},
		{"withdrawn", "an answer that was asked for and is no longer wanted does not come, is booked, and the next one comes", fault.Always(fault.Slow), withdrawnCase},
		{"incomplete", "an answer that a limit cuts short is told as such, with what came of it", fault.Plan{}, incompleteCase},
		{"truncated", "the provider keeps of an answer what was heard, to the same position", fault.Always(fault.Slow), truncatedCase},
		{"spoken over", "an answer ends when the user speaks over it, and what he says is answered", fault.Once(fault.Slow), spokenOverCase},
		{"removed", "an answer that nobody heard is forgotten by the provider", fault.Once(fault.Slow), removedCase},
		{"say", "the model says what it is told to", fault.Plan{}, sayCase},
		{"text only", "a model that is to write only sends no audio", fault.Plan{}, textOnlyCase},
		{"image", "a picture reaches the model", fault.Plan{}, imageCase},
		{"two sessions", "two sessions of a model at once do not get into each other's way", fault.Plan{}, twoCase},
		{"close", "Close in the middle of an answer books it, ends everything, and may be called twice", fault.Always(fault.Slow), closeCase},
		{"context ends", "the end of the context ends the session with its error, and is no error event", fault.Always(fault.Slow), contextEndsCase},
		{"driver connection", "after Close a connection fails at Next, and Close works again", fault.Plan{}, driverCase},
		{"reconnect", "another connection knows the conversation and the settings as they are", fault.Plan{}, reconnectCase},
		{"reconnect in a turn", "what the user says while the connection is renewed is heard whole", fault.Plan{}, reconnectInTurnCase},
		{"max age", "before a connection grows too old a new one takes its place, and the conversation goes on", fault.Plan{}, maxAgeCase},
	}, faultCases()...)
}

func infoCase(k *kit) {
	i := k.m.Info()
	plugin, kind, ok := strings.Cut(i.Label, ".")
	k.check(ok && plugin != "" && kind != "" && i.Provider != "" && i.Provider == strings.ToLower(i.Provider) && i.Model != "", "Info is %+v", i)
	c := k.caps
	k.check(c.InputRate >= 8000 && (c.OutputRate >= 8000 || !c.AudioOutput), "rates are %d and %d Hz", c.InputRate, c.OutputRate)
	k.check(c.ServerTurns || c.ClientTurns, "nobody finds the user's turns: %+v", c)
}

func capabilitiesCase(k *kit) {
	t := k.talk(realtime.SessionOptions{ClientTurns: k.caps.ClientTurns})
	t.whole(t.speak(), words)
	_, conns := k.d.made()
	c, d := k.caps, conns[0]
	for _, has := range []struct {
		promised bool
		what     string
		is       bool
	}{
		{c.ClientTurns, "Turner", is[driver.Turner](d)},
		{c.MutableInstructions || c.MutableTools, "Updater", is[driver.Updater](d)},
		{c.Truncation, "Truncater", is[driver.Truncater](d)},
		{c.Say, "Sayer", is[driver.Sayer](d)},
	} {
		k.check(!has.promised || has.is, "%T is no driver.%s", d, has.what)
	}
}

func spokenCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	a := t.whole(t.speak(), words)
	t.heardIt(1)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	if !t.o.ClientTurns {
		find[*realtime.SpeechStarted](t, "start of speech", nil)
		find[*realtime.SpeechStopped](t, "end of speech", nil)
	}
	asked := k.last()
	k.check(strings.Contains(asked.Instructions, t.o.Instructions), "the provider knows instructions %q, not %q", asked.Instructions, t.o.Instructions)
	_, ok := t.s.Context().ByID(a.item)
	k.check(ok, "the answer is not in the conversation: %+v", t.s.Context().Items())
	k.usage()
	k.outcome(metrics.Delivered)
	for _, e := range eventsOf[*metrics.Realtime](k) {
		if e.OutputTokens > 0 {
			k.check(e.TTFT >= 0 && e.TTFT <= e.Duration, "the first output came after %v of %v", e.TTFT, e.Duration)
		}
	}
}

// outcome checks that the only answer is booked with an outcome.
func (k *kit) outcome(want metrics.Outcome) {
	k.Helper()
	n := 0
	for _, e := range eventsOf[*metrics.Realtime](k) {
		if e.Acquired || e.SessionDuration > 0 {
			continue
		}
		n++
		k.check(e.Outcome == want && e.Cancelled == (want == metrics.Interrupted), "the answer is booked as %q, cancelled %v", e.Outcome, e.Cancelled)
	}
	k.check(n == 1, "one answer is booked %d times", n)
}

func spokenTurnsCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	for i := range 3 {
		t.whole(t.speak(), words)
		t.heardIt(i + 1)
		asked := k.last()
		k.check(count(asked, "assistant") == i, "before answer %d the provider knows %q", i+1, asked.texts())
	}
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

func count(a Asked, role string) (n int) {
	for _, t := range a.Turns {
		if t.Role == role {
			n++
		}
	}
	return n
}

func (k *kit) needs(ok bool, what string) {
	k.Helper()
	if !ok {
		k.Skip(what)
	}
}

func clientTurnsCase(k *kit) {
	k.needs(k.caps.ClientTurns, "the model finds turns itself")
	t := k.talk(realtime.SessionOptions{ClientTurns: true})
	_ = t.s.StartTurn()
	t.push(k.h.Speech)
	err := t.s.Commit()
	k.check(err == nil, "Commit: %v", err)
	t.heardIt(1)
	k.check(len(t.answers) == 0, "the model answers before it was asked")
	t.whole(t.generate(nil), words)
	k.check(len(t.answers) == 0, "the model answers although it was not asked")
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

func clearCase(k *kit) {
	k.needs(k.caps.ClientTurns, "the model finds turns itself")
	t := k.talk(realtime.SessionOptions{ClientTurns: true})
	t.whole(t.speak(), words)
	_ = t.s.StartTurn()
	t.push(k.h.Speech)
	err := t.s.Clear()
	k.check(err == nil, "Clear: %v", err)
	t.whole(t.speak(), words)
	t.heardIt(2)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	asked := k.last()
	k.check(count(asked, "user") <= 2, "the provider knows %q", asked.texts())
	k.usage()
}

func askedCase(k *kit) {
	const more = "Speak of ships."
	t := k.talk(realtime.SessionOptions{})
	t.whole(t.generate(&realtime.Request{Instructions: more}), words)
	asked := k.last()
	k.check(strings.Contains(asked.Instructions, more) || strings.Contains(strings.Join(asked.texts(), "\n"), more),
		"the provider knows instructions %q and %q", asked.Instructions, asked.texts())
	t.whole(t.generate(nil), words)
	asked = k.last()
	k.check(!strings.Contains(asked.Instructions, more), "instructions of one answer are those of the next: %q", asked.Instructions)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

func askedTwiceCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	t.whole(t.generate(nil), words) // or it cannot be asked
	ctx, cancel := t.within()
	defer cancel()
	var wg sync.WaitGroup
	got := make([]*realtime.Generation, 2)
	for i := range got {
		wg.Go(func() { got[i], _ = t.s.Generate(ctx, nil) })
	}
	wg.Wait()
	for _, g := range got {
		k.check(g != nil, "an answer was not given; error events: %v", k.errs())
		t.whole(g, words)
	}
	k.usage()
}

func is[T any](v any) bool {
	_, ok := v.(T)
	return ok
}

func sayCase(k *kit) {
	k.needs(k.caps.Say, "the model cannot be told what to say")
	t := k.talk(realtime.SessionOptions{})
	ctx, cancel := t.within()
	defer cancel()
	g, err := t.s.Say(ctx, "Good evening.")
	k.check(err == nil, "Say: %v", err)
	t.whole(g, "Good evening.")
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

func textOnlyCase(k *kit) {
	t := k.talk(realtime.SessionOptions{TextOnly: true})
	a := t.whole(t.speak(), words)
	k.check(a.only && a.audio == 0, "%v of audio came", a.audio)
	k.usage()
}

func twoCase(k *kit) {
	k.answer = func(a Asked) Reply { return Reply{Text: a.Instructions} }
	texts := []string{"Be the first.", "Be the second."}
	var talks []*talk
	for _, text := range texts {
		talks = append(talks, k.talk(realtime.SessionOptions{Instructions: text}))
	}
	for range 2 {
		var got []*realtime.Generation
		for _, t := range talks {
			got = append(got, t.speak())
		}
		for i, t := range talks {
			t.whole(got[i], texts[i])
		}
	}
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}
