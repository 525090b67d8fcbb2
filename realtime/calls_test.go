package realtime_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/realtime/driver"
	"github.com/parley-go/parley/realtime/scripted"
)

// outputs are those that the script was given, with the calls that they are of.
func (k *talk) outputs() (out []string) {
	synctest.Wait()
	for _, it := range k.script.Ledger().Items {
		if o, ok := it.(*chat.FunctionCallOutput); ok {
			out = append(out, o.CallID+": "+o.Output)
		}
	}
	return out
}

// waiting is a model that must be given an output for every call.
func waiting() *driver.Capabilities {
	c := scripted.All
	c.MutableContext = false
	return &c
}

// stopped has an answer interrupted by a client whose model goes on, and then calls a tool; a nil caps is everything.
func stopped(t *testing.T, caps *driver.Capabilities, check func(k *talk)) {
	o := &scripted.Options{Capabilities: caps, NoCancel: true, Speed: 1,
		Replies: []scripted.Reply{{Text: "Let me see.", Calls: []llm.ToolCall{{CallID: "c1", Name: "look", Arguments: "{}"}}}}}
	run(t, o, nil, func(k *talk) {
		g, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		time.Sleep(200 * time.Millisecond)
		g.Interrupt()
		time.Sleep(5 * time.Second)
		check(k)
	})
}

func TestACallOfAStoppedAnswerIsNotWaitedFor(t *testing.T) {
	stopped(t, waiting(), func(k *talk) {
		k.expect("outputs", k.outputs(), "c1: The call was cancelled.")
		must(k, k.s.UpdateContext(k.Context(), &chat.Context{})) // which is told once
		k.expect("outputs", k.outputs(), "c1: The call was cancelled.")
		k.expect("errors", k.errorsTold())
	})
}

// The script tells of the call's item after the call.
func TestACallOfAStoppedAnswerIsForgotten(t *testing.T) {
	stopped(t, nil, func(k *talk) {
		k.expect("deleted", k.script.Ledger().Deleted, "item_0_3")
		for it := range k.s.Context().All() {
			if _, ok := it.(*chat.FunctionCall); ok {
				k.Errorf("the conversation has %+v", it)
			}
		}
	})
}

func TestACallThatNobodyReadIsNotWaitedFor(t *testing.T) {
	o := &scripted.Options{Capabilities: waiting(),
		Replies: []scripted.Reply{{Open: true, Calls: []llm.ToolCall{{CallID: "c1", Name: "look", Arguments: "{}"}}}}}
	run(t, o, nil, func(k *talk) {
		g, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		synctest.Wait() // the call has come
		g.Interrupt()
		k.expect("outputs", k.outputs(), "c1: The call was cancelled.")
		k.expect("errors", k.errorsTold())
	})
}

func TestASessionThatClosesProvokesNoMoreAnswers(t *testing.T) {
	caps := waiting()
	caps.AutoToolReply = true
	o := &scripted.Options{Capabilities: caps, NoCancel: true, Speed: 1,
		Replies: []scripted.Reply{{Text: "Well.", Calls: []llm.ToolCall{{CallID: "c1", Name: "look", Arguments: "{}"}}}}}
	run(t, o, nil, func(k *talk) {
		_, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		must(k, k.s.Close()) // which waits for what it costs
		k.expect("outputs", k.outputs())
		if n := len(k.script.Ledger().Responses); n != 1 {
			k.Errorf("%d responses", n)
		}
	})
}

func TestCallsThatNobodyMakesAreDropped(t *testing.T) {
	for name, x := range map[string]struct {
		caps    *driver.Capabilities
		outputs string
		deleted string
	}{
		"forgets": {&scripted.All, "", "item_0_4"},
		"waits":   {waiting(), "c2: The call was cancelled.", ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := &scripted.Options{Capabilities: x.caps, Replies: []scripted.Reply{{Calls: []llm.ToolCall{
				{CallID: "c1", Name: "look", Arguments: "{}"}, {CallID: "c2", Name: "look", Arguments: "{}"}}}}}
			run(t, o, nil, func(k *talk) {
				k.generate(nil)
				for range 2 { // c1 runs, and whoever tells something else does not know of it
					must(k, k.s.UpdateContext(k.Context(), &chat.Context{}))
				}
				k.s.DropCalls("c2", "c3")
				if got := strings.Join(k.outputs(), " "); got != x.outputs {
					k.Errorf("outputs %q", got)
				}
				if got := strings.Join(k.script.Ledger().Deleted, " "); got != x.deleted {
					k.Errorf("deleted %q", got)
				}
				c := &chat.Context{}
				c.Add(&chat.FunctionCall{CallID: "c1", Name: "look", Arguments: "{}"}, &chat.FunctionCallOutput{CallID: "c1", Name: "look", Output: "sunny"})
				must(k, k.s.UpdateContext(k.Context(), c))
				if got := k.outputs(); got[len(got)-1] != "c1: sunny" && got[0] != "c1: sunny" {
					k.Errorf("outputs %q", got)
				}
				k.expect("errors", k.errorsTold())
			})
		})
	}
}

func TestTheUsersNewWordsOutliveEveryUpdate(t *testing.T) {
	run(t, &scripted.Options{Texts: []string{"Hello."}, TranscriptDelay: 5 * time.Second}, nil, func(k *talk) {
		before := k.s.Context()
		k.speak()
		for range 3 {
			must(k, k.s.UpdateContext(k.Context(), before)) // who sends it cannot know yet
		}
		if got := k.has(); len(got) == 0 || got[0] != "user_0_1 Hello." {
			k.Errorf("%q", got)
		}
	})
}
