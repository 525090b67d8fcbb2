package realtimetest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
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
		{"no tools", "an answer for which tools are forbidden calls none", fault.Plan{}, noToolsCase},
		{"history", "what was said before the session is known to the provider", fault.Plan{}, historyCase},
		{"context", "items that the caller adds, changes and removes are those that the provider answers", fault.Plan{}, contextCase},
		{"instructions", "instructions that change are followed in the next answer", fault.Plan{}, instructionsCase},
		{"tools", "tools that change are those of the next answer", fault.Plan{}, toolsCase},
		{"interrupted", "an answer that the caller interrupts ends at once, is booked as such, and the next one comes", fault.Always(fault.Slow), interruptedCase},
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

// tool is the tool of the kit.
var tool = llm.ToolSpec{
	Name: "lookup_weather", Description: "Look up the weather for a place.",
	Parameters: json.RawMessage(`{"type":"object","properties":{"location":{"type":"string"}},"required":["location"]}`),
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
		ok       func() bool
	}{
		{c.ClientTurns, "Turner", func() bool { _, ok := d.(driver.Turner); return ok }},
		{c.MutableInstructions || c.MutableTools, "Updater", func() bool { _, ok := d.(driver.Updater); return ok }},
		{c.Truncation, "Truncater", func() bool { _, ok := d.(driver.Truncater); return ok }},
		{c.Say, "Sayer", func() bool { _, ok := d.(driver.Sayer); return ok }},
	} {
		k.check(!has.promised || has.ok(), "%T is no driver.%s", d, has.what)
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
	_ = t.s.StartTurn()
	t.push(k.h.Speech)
	err := t.s.Clear()
	k.check(err == nil, "Clear: %v", err)
	t.whole(t.speak(), words)
	t.heardIt(1)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	asked := k.last()
	k.check(count(asked, "user") <= 1, "the provider knows %q", asked.texts())
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

func connectionsCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	t.whole(t.speak(), words)
	t.s.Reconnect(false)
	find[*realtime.Reconnected](t, "another connection", nil)
	t.whole(t.speak(), words)
	k.usage()
	asked, conns := k.d.made()
	k.check(asked == 2 && len(conns) == 2, "%d connections were asked for, %d made", asked, len(conns))
	k.connections()
}

// connections checks that every connection was told of, also those that failed.
func (k *kit) connections() {
	k.Helper()
	dials := k.p.Served().Dials
	if dials == 0 {
		return
	}
	asked, conns := k.d.made()
	i, told := k.m.Info(), eventsOf[*metrics.Connection](k)
	fresh, failed := 0, 0
	for _, c := range told {
		k.check(c.Kind == "realtime" && c.Metadata == (metrics.Metadata{ModelName: i.Model, ModelProvider: i.Provider}) && c.AcquireTime >= 0, "event: %+v", c)
		switch {
		case c.Outcome == metrics.Failed:
			failed++
		case !c.Reused:
			fresh++
		}
	}
	k.check(failed == asked-len(conns), "%d events tell of failures; of %d connections that were asked for %d came about", failed, asked, len(conns))
	k.check(len(told)-failed >= len(conns), "%d events tell of %d connections", len(told)-failed, len(conns))
	k.check(fresh <= dials && dials <= fresh+failed, "%d events of dials, and %d of failures; the provider saw %d", fresh, failed, dials)
	acquired := 0
	for _, e := range eventsOf[*metrics.Realtime](k) {
		if e.Acquired {
			acquired++
		}
	}
	k.check(acquired == len(conns), "%d events of usage tell of a connection, there were %d", acquired, len(conns))
}

// calls has the model call the tool when it may, and answer its output.
func (k *kit) calls() {
	k.answer = func(a Asked) Reply {
		if len(a.Tools) == 0 || a.Last().Role == "output" {
			return Reply{Text: words}
		}
		return Reply{Calls: []llm.ToolCall{{Name: a.Tools[0].Name, Arguments: `{"location":"Paris"}`}}}
	}
}

func toolCase(k *kit) {
	const output = `{"sky":"clear"}`
	k.calls()
	t := k.talk(realtime.SessionOptions{Tools: []llm.ToolSpec{tool}})
	a := t.read(t.speak())
	k.check(a.err == nil && len(a.calls) == 1, "the answer was %+v", a)
	c := a.calls[0]
	var args map[string]any
	k.check(c.Name == tool.Name && c.CallID != "" && json.Unmarshal([]byte(c.Arguments), &args) == nil && args["location"] == "Paris", "the call was %+v", c)
	know := t.s.Context()
	k.check(know.Index(c.ItemID) >= 0, "the call is not in the conversation: %+v", know.Items())
	know.Add(&chat.FunctionCallOutput{CallID: c.CallID, Name: c.Name, Output: output})
	t.update(know)
	var g *realtime.Generation
	if k.caps.AutoToolReply {
		g = t.next()
	} else {
		g = t.generate(nil)
	}
	t.whole(g, words)
	asked := k.last()
	k.check(asked.Last().Role == "output" && strings.Contains(asked.Last().Text, "clear"), "the provider knows %q", asked.texts())
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

func noToolsCase(k *kit) {
	k.needs(k.caps.ToolsPerResponse, "tools are the same for all answers")
	k.calls()
	t := k.talk(realtime.SessionOptions{Tools: []llm.ToolSpec{tool}})
	t.whole(t.generate(&realtime.Request{ToolChoice: &llm.ToolChoice{Mode: llm.ToolNone}}), words)
	a := t.read(t.generate(nil))
	k.check(a.err == nil && len(a.calls) == 1, "the answer after it was %+v", a)
	k.usage()
}

func historyCase(k *kit) {
	c := &chat.Context{}
	c.Add(chat.NewMessage(chat.User, "My name is Ada."), chat.NewMessage(chat.Assistant, "Hello Ada."))
	t := k.talk(realtime.SessionOptions{Context: c})
	t.whole(t.speak(), words)
	asked := k.last()
	k.check(asked.has("user", "My name is Ada.") && asked.has("assistant", "Hello Ada."), "the provider knows %q", asked.texts())
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

func contextCase(k *kit) {
	k.needs(k.caps.MutableContext, "the conversation cannot be changed but by a new connection")
	c := &chat.Context{}
	first, second := chat.NewMessage(chat.User, "My name is Ada."), chat.NewMessage(chat.Assistant, "Hello Ada.")
	third := chat.NewMessage(chat.User, "I live in Rome.")
	c.Add(first, third)
	t := k.talk(realtime.SessionOptions{})
	know := func(want ...string) {
		k.Helper()
		t.whole(t.generate(nil), words)
		asked := k.last()
		var got []string
		for _, line := range asked.texts() {
			if line != "assistant: "+words {
				got = append(got, line)
			}
		}
		k.check(slices.Equal(got, want), "the provider knows %q, not %q", got, want)
	}
	t.update(c)
	know("user: My name is Ada.", "user: I live in Rome.")
	c = t.s.Context()
	second.CreatedAt = first.CreatedAt.Add(time.Nanosecond)
	c.Add(second)
	t.update(c)
	know("user: My name is Ada.", "assistant: Hello Ada.", "user: I live in Rome.")
	c = t.s.Context()
	changed := *third
	changed.Content = []chat.Part{chat.Text("I live in Oslo.")}
	c.Upsert(&changed)
	t.update(c)
	know("user: My name is Ada.", "assistant: Hello Ada.", "user: I live in Oslo.")
	c = t.s.Context()
	_ = c.Remove(first.ID)
	t.update(c)
	know("assistant: Hello Ada.", "user: I live in Oslo.")
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

func instructionsCase(k *kit) {
	const more = "You are a pirate."
	t := k.talk(realtime.SessionOptions{})
	t.whole(t.speak(), words)
	ctx, cancel := t.within()
	defer cancel()
	err := t.s.UpdateInstructions(ctx, more)
	k.check(err == nil, "UpdateInstructions: %v", err)
	t.settings(k.caps.MutableInstructions)
	t.whole(t.speak(), words)
	asked := k.last()
	k.check(strings.Contains(asked.Instructions, more) && !strings.Contains(asked.Instructions, t.o.Instructions), "the provider knows instructions %q", asked.Instructions)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

// settings waits for the connection that takes a change which the last one could not.
func (t *talk) settings(mutable bool) {
	if !mutable {
		find[*realtime.Reconnected](t, "connection with the change", nil)
	}
}

func toolsCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	t.whole(t.speak(), words)
	asked := k.last()
	k.check(len(asked.Tools) == 0, "the provider knows tools %+v", asked.Tools)
	ctx, cancel := t.within()
	defer cancel()
	err := t.s.UpdateTools(ctx, []llm.ToolSpec{tool})
	k.check(err == nil, "UpdateTools: %v", err)
	t.settings(k.caps.MutableTools)
	t.whole(t.speak(), words)
	asked = k.last()
	k.check(len(asked.Tools) == 1 && asked.Tools[0].Name == tool.Name && asked.Tools[0].Description == tool.Description, "the provider knows tools %+v", asked.Tools)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

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
	t.whole(t.speak(), "Yes.")
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
	n := 0
	for _, e := range eventsOf[*metrics.Realtime](k) {
		if e.Cancelled && e.Outcome == metrics.Interrupted {
			n++
		}
	}
	k.check(n == 1, "%d answers are booked as interrupted", n)
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

// red is a picture of one pixel.
var red = &chat.Image{MIMEType: "image/png", URL: "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"}

func imageCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	t.whole(t.speak(), words)
	_, conns := k.d.made()
	if _, ok := conns[0].(driver.Watcher); !ok {
		k.Skip("the model cannot see")
	}
	err := t.s.PushImage(red)
	if errors.Is(err, realtime.ErrUnsupported) {
		k.Skip("the model cannot see")
	}
	k.check(err == nil, "PushImage: %v", err)
	t.whole(t.speak(), words)
	n := 0
	for _, x := range k.last().Turns {
		n += x.Images
	}
	k.check(n == 1, "the provider knows %d pictures", n)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
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

func reconnectCase(k *kit) {
	const more = "You are a pirate."
	t := k.talk(realtime.SessionOptions{Tools: []llm.ToolSpec{tool}})
	t.whole(t.speak(), words)
	t.heardIt(1)
	ctx, cancel := t.within()
	defer cancel()
	err := t.s.UpdateInstructions(ctx, more)
	k.check(err == nil, "UpdateInstructions: %v", err)
	t.s.Reconnect(false)
	find[*realtime.Reconnected](t, "another connection", nil)
	t.whole(t.speak(), words)
	k.carriedOver(more)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

// carriedOver checks that the provider knows the first turn, and what goes with it.
func (k *kit) carriedOver(instructions string) {
	k.Helper()
	asked := k.last()
	k.check(asked.has("assistant", words), "the provider knows %q", asked.texts())
	k.check(!k.caps.UserTranscription || asked.has("user", k.h.Text), "the provider knows %q", asked.texts())
	k.check(strings.Contains(asked.Instructions, instructions), "the provider knows instructions %q", asked.Instructions)
	k.check(len(asked.Tools) == 1, "the provider knows tools %+v", asked.Tools)
}

func reconnectInTurnCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	half := audio.SamplesIn(400*time.Millisecond, k.h.Speech.Rate) * k.h.Speech.Channels
	first, rest := k.h.Speech, k.h.Speech
	first.Data, rest.Data = first.Data[:half], rest.Data[half:]
	_ = t.s.StartTurn() // which says that it is not ours if it is not
	t.push(first)
	if !t.o.ClientTurns {
		find[*realtime.SpeechStarted](t, "start of speech", nil)
	} else {
		t.connected()
	}
	t.s.Reconnect(false)
	find[*realtime.Reconnected](t, "another connection", nil)
	t.push(rest)
	var g *realtime.Generation
	if t.o.ClientTurns {
		_ = t.s.Commit()
		g = t.generate(nil)
	} else {
		g = t.next()
	}
	t.whole(g, words)
	t.heardIt(1)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
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

func maxAgeCase(k *kit) {
	k.renew(1500 * time.Millisecond)
	t := k.talk(realtime.SessionOptions{Tools: []llm.ToolSpec{tool}})
	t.whole(t.speak(), words)
	t.heardIt(1)
	find[*realtime.Reconnected](t, "connection that takes the place of an old one", nil)
	t.whole(t.speak(), words)
	k.carriedOver(t.o.Instructions)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}
