package realtime_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
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

var (
	randomSeed = flag.Uint64("random.seed", 0, "replay the random session with this `SEED`; 0 takes fresh ones")
	randomRuns = flag.Int("random.runs", 150, "how many random sessions TestSessionRandom runs")
)

// TestSessionRandom drives sessions with everything that can happen to them, in any order, and checks what must
// always hold. A failure names the seed that repeats it.
func TestSessionRandom(t *testing.T) {
	if *randomSeed != 0 {
		randomSession(t, *randomSeed)
		return
	}
	for range *randomRuns {
		seed := rand.Uint64()
		if !t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { randomSession(t, seed) }) {
			return
		}
	}
}

func randomSession(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	o, so := randomScript(r)
	synctest.Test(t, func(t *testing.T) {
		script := scripted.New(o)
		k := &talk{TB: t, script: script}
		k.open(realtime.New(script, &realtime.ModelOptions{Conn: model.ConnOptions{MaxRetry: 8}}), so)
		asked := make(chan *realtime.Generation, 100)
		for range 5 + r.IntN(20) {
			randomStep(k, r, so.ClientTurns, asked)
			time.Sleep(time.Duration(r.IntN(400)) * time.Millisecond)
		}
		if r.IntN(3) > 0 {
			time.Sleep(time.Minute)
			agree(k, o)
		}
		k.close()
		close(asked)
		for g := range asked {
			isOver(t, g)
		}
		for _, g := range k.gens {
			isOver(t, g)
		}
		seen := map[string]bool{}
		for _, e := range modeltest.Events[*metrics.Realtime](&k.log) {
			if e.RequestID != "" && seen[e.RequestID] {
				t.Errorf("%s was booked twice", e.RequestID)
			}
			seen[e.RequestID] = true
		}
	})
}

func randomScript(r *rand.Rand) (*scripted.Options, *realtime.SessionOptions) {
	c := scripted.All
	if r.IntN(3) == 0 {
		c = *immutable()
	}
	c.AutoToolReply = r.IntN(3) == 0
	c.BilledByTime = r.IntN(3) == 0
	c.UserTranscription = r.IntN(4) > 0
	if r.IntN(3) == 0 {
		c.MaxAge = time.Duration(1+r.IntN(20)) * time.Second
	}
	o := &scripted.Options{
		Capabilities: &c, Latency: time.Duration(r.IntN(3)) * 40 * time.Millisecond, Speed: []float64{1, 4, 1e6}[r.IntN(3)],
		TranscriptDelay: time.Duration(r.IntN(3)) * 300 * time.Millisecond, NoInterrupt: r.IntN(4) == 0,
		NoCancel: r.IntN(4) == 0, NoDelete: r.IntN(6) == 0, NoItems: r.IntN(6) == 0, Resumption: r.IntN(2) == 0, NoAcks: r.IntN(10) == 0,
	}
	for range 30 {
		o.Texts = append(o.Texts, "Some words.")
		reply := scripted.Reply{Text: long[:r.IntN(len(long))], TextOnly: r.IntN(4) == 0, TTFT: time.Duration(r.IntN(800)) * time.Millisecond}
		if r.IntN(4) == 0 {
			reply.Calls = []llm.ToolCall{{Name: "look"}, {Name: "see"}}
		}
		switch r.IntN(20) {
		case 0:
			reply.Status = driver.Failed
		case 1:
			reply.Status = driver.Incomplete
		case 2:
			reply.Open = true
		case 3:
			reply.Silent = true
		}
		o.Replies = append(o.Replies, reply)
	}
	for i := range r.IntN(6) {
		o.Faults = append(o.Faults, scripted.Fault{Conn: i, N: r.IntN(3), When: scripted.When(r.IntN(5)), Kind: scripted.FaultKind(r.IntN(8))})
		if f := &o.Faults[len(o.Faults)-1]; f.Kind == scripted.Panic {
			f.Kind = scripted.Fail // which would end the session
		}
	}
	return o, &realtime.SessionOptions{ClientTurns: r.IntN(3) == 0, TextOnly: r.IntN(6) == 0, Instructions: "Be kind."}
}

// randomStep does one thing. What may wait for long does so in the background.
func randomStep(k *talk, r *rand.Rand, clientTurns bool, asked chan<- *realtime.Generation) {
	ctx, cancel := context.WithTimeout(k.Context(), time.Duration(1+r.IntN(20))*time.Second)
	later := func(f func()) {
		go func() {
			defer cancel()
			f()
		}()
	}
	ask := func(q *realtime.Request) {
		later(func() {
			if g, err := k.s.Generate(ctx, q); err == nil {
				asked <- g
			}
		})
	}
	switch n := r.IntN(16); n {
	case 0, 1, 2:
		if clientTurns {
			_ = k.s.StartTurn()
		}
		k.hear(time.Duration(100+r.IntN(1500))*time.Millisecond, true)
		if clientTurns && r.IntN(4) > 0 {
			_ = k.s.Commit()
			ask(nil)
		}
	case 3, 4:
		k.hear(time.Duration(100+r.IntN(1500))*time.Millisecond, false)
	case 5:
		_ = k.s.Clear()
	case 6, 7:
		ask(&realtime.Request{Instructions: "Do."})
	case 8:
		ask(&realtime.Request{Tools: &[]llm.ToolSpec{{Name: "other"}}})
	case 9:
		k.s.Interrupt()
	case 10:
		k.script.Break([]error{down, nil}[r.IntN(2)])
	case 11:
		k.script.Emit(&driver.GoAway{In: time.Duration(r.IntN(5)) * time.Second})
	case 12:
		text := fmt.Sprint("Instructions ", r.IntN(3))
		later(func() { _ = k.s.UpdateInstructions(ctx, text) })
	case 13, 14:
		c := randomContext(k.s.Context(), r)
		later(func() { _ = k.s.UpdateContext(ctx, c) })
	case 15:
		for it := range k.s.Context().Messages() {
			if it.Role == chat.Assistant {
				_ = k.s.Truncate(it.ID, 100*time.Millisecond, "Once")
			}
		}
	}
	if ctx.Err() == nil {
		context.AfterFunc(k.Context(), cancel)
	}
}

// randomContext adds outputs to calls that lack them, and changes something else.
func randomContext(c *chat.Context, r *rand.Rand) *chat.Context {
	outputs := map[string]bool{}
	for it := range c.All() {
		if o, ok := it.(*chat.FunctionCallOutput); ok {
			outputs[o.CallID] = true
		}
	}
	for _, it := range c.Items() {
		if f, ok := it.(*chat.FunctionCall); ok && !outputs[f.CallID] {
			c.Add(&chat.FunctionCallOutput{CallID: f.CallID, Output: "done", NoReply: r.IntN(2) == 0})
		}
	}
	items := c.Items()
	switch r.IntN(4) {
	case 0:
		c.Add(chat.NewMessage(chat.User, "By the way."))
	case 1:
		if len(items) > 0 {
			if m, ok := items[r.IntN(len(items))].(*chat.Message); ok {
				_ = c.Remove(m.ID)
			}
		}
	case 2:
		if len(items) > 0 {
			if m, ok := items[r.IntN(len(items))].(*chat.Message); ok {
				x := *m
				x.Content = []chat.Part{chat.Text("Something else.")}
				c.Upsert(&x)
			}
		}
	}
	return c
}

// agree checks that both sides have the same conversation, once all is quiet.
func agree(k *talk, o *scripted.Options) {
	if k.s.Push(sound(step)) != nil || o.NoAcks || !o.Capabilities.MutableContext || o.NoDelete || !o.Capabilities.UserTranscription {
		return // it has ended, or does not promise to
	}
	if slices.ContainsFunc(o.Faults, func(f scripted.Fault) bool { return f.Kind == scripted.Stall }) {
		return // nobody notices a provider that is silent while nothing is asked of it
	}
	c := k.s.Context()
	if k.s.UpdateContext(k.Context(), c) != nil {
		return // the provider refuses what does not fit it
	}
	time.Sleep(3 * time.Second) // what is on its way arrives
	var ours, theirs []string
	for it := range k.s.Context().All() {
		ours = append(ours, it.Head().ID)
	}
	for _, it := range k.script.Ledger().Items {
		if m, ok := it.(*chat.Message); !ok || m.Text() != "" {
			theirs = append(theirs, it.Head().ID)
		}
	}
	if o.NoItems { // what was said while something was on its way is anywhere near it
		slices.Sort(ours)
		slices.Sort(theirs)
	}
	if !slices.Equal(ours, theirs) {
		k.Errorf("we have %q, the model has %q", ours, theirs)
	}
}

func isOver(t *testing.T, g *realtime.Generation) {
	t.Helper()
	select {
	case <-g.Done():
	default:
		t.Errorf("generation %s goes on after the end", g.ResponseID())
	}
}
