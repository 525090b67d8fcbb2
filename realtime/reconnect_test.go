package realtime_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
	"github.com/parley-go/parley/realtime/scripted"
)

// history prints the conversation that a connection began with.
func history(c *chat.Context) (out []string) {
	for it := range c.All() {
		switch it := it.(type) {
		case *chat.Message:
			out = append(out, fmt.Sprintf("%s %s %q %v", it.ID, it.Role, it.Text(), it.Interrupted))
		case *chat.FunctionCall:
			out = append(out, fmt.Sprintf("%s call %s", it.ID, it.Name))
		case *chat.FunctionCallOutput:
			out = append(out, fmt.Sprintf("%s output %s", it.ID, it.Output))
		}
	}
	return out
}

func message(id string, role chat.Role, text string) *chat.Message {
	m := chat.NewMessage(role, text)
	m.ID = id
	return m
}

func contextOf(items ...chat.Item) *chat.Context {
	c := &chat.Context{}
	c.Add(items...)
	return c
}

func TestANewConnectionBeginsWithTheStateOfTheOld(t *testing.T) {
	o := &scripted.Options{Texts: []string{"Hello."}, Replies: []scripted.Reply{{Text: "Good day.", Calls: []llm.ToolCall{{CallID: "c1", Name: "look"}}}}}
	so := &realtime.SessionOptions{Instructions: "One.", Context: contextOf(message("m1", chat.User, "Earlier."))}
	run(t, o, so, func(k *talk) {
		k.speak()
		k.collect(k.gens[0])
		must(k, k.s.UpdateInstructions(k.Context(), "Two."))
		must(k, k.s.UpdateTools(k.Context(), []llm.ToolSpec{{Name: "look"}}))
		must(k, k.s.UpdateToolChoice(k.Context(), llm.ToolChoice{Mode: llm.ToolRequired}))
		c := k.s.Context()
		c.Add(&chat.FunctionCallOutput{Header: chat.Header{ID: "o1"}, CallID: "c1", Output: "sunny", NoReply: true})
		must(k, k.s.UpdateContext(k.Context(), c))
		k.told()
		k.script.Break(down)
		time.Sleep(time.Second)
		k.expect("events", k.told(), "reconnected to scripted swapped false cut false")
		k.expect("errors", k.errorsTold(), "recoverable: scripted break: connection error")
		l := k.script.Ledger()
		if len(l.Setups) != 2 {
			k.Fatalf("%d connections", len(l.Setups))
		}
		s := l.Setups[1]
		if s.Instructions != "Two." || len(s.Tools) != 1 || s.ToolChoice.Mode != llm.ToolRequired || s.Resume != nil {
			k.Errorf("setup: %+v", s)
		}
		k.expect("history", history(s.History),
			`m1 user "Earlier." false`, `user_0_1 user "Hello." false`, `item_0_3 assistant "Good day." false`, "item_0_4 call look", "o1 output sunny")
		if a := k.generate(nil); a.text != "Yes." {
			k.Error(a)
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConnectionsAreTriedAsOftenAsAllowed(t *testing.T) {
	refused := &model.Error{Kind: model.KindStatus, Provider: "scripted", Op: "connect", Status: 503}
	run(t, &scripted.Options{Faults: []scripted.Fault{{Conn: -1, Err: refused}}}, nil, func(k *talk) {
		began := time.Now()
		_, err := k.s.Generate(k.Context(), nil)
		var e *model.Error
		if !errors.As(err, &e) || time.Since(began) != 4100*time.Millisecond {
			k.Errorf("%v after %v", err, time.Since(began))
		}
		<-k.read
		const text = "scripted connect: status error (status 503)"
		k.expect("errors", k.errorsTold(), "recoverable: "+text, "recoverable: "+text, "recoverable: "+text, "final: "+text)
		if k.err == nil || k.err.Error() != "realtime: session: scripted session: connection error: failed after 4 attempts: "+text {
			k.Error(k.err)
		}
		if err := k.s.Push(audio.Silence(time.Second, 16000, 1)); !errors.Is(err, refused) {
			k.Errorf("Push after the end: %v", err)
		}
		if err := k.s.UpdateInstructions(k.Context(), "x"); !errors.Is(err, refused) {
			k.Errorf("update after the end: %v", err)
		}
	})
}

func TestRefusalsForGoodAreNotTriedAgain(t *testing.T) {
	for name, f := range map[string]scripted.Fault{
		"key":   {Conn: -1, Err: &model.Error{Kind: model.KindStatus, Provider: "scripted", Status: 401}},
		"panic": {Conn: -1, Kind: scripted.Panic},
		"later": {Conn: -1, When: scripted.AtSend, Err: &model.Error{Kind: model.KindStatus, Provider: "scripted", Status: 402}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, &scripted.Options{Faults: []scripted.Fault{f}}, nil, func(k *talk) {
				_, err := k.s.Generate(k.Context(), nil)
				if err == nil {
					k.Error("no error")
				}
				<-k.read
				if r := k.recoverable(); len(r) != 1 || r[0] {
					k.Errorf("errors %v", k.errorsTold())
				}
			})
		})
	}
}

func TestWhatWasNotHeardIsAskedForAgain(t *testing.T) {
	for name, f := range map[string]scripted.Fault{
		"before it begins":           {When: scripted.AtResponse},
		"ends in order":              {When: scripted.AtResponse, Kind: scripted.Hangup},
		"panic":                      {When: scripted.AtResponse, Err: &model.Error{Kind: model.KindProtocol, Provider: "scripted"}},
		"refused before it begins":   {When: scripted.AtResponse, Kind: scripted.Reject},
		"fails before its first out": {When: scripted.AtResponse, Kind: scripted.Broken},
	} {
		t.Run(name, func(t *testing.T) {
			o := &scripted.Options{Faults: []scripted.Fault{f}, Latency: 5 * time.Millisecond}
			run(t, o, nil, func(k *talk) {
				a := k.generate(nil)
				if a.text != "Yes." || a.err != nil {
					k.Error(a)
				}
				if r := k.recoverable(); len(r) != 1 || !r[0] {
					k.Errorf("errors %v", k.errorsTold())
				}
			})
		})
	}
}

func TestAGenerationThatWasCutOffIsNotSaidAgain(t *testing.T) {
	o := &scripted.Options{
		Replies: []scripted.Reply{{Text: "Hello there, my friend."}},
		Faults:  []scripted.Fault{{When: scripted.AtOutput}},
	}
	run(t, o, nil, func(k *talk) {
		a := k.generate(nil)
		if !errors.Is(a.err, a.err) || a.err == nil || a.audio == 0 {
			k.Error(a)
		}
		time.Sleep(time.Second)
		k.expect("events", k.told(), "reconnected to scripted swapped false cut true")
		if l := k.script.Ledger(); len(l.Responses) != 1 || len(l.Requests) != 1 {
			k.Errorf("%+v", l.Responses)
		}
	})
}

// TestAudioIsSentAgain breaks connections at several moments of a turn. The user must be answered once.
func TestAudioIsSentAgain(t *testing.T) {
	for name, c := range map[string]struct {
		o        scripted.Options
		breakAt  time.Duration // after he began
		min, max time.Duration // heard by the second connection
	}{
		"while he speaks":       {breakAt: 600 * time.Millisecond, min: 3400 * time.Millisecond, max: 3600 * time.Millisecond},
		"before the transcript": {o: scripted.Options{TranscriptDelay: time.Minute, Replies: []scripted.Reply{{Text: "Yes.", TTFT: time.Minute}}}, breakAt: 1400 * time.Millisecond, min: 3400 * time.Millisecond, max: 3600 * time.Millisecond},
		"after the transcript":  {o: scripted.Options{Replies: []scripted.Reply{{Text: "Yes.", TTFT: time.Minute}}}, breakAt: 1400 * time.Millisecond, max: 1200 * time.Millisecond},
		"in the answer":         {breakAt: 1900 * time.Millisecond, max: 1200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			o := c.o
			o.Texts = []string{"What?", "What?"}
			run(t, &o, nil, func(k *talk) {
				k.hear(2*time.Second, false)
				go func() { time.Sleep(c.breakAt); k.script.Break(down) }()
				k.speak()
				k.hear(time.Second, false)
				l := k.script.Ledger()
				if len(l.Heard) != 2 || l.Heard[1] < c.min || l.Heard[1] > c.max {
					k.Errorf("heard %v", l.Heard)
				}
				if len(k.gens) != 1 {
					k.Fatalf("%d generations: %q", len(k.gens), k.told())
				}
				if a := k.collect(k.gens[0]); a.text != "Yes." || a.err != nil {
					k.Error(a)
				}
			})
		})
	}
}

func TestAudioIsKeptWhileThereIsNoConnection(t *testing.T) {
	o := &scripted.Options{Texts: []string{"What?"}, Faults: []scripted.Fault{{Kind: scripted.Stall}}}
	run(t, o, nil, func(k *talk) {
		k.speak() // nobody listens: the first connection does not come about
		time.Sleep(10 * time.Second)
		k.expect("events", k.told(),
			"started", "stopped user_1_1", `item user_1_1 after ""`, `transcript user_1_1 "What?" final true`, "generation resp_1_2")
	})
}

func TestMoreAudioThanIsKeptIsAnError(t *testing.T) {
	o := &scripted.Options{Faults: []scripted.Fault{{Conn: 0, Kind: scripted.Stall}, {Conn: 1, Kind: scripted.Stall}, {Conn: 2, Kind: scripted.Stall}}}
	run(t, o, nil, func(k *talk) {
		k.hear(33*time.Second, false)
		drops := 0
		for _, e := range k.errorsTold() {
			if e == "recoverable: realtime: provider takes audio too slowly: dropped what waited for 30 s" {
				drops++
			}
		}
		if drops != 1 {
			k.Errorf("told %q", k.errorsTold())
		}
		time.Sleep(3 * time.Second)
		if l := k.script.Ledger(); len(l.Heard) != 1 || l.Heard[0] != 30*time.Second {
			k.Errorf("heard %v", l.Heard)
		}
	})
}

func aging(d time.Duration) *driver.Capabilities {
	c := scripted.All
	c.MaxAge = d
	return &c
}

func TestConnectionsAreReplacedBeforeTheyAreTooOld(t *testing.T) {
	run(t, &scripted.Options{Capabilities: aging(20 * time.Minute)}, nil, func(k *talk) {
		time.Sleep(17 * time.Minute)
		if n := k.script.Ledger().Dials; n != 1 {
			k.Errorf("%d connections after 17 minutes", n)
		}
		time.Sleep(2 * time.Minute)
		k.expect("events", k.told(), "reconnected to scripted swapped false cut false")
		k.expect("errors", k.errorsTold())
		time.Sleep(18 * time.Minute)
		if n := k.script.Ledger().Dials; n != 3 {
			k.Errorf("%d connections after 37 minutes", n)
		}
	})
}

func TestAnOldConnectionWaitsForAQuietMoment(t *testing.T) {
	o := &scripted.Options{Capabilities: aging(20 * time.Minute), Speed: 1, PerChar: time.Second, Replies: []scripted.Reply{{Text: "0123456789 0123456789 0123456789"}, {Text: "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 "}}}
	run(t, o, nil, func(k *talk) {
		time.Sleep(18*time.Minute - time.Second)
		g, err := k.s.Generate(k.Context(), nil) // it lasts for half a minute
		must(k, err)
		time.Sleep(20 * time.Second)
		if n := k.script.Ledger().Dials; n != 1 {
			k.Errorf("%d connections in the generation", n)
		}
		if a := k.collect(g); a.err != nil {
			k.Error(a)
		}
		synctest.Wait()
		if n := k.script.Ledger().Dials; n != 2 {
			k.Errorf("%d connections after it", n)
		}
		time.Sleep(18*time.Minute - time.Second)
		if a := k.generate(nil); a.err == nil { // it lasts for longer than the connection may
			k.Error(a)
		}
		k.expect("events", k.told(), "reconnected to scripted swapped false cut false", "reconnected to scripted swapped false cut true")
	})
}

func TestGoAwayIsHeeded(t *testing.T) {
	run(t, &scripted.Options{Speed: 1, PerChar: 100 * time.Millisecond, Replies: []scripted.Reply{{Text: "0123456789 "}}}, nil, func(k *talk) {
		k.script.Emit(&driver.GoAway{In: 10 * time.Second})
		synctest.Wait()
		if n := k.script.Ledger().Dials; n != 2 {
			k.Errorf("%d connections", n)
		}
		g, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		k.script.Emit(&driver.GoAway{In: 10 * time.Second})
		synctest.Wait()
		if n := k.script.Ledger().Dials; n != 2 {
			k.Errorf("%d connections in the generation", n)
		}
		if a := k.collect(g); a.err != nil {
			k.Error(a)
		}
		synctest.Wait() // the next connection is there
		_, err = k.s.Generate(k.Context(), nil)
		must(k, err)
		k.script.Emit(&driver.GoAway{In: time.Minute})
		synctest.Wait()
		k.script.Break(nil)
		synctest.Wait()
		if n := k.script.Ledger().Dials; n != 4 {
			k.Errorf("%d connections after the end that was told", n)
		}
		k.expect("errors", k.errorsTold())
	})
}

func TestTheProvidersMemoryIsResumed(t *testing.T) {
	run(t, &scripted.Options{Resumption: true}, nil, func(k *talk) {
		k.script.Break(down)
		time.Sleep(time.Second)
		k.s.Reconnect(false)
		synctest.Wait()
		l := k.script.Ledger()
		if len(l.Setups) != 3 || l.Setups[1].Resume != 0 || l.Setups[2].Resume != 1 {
			k.Errorf("%+v", l.Setups)
		}
	})
}

func TestARefusedResumptionIsGivenUp(t *testing.T) {
	gone := &model.Error{Kind: model.KindStatus, Provider: "scripted", Status: 500}
	run(t, &scripted.Options{Resumption: true, Faults: []scripted.Fault{{Conn: 1, Err: gone}}}, nil, func(k *talk) {
		k.script.Break(down)
		time.Sleep(5 * time.Second)
		if l := k.script.Ledger(); len(l.Setups) != 2 || l.Setups[1].Resume != nil {
			k.Errorf("%+v", l.Setups)
		}
	})
}

func TestEveryConnectionIsToldOnce(t *testing.T) {
	o := &scripted.Options{Acquire: &scripted.Acquire{Took: 80 * time.Millisecond}, Faults: []scripted.Fault{{Conn: 1}}}
	run(t, o, nil, func(k *talk) {
		k.generate(nil)
		k.script.Break(down)
		time.Sleep(5 * time.Second)
		k.generate(nil)
		var got []time.Duration
		for _, e := range modeltest.Events[*metrics.Realtime](&k.log) {
			if e.Acquired {
				got = append(got, e.AcquireTime)
				if e.InputTokens != 0 || e.TTFT != metrics.NoOutput || e.RequestID != "" {
					k.Errorf("%+v", e)
				}
			}
		}
		var ends []metrics.Outcome
		for _, e := range modeltest.Events[*metrics.Connection](&k.log) {
			ends = append(ends, cmp.Or(e.Outcome, metrics.Delivered))
		}
		if len(got) != 2 || got[0] != 80*time.Millisecond || k.script.Ledger().Dials != 2 ||
			!slices.Equal(ends, []metrics.Outcome{metrics.Delivered, metrics.Failed, metrics.Delivered}) {
			k.Errorf("acquisitions %v, connections %v", got, ends)
		}
	})
}

func TestTimeOfConnectionsIsBooked(t *testing.T) {
	c := scripted.All
	c.BilledByTime = true
	run(t, &scripted.Options{Capabilities: &c}, nil, func(k *talk) {
		sum := func() (d time.Duration, n int) {
			for _, e := range modeltest.Events[*metrics.Realtime](&k.log) {
				d += e.SessionDuration
				n++
			}
			return d, n
		}
		time.Sleep(25 * time.Second)
		if d, n := sum(); d != 20*time.Second || n != 2 {
			k.Errorf("%v in %d events after 25 s", d, n)
		}
		k.script.Break(down)
		time.Sleep(12 * time.Second)
		must(k, k.s.Close())
		if d, _ := sum(); d != k.script.Ledger().Time || d < 36*time.Second {
			k.Errorf("booked %v of %v", d, k.script.Ledger().Time)
		}
	})
}

// A provider counts from when a connection was made, which may take a while to take what a session begins with.
func TestTimeOfOpeningsIsBooked(t *testing.T) {
	c := scripted.All
	c.BilledByTime = true
	o := &scripted.Options{Capabilities: &c, Acquire: &scripted.Acquire{Took: 300 * time.Millisecond, Opening: 2 * time.Second}}
	run(t, o, nil, func(k *talk) {
		time.Sleep(5 * time.Second)
		must(k, k.s.Close())
		var booked time.Duration
		for _, e := range modeltest.Events[*metrics.Realtime](&k.log) {
			booked += e.SessionDuration
		}
		if billed := k.script.Ledger().Time; booked != billed || booked < 4*time.Second {
			k.Errorf("booked %v of %v", booked, billed)
		}
	})
}

func TestAStuckGenerationEndsItsConnection(t *testing.T) {
	o := &scripted.Options{Replies: []scripted.Reply{{Open: true}, {Text: "Yes."}}}
	run(t, o, nil, func(k *talk) {
		g, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		a := k.collect(g)
		if a.text != "Yes." || a.err != nil {
			k.Error(a)
		}
		k.expect("errors", k.errorsTold(), "recoverable: scripted generate: timeout error: no answer within 10s")
	})
}
