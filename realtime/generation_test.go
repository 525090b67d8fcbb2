package realtime_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
	"github.com/parley-go/parley/realtime/scripted"
)

const long = "Once upon a time there was a king who had three daughters."

func TestInterruptDropsTheRest(t *testing.T) {
	o := &scripted.Options{Speed: 1, Latency: 50 * time.Millisecond, Replies: []scripted.Reply{{Text: long}, {Text: "Sorry."}}}
	run(t, o, nil, func(k *talk) {
		g, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		time.Sleep(time.Second)
		k.s.Interrupt()
		a := k.collect(g)
		if !errors.Is(a.err, realtime.ErrInterrupted) || a.audio != 0 {
			k.Error(a)
		}
		if st, err := g.Result(); st != realtime.Cancelled || err != nil {
			k.Error(st, err)
		}
		if a := k.generate(nil); a.text != "Sorry." || a.err != nil { // nothing of the first one
			k.Error(a)
		}
		k.expect("accounts", k.accounts(), "resp_0_1 interrupted true", "resp_0_3 delivered false")
		if l := k.script.Ledger(); l.Cancels != 1 || l.Responses[0].Status != driver.Cancelled {
			k.Errorf("%+v", l)
		}
		k.expect("errors", k.errorsTold())
	})
}

func TestInterruptOfOneGenerationLeavesTheNext(t *testing.T) {
	run(t, &scripted.Options{Speed: 1}, nil, func(k *talk) {
		first, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		<-first.Done()
		second, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		first.Interrupt()
		if a := k.collect(second); a.text != "Yes." || a.err != nil {
			k.Error(a)
		}
		if n := k.script.Ledger().Cancels; n != 0 {
			k.Errorf("%d cancels", n)
		}
	})
}

func TestInterruptWithdrawsRequests(t *testing.T) {
	run(t, &scripted.Options{Latency: 100 * time.Millisecond}, nil, func(k *talk) {
		for _, wait := range []time.Duration{1, 50 * time.Millisecond} { // not 0: it may not be asked for yet
			go func() { time.Sleep(wait); k.s.Interrupt() }()
			if _, err := k.s.Generate(k.Context(), nil); !errors.Is(err, realtime.ErrInterrupted) {
				k.Error(err)
			}
		}
		time.Sleep(time.Second)
		for _, e := range modeltest.Events[*metrics.Realtime](&k.log) {
			if e.Outcome != metrics.Discarded || !e.Cancelled {
				k.Errorf("%+v", e)
			}
		}
		k.expect("events", k.told())
	})
}

func TestTheUserInterrupts(t *testing.T) {
	o := &scripted.Options{Speed: 1, Texts: []string{"Wait."}, Replies: []scripted.Reply{{Text: long}, {Text: "Yes?"}}}
	run(t, o, nil, func(k *talk) {
		g, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		time.Sleep(500 * time.Millisecond)
		k.speak()
		a := k.collect(g)
		if a.err != nil || a.audio < 400*time.Millisecond || a.audio > time.Second { // what came is there
			k.Error(a)
		}
		k.expect("events", k.told(), "started", "interrupted resp_0_1", "stopped user_0_3", `item user_0_3 after "item_0_2"`,
			`transcript user_0_3 "Wait." final true`, "generation resp_0_4")
		k.expect("accounts", k.accounts(), "resp_0_1 interrupted true", "resp_0_4 delivered false")
	})
}

func TestWhoGivesUpIsNotAnswered(t *testing.T) {
	o := &scripted.Options{Latency: 300 * time.Millisecond, Replies: []scripted.Reply{{Text: "Late."}, {Text: "In time."}}}
	run(t, o, nil, func(k *talk) {
		ctx, cancel := context.WithTimeout(k.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := k.s.Generate(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			k.Error(err)
		}
		time.Sleep(time.Second)
		if a := k.generate(nil); a.text != "In time." {
			k.Error(a)
		}
		if got := k.accounts(); len(got) != 2 || got[0] != "resp_0_1 discarded true" {
			k.Errorf("%q", got)
		}
		k.expect("events", k.told())
	})
}

func TestAnAnswerThatDoesNotBeginIsAnError(t *testing.T) {
	o := &scripted.Options{Replies: []scripted.Reply{{Silent: true}}}
	run(t, o, nil, func(k *talk) {
		began := time.Now()
		_, err := k.s.Generate(k.Context(), nil)
		var e *model.Error
		if !errors.As(err, &e) || e.Kind != model.KindTimeout || time.Since(began) != 10*time.Second {
			k.Errorf("%v after %v", err, time.Since(began))
		}
		if a := k.generate(nil); a.text != "Yes." || a.err != nil { // over another connection
			k.Error(a)
		}
		k.expect("errors", k.errorsTold(), "recoverable: scripted generate: timeout error: no answer within 10s")
		if n := k.script.Ledger().Dials; n != 2 {
			k.Errorf("%d connections", n)
		}
	})
}

func TestResponsesThatFail(t *testing.T) {
	status := func(n int) error {
		return &model.Error{Kind: model.KindStatus, Provider: "scripted", Op: "response", Status: n}
	}
	for name, c := range map[string]struct {
		faults []scripted.Fault
		reply  scripted.Reply
		want   string
		errors int
		took   time.Duration
	}{
		"once":          {faults: []scripted.Fault{{When: scripted.AtResponse, Kind: scripted.Broken, Err: status(503)}}, want: `"Yes." 200ms [] <nil>`, errors: 1, took: 100 * time.Millisecond},
		"refused twice": {faults: []scripted.Fault{{When: scripted.AtResponse, Kind: scripted.Reject}, {When: scripted.AtResponse, N: 1, Kind: scripted.Reject}}, want: `"Yes." 200ms [] <nil>`, errors: 2, took: 2100 * time.Millisecond},
		"always":        {faults: []scripted.Fault{{When: scripted.AtResponse, N: -1, Kind: scripted.Broken, Err: status(503)}}, want: `"" 0s [] scripted response: status error (status 503)`, errors: 4, took: 4100 * time.Millisecond},
		"for good":      {faults: []scripted.Fault{{When: scripted.AtResponse, N: -1, Kind: scripted.Broken, Err: status(400)}}, want: `"" 0s [] scripted response: status error (status 400)`, errors: 1},
		"after output":  {reply: scripted.Reply{Text: "Well", Status: driver.Failed, Err: status(503)}, want: `"Well" 200ms [] scripted response: status error (status 503)`, errors: 1},
		"no reason":     {reply: scripted.Reply{Text: "Well", Status: driver.Failed}, want: `"Well" 200ms [] scripted generate: protocol error: the provider gave no reason`, errors: 1},
		"limit":         {reply: scripted.Reply{Text: "Well", Status: driver.Incomplete, Err: status(200)}, want: `"Well" 200ms [] <nil>`, errors: 1},
	} {
		t.Run(name, func(t *testing.T) {
			o := &scripted.Options{Faults: c.faults, Speed: 1e9}
			if c.reply.Text != "" {
				o.Replies = []scripted.Reply{c.reply}
			}
			run(t, o, nil, func(k *talk) {
				began := time.Now()
				a := k.generate(nil)
				if a.String() != c.want {
					k.Errorf("%v, want %s", a, c.want)
				}
				if took := time.Since(began); took != c.took {
					k.Errorf("took %v", took)
				}
				r := k.recoverable()
				for _, ok := range r {
					if !ok {
						k.Errorf("%q", k.errorsTold())
					}
				}
				if len(r) != c.errors {
					k.Errorf("%q", k.errorsTold())
				}
			})
		})
	}
}

// TestTheModelsOwnAnswerIsAskedForWhenItFails is about generations that nobody asked for.
func TestTheModelsOwnAnswerIsAskedForWhenItFails(t *testing.T) {
	o := &scripted.Options{Texts: []string{"Hello."}, Faults: []scripted.Fault{{When: scripted.AtResponse, Kind: scripted.Broken}}}
	run(t, o, nil, func(k *talk) {
		k.speak()
		if len(k.gens) != 1 {
			k.Fatalf("%d generations", len(k.gens))
		}
		if a := k.collect(k.gens[0]); a.text != "Yes." || a.err != nil {
			k.Error(a)
		}
		if l := k.script.Ledger(); len(l.Requests) != 1 {
			k.Errorf("asked %d times", len(l.Requests))
		}
	})
}

func TestAnswerThatTheProviderCancelsIsAskedForAgain(t *testing.T) {
	o := &scripted.Options{Speed: 1, Replies: []scripted.Reply{{TTFT: time.Second, Status: driver.Cancelled}, {Text: "Here."}}}
	run(t, o, nil, func(k *talk) {
		if a := k.generate(nil); a.err != nil || a.text != "Here." {
			k.Error(a)
		}
		k.expect("errors", k.errorsTold(), "recoverable: scripted generate: connection error: the provider cancelled the answer before it began")
	})
	o = &scripted.Options{Texts: []string{"Wait."}, Speed: 1, Replies: []scripted.Reply{{Text: "Lost.", TTFT: time.Second}, {Text: "Here."}}}
	run(t, o, nil, func(k *talk) {
		g, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		k.script.Emit(&driver.SpeechStarted{})
		k.script.Emit(&driver.ResponseDone{ResponseID: g.ResponseID(), Status: driver.Cancelled})
		if a := k.collect(g); a.text != "" { // since the user speaks
			k.Error(a)
		}
		k.expect("errors", k.errorsTold())
	})
}

func TestUsageOfResponsesThatNobodyKnows(t *testing.T) {
	usage := driver.Usage{InputTokens: 7, OutputTokens: 2, Input: metrics.InputTokenDetails{CachedTokens: 99}}
	run(t, nil, nil, func(k *talk) {
		k.script.Emit(&driver.ResponseDone{ResponseID: "lost", Status: driver.Cancelled, Usage: &usage})
		k.script.Emit(&driver.ResponseDone{ResponseID: "lost", Status: driver.Cancelled, Usage: &usage})
		k.script.Emit(&driver.ResponseUsage{ResponseID: "lost", Usage: usage})
		k.script.Emit(&driver.ResponseUsage{Usage: usage})
		k.script.Emit(&driver.Audio{ResponseID: "lost", Frame: audio.Silence(time.Second, 24000, 1)})
		synctest.Wait()
		ev := modeltest.Events[*metrics.Realtime](&k.log)
		if len(ev) != 2 || ev[0].RequestID != "lost" || ev[0].Outcome != metrics.Discarded || ev[1].RequestID == "" {
			k.Errorf("%+v", k.accounts())
		}
		for _, e := range ev {
			if e.InputTokens != 7 || e.TotalTokens != 9 || e.InputTokenDetails.CachedTokens != 7 {
				k.Errorf("%+v", e)
			}
		}
		k.expect("events", k.told())
		k.script = nil
	})
}

func TestEverythingToldTwiceCountsOnce(t *testing.T) {
	o := &scripted.Options{Texts: []string{"Hello."}, TranscriptModel: "scribe", Faults: []scripted.Fault{{Conn: -1, Kind: scripted.Repeated}}}
	run(t, o, nil, func(k *talk) {
		k.speak()
		k.collect(k.gens[0])
		k.expect("accounts", k.accounts(), "resp_0_2 delivered false")
		stt := modeltest.Events[*metrics.STT](&k.log)
		if len(stt) != 1 || stt[0].AudioDuration != k.script.Ledger().Transcribed || stt[0].Metadata != (metrics.Metadata{ModelName: "scribe", ModelProvider: "scripted"}) {
			k.Errorf("%+v", stt)
		}
	})
}

func TestMetricsOfAGeneration(t *testing.T) {
	o := &scripted.Options{Texts: []string{"Hello."}, Replies: []scripted.Reply{{Text: "Good day.", TTFT: 400 * time.Millisecond}, {Text: "ok", TextOnly: true, TTFT: 250 * time.Millisecond}, {Calls: []llm.ToolCall{{Name: "x"}}}}}
	so := &realtime.SessionOptions{Tags: func(g *realtime.Generation) metrics.Tags {
		return metrics.Tags{SpeechID: "speech of " + g.ResponseID()}
	}}
	run(t, o, so, func(k *talk) {
		k.speak()
		k.collect(k.gens[0])
		g, err := k.s.Generate(metrics.WithTags(k.Context(), metrics.Tags{SpeechID: "asked"}), nil)
		must(k, err)
		k.collect(g)
		k.generate(nil)
		synctest.Wait() // the account of it follows its end
		e := modeltest.Events[*metrics.Realtime](&k.log)
		if e[0].Tags.SpeechID != "speech of resp_0_2" || e[1].Tags.SpeechID != "asked" || e[2].Tags.SpeechID != "" {
			k.Errorf("%+v", e)
		}
		if e[0].TTFT != 400*time.Millisecond || e[1].TTFT != 250*time.Millisecond || e[2].TTFT != metrics.NoOutput || k.gens[0].TTFT() != e[0].TTFT {
			k.Errorf("ttft %v %v %v", e[0].TTFT, e[1].TTFT, e[2].TTFT)
		}
		if !e[0].Timestamp.Equal(k.gens[0].CreatedAt()) || e[0].Duration <= e[0].TTFT || e[0].TokensPerSecond <= 0 || e[0].Label != "scripted.Realtime" {
			k.Errorf("%+v", e[0])
		}
	})
}

func TestCloseWaitsForWhatItCost(t *testing.T) {
	o := &scripted.Options{Speed: 1, Latency: 200 * time.Millisecond, Replies: []scripted.Reply{{Text: long}}}
	run(t, o, nil, func(k *talk) {
		g, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		time.Sleep(time.Second)
		began := time.Now()
		must(k, k.s.Close())
		if took := time.Since(began); took != 200*time.Millisecond {
			k.Errorf("took %v", took)
		}
		k.expect("accounts", k.accounts(), "resp_0_1 interrupted true")
		if _, err := g.NextMessage(k.Context()); !errors.Is(err, realtime.ErrInterrupted) {
			k.Error(err)
		}
		if _, err := k.s.Generate(k.Context(), nil); !errors.Is(err, realtime.ErrClosed) {
			k.Error(err)
		}
		<-k.read
		if !errors.Is(k.err, realtime.ErrClosed) {
			k.Error(k.err)
		}
		k.expect("errors", k.errorsTold())
	})
}

// A provider that was asked may have begun, and bills it, before it learns that nobody wants the answer any more.
func TestCloseWaitsForWhatWasJustAskedFor(t *testing.T) {
	o := &scripted.Options{Latency: 200 * time.Millisecond, Replies: []scripted.Reply{{Text: long}}}
	run(t, o, nil, func(k *talk) {
		asked := make(chan error, 1)
		go func() {
			_, err := k.s.Generate(k.Context(), nil)
			asked <- err
		}()
		time.Sleep(150 * time.Millisecond)
		k.expect("accounts", k.accounts())
		began := time.Now()
		must(k, k.s.Close())
		if took := time.Since(began); took != 200*time.Millisecond {
			k.Errorf("took %v", took)
		}
		if err := <-asked; !errors.Is(err, realtime.ErrInterrupted) && !errors.Is(err, realtime.ErrClosed) {
			k.Error(err)
		}
		k.expect("accounts", k.accounts(), "resp_0_1 discarded true")
	})
}

func TestCloseDoesNotWaitForWhatIsLongOver(t *testing.T) {
	for name, replies := range map[string][]scripted.Reply{
		"followed by one that came":   {{Silent: true}, {Text: "Yes."}},
		"followed by another of them": {{Silent: true}, {Silent: true}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, &scripted.Options{Latency: 200 * time.Millisecond, Replies: replies}, nil, func(k *talk) {
				for range replies {
					ctx, cancel := context.WithTimeout(k.Context(), 100*time.Millisecond)
					_, _ = k.s.Generate(ctx, nil)
					cancel()
				}
				time.Sleep(time.Minute)
				began := time.Now()
				must(k, k.s.Close())
				if took := time.Since(began); took != 0 {
					k.Errorf("took %v", took)
				}
			})
		})
	}
}

// Nobody misses an answer that nobody wants, however it is paid for.
func TestARefusalOfWhatWasWithdrawnIsNoError(t *testing.T) {
	for _, byTokens := range []bool{true, false} {
		caps := scripted.All
		caps.BilledByTokens = byTokens
		run(t, &scripted.Options{Capabilities: &caps, Replies: []scripted.Reply{{Silent: true}}}, nil, func(k *talk) {
			ctx, cancel := context.WithTimeout(k.Context(), 100*time.Millisecond)
			defer cancel()
			_, _ = k.s.Generate(ctx, nil)
			k.script.Emit(&driver.Error{RequestID: k.script.Ledger().Requests[0].ID, Err: errors.New("busy")})
			k.expect("errors", k.errorsTold())
			k.script.Emit(&driver.Error{Err: errors.New("broken")})
			k.expect("errors", k.errorsTold(), "recoverable: broken")
		})
	}
}

// A driver that keeps a request for later is told that nobody wants it, and the answer that goes on is not stopped.
func TestADriverGivesUpWhatItKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := scripted.New(&scripted.Options{Replies: []scripted.Reply{{Silent: true}}})
		d := &keeping{Realtime: script}
		k := &talk{TB: t, script: script}
		k.open(realtime.New(d, nil), nil)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, _ = k.s.Generate(ctx, nil)
		synctest.Wait()
		if d.withdrawn != 1 || d.cancelled != 0 {
			t.Errorf("%d requests were withdrawn, and %d answers cancelled", d.withdrawn, d.cancelled)
		}
		began := time.Now()
		must(t, k.s.Close())
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v", took)
		}
		k.close()
	})
}

type keeping struct {
	*scripted.Realtime
	withdrawn, cancelled int
}

func (d *keeping) Connect(ctx context.Context, s *driver.Setup) (driver.Conn, error) {
	c, err := d.Realtime.Connect(ctx, s)
	return &keepingConn{c, d}, err
}

type keepingConn struct {
	driver.Conn
	d *keeping
}

func (c *keepingConn) Cancel(ctx context.Context) error { c.d.cancelled++; return nil }

func (c *keepingConn) Withdraw(string) (kept bool) { c.d.withdrawn++; return true }

func TestCloseWaitsForNobodyElse(t *testing.T) {
	run(t, &scripted.Options{Replies: []scripted.Reply{{Open: true}}, NoCancel: true}, nil, func(k *talk) {
		_, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		began := time.Now()
		must(k, k.s.Close())
		if took := time.Since(began); took != time.Second {
			k.Errorf("took %v", took)
		}
		k.expect("accounts", k.accounts(), "resp_0_1 discarded true")
	})
}

func TestTheEndOfTheContextEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := scripted.New(&scripted.Options{Replies: []scripted.Reply{{Silent: true}}})
		k := &talk{TB: t, script: script}
		ctx, cancel := context.WithTimeout(k.log.Context(t.Context()), time.Second)
		defer cancel()
		s, err := realtime.New(script, nil).Session(ctx, nil)
		must(t, err)
		if _, err := s.Generate(t.Context(), nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := s.Next(); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		must(t, s.Close())
		k.expect("errors", k.errorsTold())
		if n := script.Ledger().Open; n != 0 {
			t.Errorf("%d connections open", n)
		}
		if _, err := realtime.New(script, nil).Session(ctx, nil); err == nil {
			t.Error("a session in a context that ended")
		}
	})
}

func TestAGenerationHasAnEnd(t *testing.T) {
	o := &scripted.Options{Replies: []scripted.Reply{{Text: strings.Repeat("x", 1000), Open: true}}, PerChar: time.Second, Speed: 1e9}
	run(t, o, nil, func(k *talk) {
		a := k.generate(nil) // a thousand seconds of audio
		if a.err == nil || a.audio < 10*time.Minute || a.audio > 11*time.Minute {
			k.Error(a)
		}
		if r := k.recoverable(); len(r) != 1 || !r[0] {
			k.Errorf("%q", k.errorsTold())
		}
		synctest.Wait()
		if n := k.script.Ledger().Cancels; n != 1 {
			k.Errorf("%d cancels", n)
		}
	})
}

func TestSaying(t *testing.T) {
	run(t, &scripted.Options{}, nil, func(k *talk) {
		g, err := k.s.Say(k.Context(), "As you wish.")
		must(k, err)
		if a := k.collect(g); a.text != "As you wish." || !g.Requested() {
			k.Error(a)
		}
	})
	c := scripted.All
	c.Say = false
	run(t, &scripted.Options{Capabilities: &c}, nil, func(k *talk) {
		if _, err := k.s.Say(k.Context(), "As you wish."); !errors.Is(err, realtime.ErrUnsupported) {
			k.Error(err)
		}
	})
}

func TestTextWithoutAudio(t *testing.T) {
	run(t, nil, &realtime.SessionOptions{TextOnly: true}, func(k *talk) {
		g, err := k.s.Generate(k.Context(), nil)
		must(k, err)
		m, err := g.NextMessage(k.Context())
		must(k, err)
		if !m.TextOnly() {
			k.Error("it has audio")
		}
		if text, err := m.NextText(k.Context()); text != "Yes." || err != nil {
			k.Error(text, err)
		}
	})
}

func TestCancelledCallsAreTold(t *testing.T) {
	run(t, nil, nil, func(k *talk) {
		k.script.Emit(&driver.ToolCallsCancelled{CallIDs: []string{"c1"}})
		k.expect("events", k.told(), "calls cancelled c1")
	})
}

func TestErrorsOfTheProviderAreTold(t *testing.T) {
	run(t, nil, nil, func(k *talk) {
		k.script.Emit(&driver.Error{Err: &model.Error{Kind: model.KindStatus, Provider: "scripted", Status: 400}})
		synctest.Wait()
		k.expect("errors", k.errorsTold(), "recoverable: scripted: status error (status 400)")
	})
}

func TestTheProviderWaitsForItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := scripted.New(nil)
		s, err := realtime.New(script, nil).Session(t.Context(), nil)
		must(t, err)
		synctest.Wait()
		for range 300 {
			script.Emit(&driver.SpeechStarted{})
		}
		synctest.Wait()
		for range 300 { // none is lost
			if _, err := s.Next(); err != nil {
				t.Fatal(err)
			}
		}
		must(t, s.Close())
	})
}

// Requests that are made at once wait for each other, also while none has begun, and for an answer to the user that
// the provider begins at the same time.
func TestRequestsWaitForEachOther(t *testing.T) {
	o := &scripted.Options{Latency: 100 * time.Millisecond, Replies: []scripted.Reply{{Text: "One."}, {Text: "Two."}, {Text: "Three."}, {Text: "Four."}}}
	run(t, o, nil, func(k *talk) {
		got := make(chan string, 3)
		for range 2 {
			go func() { got <- k.generate(nil).text }()
		}
		all := []string{<-got, <-got}
		slices.Sort(all)
		k.expect("answers", all, "One.", "Two.")
		k.expect("errors", k.errorsTold())

		k.hear(time.Second, true)
		k.hear(280*time.Millisecond, false)
		if err := k.s.Push(audio.Silence(40*time.Millisecond, 16000, 1)); err != nil { // the turn is over, as the model sees it
			k.Error(err)
		}
		k.expect("asked for", []string{k.generate(nil).text}, "Four.")
		for _, g := range k.gens {
			k.expect("to the user", []string{k.collect(g).text}, "Three.")
		}
		if l := k.script.Ledger(); len(l.Responses) != 4 {
			k.Errorf("%+v", l.Responses)
		}
	})
}

// The news that an answer began which is no longer wanted comes late, and must not stop the next one.
func TestAWithdrawnRequestDoesNotStopTheNext(t *testing.T) {
	o := &scripted.Options{Latency: 100 * time.Millisecond, Replies: []scripted.Reply{{Text: "One."}, {Text: "Two."}}}
	run(t, o, nil, func(k *talk) {
		ctx, cancel := context.WithTimeout(k.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := k.s.Generate(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			k.Error(err)
		}
		if a := k.generate(nil); a.text != "Two." || a.err != nil {
			k.Error(a)
		}
		time.Sleep(time.Second)
		k.expect("accounts", k.accounts(), "resp_0_1 discarded true", "resp_0_3 delivered false")
	})
}
