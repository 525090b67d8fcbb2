// Package stttest is the conformance kit for speech recognisers: it runs a driver behind the front
// of package stt against its provider, or a sandbox that speaks the provider's protocol, and checks
// what users rely on: the text comes, faults are survived or told, nothing leaks, and the usage
// that was booked is what the provider served. Each case says in one sentence what it wants, and
// prints it when the driver does not.
//
//	func TestConformance(t *testing.T) { stttest.Run(t, stttest.Harness{Start: ..., Speech: ..., Text: "..."}) }
package stttest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

// Served is the provider's ledger.
type Served struct {
	Audio time.Duration // taken, and thus billed
	Calls int           // streams or requests that reached the provider
	Dials int           // connections that were made; 0 skips the check of connection events
	Open  int           // connections in use by a stream that is not closed
}

// Provider is one provider, made for one case.
type Provider struct {
	Driver driver.STT
	Served func() Served
}

// Harness tells the kit about the driver. The same provider must understand Speech as Text.
type Harness struct {
	// Start makes a provider with a fault. It releases what it started with t.Cleanup. No Driver means
	// that the provider cannot do that.
	Start func(t testing.TB, p fault.Plan) Provider
	// Speech is an utterance with at least half a second of silence after it.
	Speech audio.Frame
	// Text is what is said in it.
	Text string
	// Secret, if set, is the key given to the driver: no error may contain it.
	Secret string
	// Skip says why a fault cannot be injected.
	Skip map[fault.Kind]string
	// Tolerance is how far usage may be from the ledger: default 1 ms.
	Tolerance time.Duration
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
	if h.Tolerance == 0 {
		h.Tolerance = time.Millisecond
	}
	p := h.Start(t, c.Plan)
	if p.Driver == nil {
		t.Skipf("the harness has no %q", c.Plan.Kind)
	}
	k := &kit{TB: t, h: h, why: c.Why, fault: c.Plan.Kind, p: p}
	limit := 10 * time.Second
	if c.Plan.Kind.Hangs() {
		limit = 2 * time.Second
	}
	k.m = stt.New(k.p.Driver, &stt.ModelOptions{Conn: model.ConnOptions{
		MaxRetry: 2, RetryInterval: 50 * time.Millisecond, Timeout: limit,
	}})
	c.run(k)
	k.noLeaks()
}

type kit struct {
	testing.TB
	h     Harness
	why   string
	fault fault.Kind
	p     Provider
	m     *stt.Model
	log   modeltest.Log
}

// check fails the case with its sentence and what was seen.
func (k *kit) check(ok bool, format string, args ...any) {
	k.Helper()
	if !ok {
		k.Logf("the contract: %s", k.why)
		k.Fatalf(format, args...)
	}
}

// hearing is what a transcription gave.
type hearing struct {
	events []*stt.Event
	err    error // nil for a good end
}

func (h hearing) text() string {
	var texts []string
	for _, e := range h.events {
		if e.Kind == stt.Final {
			texts = append(texts, e.Text())
		}
	}
	return strings.Join(texts, " ")
}

// hangUp is how long a provider may take to hang up.
const hangUp = 5 * time.Second

// transcribe runs the speech through a stream, or through one recognition of a batch driver.
func (k *kit) transcribe() hearing {
	k.Helper()
	ctx := k.log.Context(k.Context())
	if !k.m.Streaming() {
		r, err := k.m.Recognize(ctx, k.h.Speech, nil)
		if err != nil {
			return hearing{err: err}
		}
		return hearing{events: []*stt.Event{{Kind: stt.Final, Alternatives: []stt.Alternative{r.Alternative}}}}
	}
	s, err := k.m.Stream(ctx, nil)
	k.check(err == nil, "Stream: %v", err)
	defer s.Close()
	k.push(s)
	if k.fault == fault.HangUp {
		for end := time.Now().Add(hangUp); len(k.log.Errors()) == 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond) // a polite end counts as one once the input has ended
		}
	}
	_ = s.EndInput()
	var h hearing
	for {
		e, err := s.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				h.err = err
			}
			return h
		}
		h.events = append(h.events, e)
	}
}

// push pushes the speech in frames of 20 ms, as fast as the stream takes it.
func (k *kit) push(s *stt.Stream) {
	k.Helper()
	f := k.h.Speech
	step := audio.SamplesIn(20*time.Millisecond, f.Rate) * f.Channels
	for at := 0; at < len(f.Data); at += step {
		err := s.Push(audio.Frame{Data: f.Data[at:min(at+step, len(f.Data))], Rate: f.Rate, Channels: f.Channels})
		if err != nil {
			return // Next tells why
		}
	}
}

// usage checks that what was booked is what was served.
func (k *kit) usage() {
	k.Helper()
	var got time.Duration
	for _, e := range modeltest.Events[*metrics.STT](&k.log) {
		got += e.AudioDuration
		i := k.p.Driver.Info()
		k.check(e.Metadata.ModelName == i.Model && e.Metadata.ModelProvider == i.Provider && e.Label == i.Label,
			"usage is booked on %q %q", e.Label, e.Metadata)
		k.check(e.Source != metrics.FromProvider || e.Raw != "", "what the provider wrote about its usage is not there: %+v", e)
	}
	want := k.p.Served().Audio
	k.check((got-want).Abs() <= k.h.Tolerance, "booked %v of audio, the provider served %v", got, want)
}

// noLeaks checks that connections are given back and that no error told the key.
func (k *kit) noLeaks() {
	k.Helper()
	var open int
	for range 200 {
		if open = k.p.Served().Open; open == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	k.check(open == 0, "%d connections are still in use after the end", open)
	for _, e := range k.log.Errors() {
		if k.h.Secret != "" {
			k.check(!strings.Contains(fmt.Sprintf("%v %+v", e.Err, e.Err), k.h.Secret), "an error contains the key")
		}
	}
}
