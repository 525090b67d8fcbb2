package realtime_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
	"github.com/parley-go/parley/realtime/scripted"
)

// has are the ids and texts of the conversation on the side of the script.
func (k *talk) has() (out []string) {
	for _, it := range k.script.Ledger().Items {
		s := it.Head().ID
		if m, ok := it.(*chat.Message); ok {
			s += " " + m.Text()
		}
		out = append(out, s)
	}
	return out
}

func TestTheContextIsKeptInStep(t *testing.T) {
	so := &realtime.SessionOptions{Context: contextOf(message("a", chat.User, "A"), message("b", chat.Assistant, "B"), message("c", chat.User, "C"))}
	run(t, &scripted.Options{Latency: 20 * time.Millisecond}, so, func(k *talk) {
		began := time.Now()
		must(k, k.s.UpdateContext(k.Context(), contextOf(
			message("z", chat.System, "Z"), message("a", chat.User, "A2"), &chat.Handoff{NewAgentID: "x"}, message("d", chat.User, "D"),
			message("c", chat.User, "C"), message("e", chat.User, "E"))))
		if took := time.Since(began); took != 20*time.Millisecond {
			k.Errorf("took %v", took)
		}
		k.expect("conversation", k.has(), "z Z", "a A2", "d D", "c C", "e E")
		k.expect("deleted", k.script.Ledger().Deleted, "b", "a")
		must(k, k.s.UpdateContext(k.Context(), k.s.Context()))
		if n := len(k.script.Ledger().Deleted); n != 2 {
			k.Errorf("%d deletions", n)
		}
		must(k, k.s.UpdateContext(k.Context(), contextOf(message("c", chat.User, "C"), message("z", chat.System, "Z")))) // moved
		k.expect("conversation", k.has(), "c C", "z Z")
		k.expect("errors", k.errorsTold())
	})
}

func TestCallsAreKnownByTheirCallID(t *testing.T) {
	o := &scripted.Options{Replies: []scripted.Reply{{Calls: []llm.ToolCall{{CallID: "c1", Name: "look", Arguments: "{}"}}}}}
	run(t, o, nil, func(k *talk) {
		k.generate(nil)
		must(k, k.s.UpdateContext(k.Context(), contextOf(
			&chat.FunctionCall{Header: chat.Header{ID: "mine"}, CallID: "c1", Name: "look", Arguments: "{}"},
			&chat.FunctionCallOutput{Header: chat.Header{ID: "out"}, CallID: "c1", Output: "sunny"})))
		k.expect("conversation", k.has(), "item_0_3", "out")
		k.expect("deleted", k.script.Ledger().Deleted)
	})
}

func TestTheUsersNewWordsAreNotDeleted(t *testing.T) {
	o := &scripted.Options{Texts: []string{"Hello."}}
	run(t, o, nil, func(k *talk) {
		before := k.s.Context()
		k.speak()
		must(k, k.s.UpdateContext(k.Context(), before)) // who sends it cannot know yet
		if got := k.has(); len(got) == 0 || got[0] != "user_0_1 Hello." {
			k.Errorf("%q", got)
		}
		k.expect("deleted", k.script.Ledger().Deleted, "item_0_3") // the answer is over and was not played
		must(k, k.s.UpdateContext(k.Context(), contextOf(k.s.Context().Items()[0])))
		must(k, k.s.UpdateContext(k.Context(), before)) // now he knows
		k.expect("conversation", k.has())
	})
}

func TestAGenerationThatGoesOnIsNotDeleted(t *testing.T) {
	o := &scripted.Options{Speed: 1, Replies: []scripted.Reply{{Text: "Hello there, my friend."}}}
	run(t, o, nil, func(k *talk) {
		g, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		time.Sleep(500 * time.Millisecond)
		must(k, k.s.UpdateContext(k.Context(), contextOf(message("m", chat.User, "Hm."))))
		if a := k.collect(g); a.err != nil {
			k.Error(a)
		}
		k.expect("conversation", k.has(), "item_0_2 Hello there, my friend.", "m Hm.")
	})
}

func TestUpdatesWaitForTheirAcknowledgement(t *testing.T) {
	run(t, &scripted.Options{NoAcks: true}, nil, func(k *talk) {
		for name, f := range map[string]func() error{
			"instructions": func() error { return k.s.UpdateInstructions(k.Context(), "New.") },
			"tools":        func() error { return k.s.UpdateTools(k.Context(), []llm.ToolSpec{{Name: "t"}}) },
			"tool choice":  func() error { return k.s.UpdateToolChoice(k.Context(), llm.ToolChoice{Mode: llm.ToolNone}) },
			"context":      func() error { return k.s.UpdateContext(k.Context(), contextOf(message("m", chat.User, "Hm."))) },
		} {
			began := time.Now()
			err := f()
			var e *model.Error
			if !errors.As(err, &e) || e.Kind != model.KindTimeout || time.Since(began) != 5*time.Second {
				k.Errorf("%s: %v after %v", name, err, time.Since(began))
			}
		}
		k.script.Break(down) // the session lives, and the next connection has it all
		time.Sleep(time.Second)
		s := k.script.Ledger().Setups[1]
		if s.Instructions != "New." || len(s.Tools) != 1 || s.ToolChoice.Mode != llm.ToolNone || s.History.Len() != 1 {
			k.Errorf("%+v", s)
		}
	})
}

func TestLateAcknowledgementsCount(t *testing.T) {
	run(t, &scripted.Options{Latency: 6 * time.Second}, nil, func(k *talk) {
		c := contextOf(message("m", chat.User, "Hm."))
		if err := k.s.UpdateContext(k.Context(), c); err == nil {
			k.Error("no error")
		}
		time.Sleep(5 * time.Second)
		must(k, k.s.UpdateContext(k.Context(), c)) // nothing to do
		k.expect("conversation", k.has(), "m Hm.")
		k.expect("errors", k.errorsTold())
		k.expect("events", k.told())
	})
}

func TestRefusedChangesAreErrors(t *testing.T) {
	run(t, nil, nil, func(k *talk) {
		err := k.s.UpdateContext(k.Context(), contextOf(
			&chat.FunctionCallOutput{Header: chat.Header{ID: "o"}, CallID: "nobody called", Output: "x"}, message("m", chat.User, "Hm.")))
		var e *model.Error
		if !errors.As(err, &e) || e.Kind != model.KindRequest {
			k.Error(err)
		}
		if r := k.recoverable(); len(r) != 2 || !r[0] { // the message has nothing to follow
			k.Errorf("%q", k.errorsTold())
		}
		must(k, k.s.UpdateContext(k.Context(), contextOf(message("m", chat.User, "Hm."))))
		k.expect("conversation", k.has(), "m Hm.")
	})
}

func TestItemsWithoutAFormAreLeftOut(t *testing.T) {
	o := &scripted.Options{Unsupported: func(it chat.Item) bool { return it.Head().ID == "pic" }}
	run(t, o, nil, func(k *talk) {
		c := contextOf(message("a", chat.User, "A"), message("pic", chat.User, "P"), message("b", chat.User, "B"))
		must(k, k.s.UpdateContext(k.Context(), c))
		must(k, k.s.UpdateContext(k.Context(), c))
		k.expect("conversation", k.has(), "a A", "b B")
		k.expect("errors", k.errorsTold(), "recoverable: scripted add: request error: pic: not supported by the provider")
	})
}

func immutable() *driver.Capabilities {
	c := scripted.All
	c.MutableContext, c.MutableInstructions, c.MutableTools, c.ToolsPerResponse = false, false, false, false
	return &c
}

func TestWhatCannotChangeNeedsANewConnection(t *testing.T) {
	so := &realtime.SessionOptions{Instructions: "One."}
	run(t, &scripted.Options{Capabilities: immutable(), Resumption: true}, so, func(k *talk) {
		must(k, k.s.UpdateInstructions(k.Context(), "Two."))
		synctest.Wait()
		must(k, k.s.UpdateTools(k.Context(), []llm.ToolSpec{{Name: "t"}}))
		synctest.Wait()
		l := k.script.Ledger()
		if n := len(l.Setups); n != 3 || l.Setups[n-1].Instructions != "Two." || len(l.Setups[n-1].Tools) != 1 || l.Setups[n-1].Resume == nil {
			k.Errorf("%d: %+v", n, l.Setups[n-1])
		}
		must(k, k.s.UpdateContext(k.Context(), contextOf(message("a", chat.User, "A"))))
		synctest.Wait()
		l = k.script.Ledger()
		if n := len(l.Setups); n != 4 || l.Setups[3].Resume != nil {
			k.Errorf("%d: %+v", n, l.Setups[n-1])
		}
		k.expect("conversation", k.has(), "a A")
		must(k, k.s.UpdateContext(k.Context(), &chat.Context{})) // not worth a connection
		synctest.Wait()
		if n := k.script.Ledger().Dials; n != 4 {
			k.Errorf("%d connections", n)
		}
		k.expect("errors", k.errorsTold())
	})
}

func TestANewConnectionForAChangeWaitsForTheAnswer(t *testing.T) {
	o := &scripted.Options{Capabilities: immutable(), Speed: 1, Replies: []scripted.Reply{{Text: "Hello there."}, {Text: "Now in French."}}}
	run(t, o, nil, func(k *talk) {
		g, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		must(k, k.s.UpdateInstructions(k.Context(), "Speak French."))
		next := make(chan answer, 1)
		go func() { next <- k.generate(nil) }()
		if a := k.collect(g); a.text != "Hello there." || a.err != nil {
			k.Error(a)
		}
		if a := <-next; a.text != "Now in French." || a.err != nil {
			k.Error(a)
		}
		l := k.script.Ledger()
		if len(l.Setups) != 2 || len(l.Requests) != 2 || l.Responses[1].ID != "resp_1_1" {
			k.Errorf("%+v", l.Responses)
		}
	})
}

func TestAChangeDoesNotCutOffALongAnswer(t *testing.T) {
	long := strings.Repeat("So it goes. ", 20) // 12 s
	o := &scripted.Options{Capabilities: immutable(), Speed: 1, Replies: []scripted.Reply{{Text: long}}}
	run(t, o, nil, func(k *talk) {
		g, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		must(k, k.s.UpdateInstructions(k.Context(), "Speak French."))
		if a := k.collect(g); a.text != long || a.err != nil {
			k.Error(a)
		}
		synctest.Wait()
		if l := k.script.Ledger(); len(l.Setups) != 2 || l.Setups[1].Instructions != "Speak French." {
			k.Errorf("%d connections", len(l.Setups))
		}
	})
}

func TestOutputsOfToolsAreTakenByAnyModel(t *testing.T) {
	c := immutable()
	c.AutoToolReply = true
	o := &scripted.Options{Capabilities: c, Replies: []scripted.Reply{{Calls: []llm.ToolCall{{CallID: "c1", Name: "look"}, {CallID: "c2", Name: "look"}}}, {Text: "Sunny."}}}
	run(t, o, nil, func(k *talk) {
		k.generate(nil)
		ctx := k.s.Context()
		ctx.Add(&chat.FunctionCallOutput{Header: chat.Header{ID: "o1"}, CallID: "c1", Output: "x", NoReply: true})
		must(k, k.s.UpdateContext(k.Context(), ctx))
		if len(k.gens) != 0 {
			k.Error("an output that wants no answer was answered")
		}
		ctx.Add(&chat.FunctionCallOutput{Header: chat.Header{ID: "o2"}, CallID: "c2", Output: "sunny"})
		must(k, k.s.UpdateContext(k.Context(), ctx))
		synctest.Wait()
		if len(k.gens) != 1 {
			k.Fatalf("%d generations", len(k.gens))
		}
		if a := k.collect(k.gens[0]); a.text != "Sunny." {
			k.Error(a)
		}
		if n := k.script.Ledger().Dials; n != 1 {
			k.Errorf("%d connections", n)
		}
	})
}

// TestToolsForOneGeneration has them for a model that knows only those of the session.
func TestToolsForOneGeneration(t *testing.T) {
	c := scripted.All
	c.ToolsPerResponse = false
	var asked []string
	o := &scripted.Options{Capabilities: &c, Respond: func(_ int, a scripted.Asked) scripted.Reply {
		asked = append(asked, fmt.Sprintf("%d %s %v", len(a.Setup.Tools), a.Setup.ToolChoice.Mode, a.Request.Tools != nil))
		return scripted.Reply{Text: "Yes."}
	}}
	so := &realtime.SessionOptions{Tools: []llm.ToolSpec{{Name: "a"}, {Name: "b"}}}
	run(t, o, so, func(k *talk) {
		k.generate(&realtime.Request{Tools: &[]llm.ToolSpec{}, ToolChoice: &llm.ToolChoice{Mode: llm.ToolNone}})
		k.generate(nil)
		k.expect("asked", asked, "0 none false", "2  false")
	})
	o.Capabilities = nil
	asked = nil
	run(t, o, so, func(k *talk) {
		k.generate(&realtime.Request{Tools: &[]llm.ToolSpec{}})
		k.expect("asked", asked, "2  true")
		if n := len(k.script.Ledger().Updates); n != 0 {
			k.Errorf("%d updates", n)
		}
	})
}

func TestTruncationIsToldWhereItIsUnderstood(t *testing.T) {
	run(t, &scripted.Options{Replies: []scripted.Reply{{Text: "Hello there, my friend."}}}, nil, func(k *talk) {
		a := k.generate(nil)
		must(k, k.s.Truncate(a.items[0], 300*time.Millisecond, "Hello"))
		synctest.Wait()
		if d := k.script.Ledger().Truncated[a.items[0]]; d != 300*time.Millisecond {
			k.Errorf("truncated to %v", d)
		}
		k.expect("conversation", k.has(), "item_0_2 Hello")
		k.expect("known", history(k.s.Context()), `item_0_2 assistant "Hello" true`)
		must(k, k.s.UpdateContext(k.Context(), k.s.Context()))
		k.script.Break(down)
		time.Sleep(time.Second)
		must(k, k.s.Truncate(a.items[0], 200*time.Millisecond, "Hel")) // said on the connection before
		synctest.Wait()
		k.expect("conversation", k.has(), "item_0_2 Hel")
		if n := len(k.script.Ledger().Truncated); n != 1 {
			k.Errorf("%d truncations", n)
		}
	})
}

func TestImagesAreForModelsThatSee(t *testing.T) {
	img := &chat.Image{URL: "https://example.test/a.png"}
	run(t, nil, nil, func(k *talk) {
		must(k, k.s.PushImage(img))
		synctest.Wait()
		if n := k.script.Ledger().Images; n != 1 {
			k.Errorf("%d images", n)
		}
	})
	run(t, &scripted.Options{NoImages: true}, nil, func(k *talk) {
		must(k, k.s.PushImage(img))
		synctest.Wait()
		if err := k.s.PushImage(img); !errors.Is(err, realtime.ErrUnsupported) {
			k.Errorf("a model that cannot see takes images: %v", err)
		}
	})
}

func TestSessionsNeedSomebodyWhoFindsTurns(t *testing.T) {
	c := scripted.All
	c.ClientTurns = false
	if _, err := realtime.New(scripted.New(&scripted.Options{Capabilities: &c}), nil).Session(t.Context(), &realtime.SessionOptions{ClientTurns: true}); !errors.Is(err, realtime.ErrUnsupported) {
		t.Error(err)
	}
	c.ClientTurns, c.ServerTurns = true, false
	if _, err := realtime.New(scripted.New(&scripted.Options{Capabilities: &c}), nil).Session(t.Context(), nil); !errors.Is(err, realtime.ErrUnsupported) {
		t.Error(err)
	}
}

func TestTurnsByTheCaller(t *testing.T) {
	o := &scripted.Options{Texts: []string{"First.", "Second."}}
	run(t, o, &realtime.SessionOptions{ClientTurns: true}, func(k *talk) {
		must(k, k.s.StartTurn())
		k.hear(time.Second, true)
		must(k, k.s.Clear())
		must(k, k.s.StartTurn())
		k.hear(time.Second, true)
		must(k, k.s.Commit())
		a := k.generate(nil)
		if a.text != "Yes." {
			k.Error(a)
		}
		l := k.script.Ledger()
		if l.Starts != 2 || l.Commits != 1 || l.Clears != 1 || l.Heard[0] != 2*time.Second {
			k.Errorf("%+v", l)
		}
		k.expect("events", k.told(), `item user_0_1 after ""`, `transcript user_0_1 "First." final true`)
	})
}

func TestTurnsByTheCallerSurviveABreak(t *testing.T) {
	for name, breakAt := range map[string]time.Duration{"open": 500 * time.Millisecond, "committed": 1005 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			o := &scripted.Options{Texts: []string{"First.", "First."}, TranscriptDelay: 200 * time.Millisecond, Latency: 10 * time.Millisecond}
			run(t, o, &realtime.SessionOptions{ClientTurns: true}, func(k *talk) {
				go func() { time.Sleep(breakAt); k.script.Break(down) }()
				must(k, k.s.StartTurn())
				k.hear(time.Second, true)
				must(k, k.s.Commit())
				a := k.generate(nil)
				if a.text != "Yes." || a.err != nil {
					k.Error(a)
				}
				l := k.script.Ledger()
				if l.Heard[1] != time.Second || !slices.Contains(k.has(), "user_1_1 First.") {
					k.Errorf("heard %v, %q", l.Heard, k.has())
				}
				time.Sleep(time.Second)
				k.script.Break(down)
				time.Sleep(time.Second)
				if l := k.script.Ledger(); l.Heard[2] != 0 || l.Starts > 3 {
					k.Errorf("heard %v", l.Heard)
				}
			})
		})
	}
}

func TestAudioComesInChunks(t *testing.T) {
	c := scripted.All
	c.InputChunk = 100 * time.Millisecond
	run(t, &scripted.Options{Capabilities: &c}, &realtime.SessionOptions{ClientTurns: true}, func(k *talk) {
		k.hear(180*time.Millisecond, true)
		if h := k.script.Ledger().Heard[0]; h != 100*time.Millisecond {
			k.Errorf("heard %v", h)
		}
		must(k, k.s.Commit())
		synctest.Wait()
		if h := k.script.Ledger().Heard[0]; h != 180*time.Millisecond {
			k.Errorf("heard %v after the commit", h)
		}
	})
}

func TestSampler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := realtime.NewSampler(1, 0.5)
		var kept []int
		for i := range 12 {
			if s.Keep(i >= 6) {
				kept = append(kept, i)
			}
			time.Sleep(500 * time.Millisecond)
		}
		if !slices.Equal(kept, []int{0, 4, 6, 8, 10}) {
			t.Errorf("kept %v", kept)
		}
		if realtime.NewSampler(0, 0).Keep(true) {
			t.Error("kept a picture at no rate")
		}
	})
}

// slow takes a while to connect.
type slow struct{ *scripted.Realtime }

func (d slow) Connect(ctx context.Context, s *driver.Setup) (driver.Conn, error) {
	c, err := d.Realtime.Connect(ctx, s)
	time.Sleep(time.Second)
	return c, err
}

// What is changed while a connection is made is known to it before it answers.
func TestAChangeWhileItConnectsComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var knew []string
		script := scripted.New(&scripted.Options{Respond: func(_ int, a scripted.Asked) scripted.Reply {
			knew = append(knew, a.Setup.Instructions)
			for _, it := range a.Items {
				if m, ok := it.(*chat.Message); ok {
					knew = append(knew, m.Text())
				}
			}
			return scripted.Reply{Text: "Yes."}
		}})
		k := &talk{TB: t, script: script}
		k.open(realtime.New(slow{script}, nil), nil)
		done := make(chan answer, 1)
		go func() { done <- k.generate(nil) }() // waits for the connection
		synctest.Wait()
		c := &chat.Context{}
		c.Add(chat.NewMessage(chat.User, "My name is Ada."))
		if err := errors.Join(k.s.UpdateContext(t.Context(), c), k.s.UpdateInstructions(t.Context(), "Be kind.")); err != nil {
			t.Error(err)
		}
		if a := <-done; a.text != "Yes." {
			t.Error(a)
		}
		k.expect("known", knew, "Be kind.", "My name is Ada.")
		k.close()
	})
}

// The time of a connection is billed since it was made, and not since its provider takes input.
func TestTheTimeOfOpeningIsBilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caps := scripted.All
		caps.BilledByTime = true
		script := scripted.New(&scripted.Options{Capabilities: &caps, Acquire: &scripted.Acquire{}})
		k := &talk{TB: t, script: script}
		k.open(realtime.New(slow{script}, nil), nil)
		k.generate(nil)
		k.close()
		var booked time.Duration
		for _, e := range modeltest.Events[*metrics.Realtime](&k.log) {
			booked += e.SessionDuration
		}
		if want := script.Ledger().Time; booked != want || want < time.Second {
			t.Errorf("booked %v of %v", booked, want)
		}
	})
}

// An answer that was heard of before what was said before it, for that was still on its way, is put behind it.
func TestItemsAreWhereTheModelSays(t *testing.T) {
	run(t, nil, nil, func(k *talk) {
		user := func(id string) *chat.Message { return &chat.Message{Header: chat.Header{ID: id}, Role: chat.User} }
		for _, e := range []driver.Event{
			&driver.ResponseCreated{ResponseID: "r"}, &driver.Text{ResponseID: "r", ItemID: "answer", Delta: "Yes."},
			&driver.ItemAdded{Item: user("first")}, &driver.Transcript{ItemID: "first", Text: "Well?", Final: true},
			&driver.ItemAdded{After: "first", Item: &chat.Message{Header: chat.Header{ID: "answer"}, Role: chat.Assistant}},
			&driver.ResponseDone{ResponseID: "r", Status: driver.Completed},
			&driver.ItemAdded{After: "answer", Item: user("second")}, &driver.Transcript{ItemID: "second", Text: "And?", Final: true},
		} {
			k.script.Emit(e)
		}
		synctest.Wait()
		var ids []string
		for it := range k.s.Context().All() {
			ids = append(ids, it.Head().ID)
		}
		k.expect("items", ids, "first", "answer", "second")
	})
}
