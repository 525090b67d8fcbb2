package realtimetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
)

// What the provider knows: the conversation, instructions, tools, pictures.

// tool is the tool of the kit.
var tool = llm.ToolSpec{
	Name: "lookup_weather", Description: "Look up the weather for a place.",
	Parameters: json.RawMessage(`{"type":"object","properties":{"location":{"type":"string"}},"required":["location"]}`),
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

func twoCallsCase(k *kit) {
	k.answer = func(a Asked) Reply {
		if count(a, "output") > 0 {
			return Reply{Text: "Yes."}
		}
		return Reply{Text: words, Calls: []llm.ToolCall{{Name: tool.Name, Arguments: `{"location":"Paris"}`}, {Name: tool.Name, Arguments: `{"location":"Oslo"}`}}}
	}
	t := k.talk(realtime.SessionOptions{Tools: []llm.ToolSpec{tool}})
	a := t.read(t.speak())
	for len(a.calls) < 2 && a.err == nil { // some providers make an answer of each
		b := t.read(t.next())
		a.text, a.calls, a.err = a.text+b.text, append(a.calls, b.calls...), b.err
	}
	k.check(a.err == nil && same(a.text, words) && len(a.calls) == 2, "the answer was %+v", a)
	know := t.s.Context()
	for i, c := range a.calls {
		k.check(strings.Contains(c.Arguments, []string{"Paris", "Oslo"}[i]) && c.CallID != a.calls[1-i].CallID, "call %d was %+v", i, c)
		know.Add(&chat.FunctionCallOutput{CallID: c.CallID, Name: c.Name, Output: fmt.Sprintf(`{"degrees":%d}`, 20+i)})
	}
	t.update(know)
	if k.caps.AutoToolReply {
		t.whole(t.next(), "Yes.")
	} else {
		t.whole(t.generate(nil), "Yes.")
	}
	t.whole(t.speak(), "Yes.")
	k.check(len(t.answers) == 0, "the model answered more than once")
	asked := k.last()
	k.check(count(asked, "output") == 2, "the provider knows %q", asked.texts())
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

// red is a picture of one pixel.
var red = &chat.Image{MIMEType: "image/png", URL: "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"}

func imageCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	t.whole(t.speak(), words)
	_, conns := k.d.made()
	k.needs(is[driver.Watcher](conns[0]), "the model cannot see")
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
