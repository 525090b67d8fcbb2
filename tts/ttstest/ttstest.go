// Package ttstest is the conformance kit for speech synthesisers: it runs a driver behind the front
// of package tts against its provider, or a sandbox that speaks the provider's protocol, and checks
// what users rely on: the audio comes, faults are survived or told, nothing is said twice, nothing
// leaks, and the usage that was booked is what the provider served. Each case says in one sentence
// what it wants, and prints it when the driver does not.
//
//	func TestConformance(t *testing.T) { ttstest.Run(t, ttstest.Harness{Start: ...}) }
package ttstest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
)

// Served is the provider's ledger.
type Served struct {
	Characters int64 // of requests and segments that it bills
	Calls      int   // streams or requests that reached the provider
	Dials      int   // connections that were made; 0 skips the check of connection events
	Open       int   // connections in use by a stream that is not closed
}

// Provider is one provider, made for one case.
type Provider struct {
	Driver driver.TTS
	Served func() Served
}

// Harness tells the kit about the driver.
type Harness struct {
	// Start makes a provider with a fault. It releases what it started with t.Cleanup. No Driver means
	// that the provider cannot do that.
	Start func(t testing.TB, p fault.Plan) Provider
	// Text is what is said: default two sentences with letters outside of ASCII.
	Text string
	// Secret, if set, is the key given to the driver: no error may contain it.
	Secret string
	// CountReplays says that the provider bills attempts that failed after they took text.
	CountReplays bool
	// Skip says why a fault cannot be injected.
	Skip map[fault.Kind]string
}

// Case is one demand on a driver.
type Case struct {
	Name string
	Why  string // the sentence that is printed when the driver does not meet it
	Plan fault.Plan
	run  func(k *kit)
}

// Run runs all cases as subtests.
func Run(t *testing.T, h Harness) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) { c.Run(t, h) })
	}
}

// Run runs one case. It may be used inside of a testing/synctest bubble.
func (c Case) Run(t testing.TB, h Harness) {
	t.Helper()
	if why, skip := h.Skip[c.Plan.Kind]; skip {
		t.Skip(why)
	}
	if h.Text == "" {
		h.Text = "Grüße aus dem Hafen, dear friend of mine. The ship leaves at noon today."
	}
	p := h.Start(t, c.Plan)
	if p.Driver == nil {
		t.Skipf("the harness has no %q", c.Plan.Kind)
	}
	k := &kit{TB: t, h: h, why: c.Why, p: p}
	limit := 10 * time.Second
	if c.Plan.Kind.Hangs() {
		limit = 2 * time.Second
	}
	k.m = tts.New(k.p.Driver, &tts.ModelOptions{CountReplays: h.CountReplays, Conn: model.ConnOptions{
		MaxRetry: 2, RetryInterval: 50 * time.Millisecond, Timeout: limit,
	}})
	c.run(k)
	k.noLeaks()
}

type kit struct {
	testing.TB
	h   Harness
	why string
	p   Provider
	m   *tts.Model
	log modeltest.Log
}

// check fails the case with its sentence and what was seen.
func (k *kit) check(ok bool, format string, args ...any) {
	k.Helper()
	if !ok {
		k.Logf("the contract: %s", k.why)
		k.Fatalf(format, args...)
	}
}

// speech is what a stream gave.
type speech struct {
	audio time.Duration
	words []tts.Word
	err   error // nil for a good end
}

// speak says the text word by word.
func (k *kit) speak() speech {
	k.Helper()
	s := k.m.Stream(k.log.Context(k.Context()))
	defer s.Close()
	for _, w := range strings.SplitAfter(k.h.Text, " ") {
		if s.Push(w) != nil {
			break // Next tells why
		}
	}
	_ = s.EndInput()
	return k.drain(s)
}

func (k *kit) drain(s *tts.Stream) (out speech) {
	k.Helper()
	for {
		a, err := s.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			out.err = err
			return out
		}
		if f := a.Frame; len(f.Data) > 0 {
			k.check(f.Channels == 1 && f.Rate == k.m.Capabilities().SampleRate, "frame of %d channels at %d Hz", f.Channels, f.Rate)
		}
		out.audio += a.Frame.Duration()
		out.words = append(out.words, a.Words...)
	}
}

// usage checks that what was booked is what was served.
func (k *kit) usage() {
	k.Helper()
	var got int64
	for _, e := range modeltest.Events[*metrics.TTS](&k.log) {
		got += e.CharactersCount
		i := k.p.Driver.Info()
		k.check(e.Metadata.ModelName == i.Model && e.Metadata.ModelProvider == i.Provider && e.Label == i.Label,
			"usage is booked on %q %q", e.Label, e.Metadata)
	}
	want := k.p.Served().Characters
	k.check(got == want, "booked %d characters, the provider served %d", got, want)
}

// idle waits until no stream is in use.
func (k *kit) idle() (open int) {
	for range 1000 { // some finish what they say although nobody listens
		if open = k.p.Served().Open; open == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return open
}

// noLeaks checks that connections are given back and that no error told the key.
func (k *kit) noLeaks() {
	k.Helper()
	open := k.idle()
	k.check(open == 0, "%d connections are still in use after the end", open)
	for _, e := range k.log.Errors() {
		if k.h.Secret != "" {
			k.check(!strings.Contains(fmt.Sprintf("%v %+v", e.Err, e.Err), k.h.Secret), "an error contains the key")
		}
	}
}
