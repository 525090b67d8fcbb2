// Package realtimetest is the conformance kit for realtime models: it holds conversations through a driver behind
// the front of package realtime with its provider, or a sandbox that speaks the provider's protocol, and checks
// what users rely on: what is said is heard and answered, the provider knows the conversation as the session
// does, faults are survived or told, nothing leaks, and the usage that was booked is what the provider
// billed, to the token. Each case says in one sentence what it wants, and prints it when the driver does not.
//
//	func TestConformance(t *testing.T) { realtimetest.Run(t, realtimetest.Harness{Start: ..., Speech: ..., Text: "..."}) }
//
// What a driver cannot do by its Capabilities is not asked of it: those cases are skipped and say why.
package realtimetest

import (
	"cmp"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
)

// Scene is what the provider acts out in one case.
type Scene struct {
	fault.Plan
	// Answer is what the provider answers, also when it is asked for an answer to what it was told. It may be
	// called by any goroutine, and also for answers that are thrown away.
	Answer func(Asked) Reply
}

// Asked is what an answer is made of: what the provider knows when it begins with it.
type Asked struct {
	Instructions string // of the answer, with or without those of the session
	Turns        []Turn // the conversation
	Tools        []llm.ToolSpec
}

// Turn is an entry of a conversation.
type Turn struct {
	Role string // "user", "assistant" or "system", "call" or "output" of a tool
	Text string // said, the arguments of a call, or an output
	Tool string // of a call
	// Audio is how much of it the provider remembers as sound; 0 for text.
	Audio  time.Duration
	Images int // in it
}

// Last is the newest turn.
func (a *Asked) Last() Turn {
	if len(a.Turns) == 0 {
		return Turn{}
	}
	return a.Turns[len(a.Turns)-1]
}

// Reply is an answer: text that is spoken, unless only text was asked for, then calls.
type Reply struct {
	Text  string
	Calls []llm.ToolCall
	// Status is how it ends: "" completes it, else "failed" or "incomplete", where the provider has such ends,
	// for Reason, in the provider's words. An answer that failed says and calls nothing.
	Status, Reason string
}

// Served is the provider's ledger.
type Served struct {
	Billed metrics.Usage // what it asks money for
	Stated metrics.Usage // what of it the client was told
	// Untold is what answers would cost besides that it had begun and never told anything of: a provider may bill it
	// or not.
	Untold metrics.Usage
	Dials  int // connections that reached it; 0 skips the checks that count them
	Open   int // connections that are not closed
}

// Provider is one provider, made for one case.
type Provider struct {
	Driver driver.Realtime
	Served func() Served
}

// Harness tells the kit about the driver.
type Harness struct {
	// Start makes a provider that acts out a scene. It releases what it started with t.Cleanup. No Driver
	// means that the provider cannot do that.
	Start func(t testing.TB, s Scene) Provider
	// Speech is what the user says in every turn, with the silence after it that ends a turn.
	Speech audio.Frame
	// Text is what is said in it.
	Text string
	// Secret, if set, is the key given to the driver: no error may contain it.
	Secret string
	// Skip says why a fault cannot be injected, or why a case, by its name, is not for this provider.
	Skip map[string]string
	// Patience is how long the kit waits for anything that is to come: default 15 s.
	Patience time.Duration
	// Tolerance is how far the time of connections may be from the ledger, where it is billed: default 0.5 s.
	Tolerance time.Duration
}

// Case is one demand on a driver.
type Case struct {
	Name string
	Why  string // the sentence that is printed when the driver does not meet it
	Plan fault.Plan
	run  func(k *kit)
}

// Run runs all cases as parallel subtests.
func Run(t *testing.T, h Harness) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			c.Run(t, h)
		})
	}
}

// timeout is how long the kit has the front wait for a provider. A harness whose provider cannot begin an answer
// that fast is given time by Patience only.
const timeout = 3 * time.Second

// Run runs one case. It may be used inside of a testing/synctest bubble.
func (c Case) Run(t testing.TB, h Harness) {
	t.Helper()
	if why := cmp.Or(h.Skip[string(c.Plan.Kind)], h.Skip[c.Name]); why != "" {
		t.Skip(why)
	}
	h.Patience, h.Tolerance = cmp.Or(h.Patience, 15*time.Second), cmp.Or(h.Tolerance, 500*time.Millisecond)
	k := &kit{TB: t, h: h, why: c.Why}
	k.p = h.Start(t, Scene{Plan: c.Plan, Answer: k.reply})
	if k.p.Driver == nil {
		t.Skipf("the harness has no %q", c.Plan.Kind)
	}
	k.d = &watched{Realtime: k.p.Driver}
	k.conn = model.ConnOptions{MaxRetry: 2, RetryInterval: 50 * time.Millisecond, Timeout: timeout}
	k.renew(0)
	defer k.over() // also of a case that fails
	c.run(k)
	k.over()
	k.noLeaks()
}

// renew makes the model anew, whose connections become so old.
func (k *kit) renew(maxAge time.Duration) {
	k.d.maxAge = maxAge
	k.m = realtime.New(k.d, &realtime.ModelOptions{Conn: k.conn})
	k.caps = k.m.Capabilities()
}
