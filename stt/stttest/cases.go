package stttest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

// Cases returns the demands.
func Cases() []Case {
	survived := "a provider that fails once is asked again: the whole text comes, and one recoverable error event tells"
	return []Case{
		{"info", "a driver says who it is, and implements Recognizer, Streamer or both", fault.Plan{}, infoCase},
		{"transcribes", "the speech becomes its text, and the usage is what the provider served", fault.Plan{}, textCase},
		{"connections", "every use of a connection tells in one event how it came about, and no dial goes untold", fault.Plan{}, connectionsCase},
		{"times", "times are ordered and lie within the audio", fault.Plan{}, timesCase},
		{"silence", "silence gives no text and no error", fault.Plan{}, silenceCase},
		{"usage missing", "a provider that states no usage is booked by the audio that was sent", fault.Once(fault.UsageMissing), textCase},
		{"refused once", survived, fault.Once(fault.Refuse), survivedCase},
		{"slow dial", survived, fault.Once(fault.SlowDial), survivedCase},
		{"dropped once", survived, fault.Once(fault.Reset), survivedCase},
		{"hung up once", survived, fault.Once(fault.HangUp), survivedCase},
		{"status 429 once", survived, fault.Once(fault.RateLimit), survivedCase},
		{"status 503 once", survived, fault.Once(fault.ServerError), survivedCase},
		{"malformed once", survived, fault.Once(fault.Malformed), survivedCase},
		{"closed early once", survived, fault.Once(fault.CloseEarly), survivedCase},
		{"oversized once", survived, fault.Once(fault.Oversized), survivedCase},
		{"stalled once", survived, fault.Once(fault.Stall), survivedCase},
		{"half open once", survived, fault.Once(fault.HalfOpen), survivedCase},
		{"double final", "a result that is sent twice is heard once", fault.Once(fault.DoubleFinal), textCase},
		{"usage repeated", "usage that is stated twice is booked once", fault.Once(fault.UsageRepeated), textCase},
		{"no secure connection", "a connection that is not secure is not used: the call ends in an error, after the attempts that were allowed", fault.Always(fault.TLSFailure), goneCase},
		{"refused always", "a provider that stays away ends in a retryable error, after the attempts that were allowed", fault.Always(fault.Refuse), goneCase},
		{"stalled", "a provider that says nothing ends in an error and not in a wait without end", fault.Always(fault.Stall), goneCase},
		{"wrong key", "a refusal for good is not tried again and says its status", fault.Always(fault.Unauthorized), unauthorizedCase},
		{"close", "Close ends a stream at once, books what was sent, and may be called twice", fault.Plan{}, closeCase},
		{"cancelled while it hears", "the end of the context books what was sent, once", fault.Plan{}, cancelledCase},
		{"cancelled", "the end of the context ends the call with its error and is no error event", fault.Always(fault.Stall), cancelCase},
		{"driver stream", "after Close a driver's stream fails at Next and Close works again", fault.Plan{}, driverCase},
	}
}

func infoCase(k *kit) {
	i := k.p.Driver.Info()
	k.check(i.Label != "" && i.Provider != "" && i.Provider == strings.ToLower(i.Provider), "Info is %+v", i)
	_, r := k.p.Driver.(driver.Recognizer)
	_, s := k.p.Driver.(driver.Streamer)
	k.check(r || s, "%T implements neither", k.p.Driver)
}

func textCase(k *kit) {
	h := k.transcribe()
	k.check(h.err == nil, "error: %v", h.err)
	k.check(h.text() == k.h.Text, "heard %q, want %q", h.text(), k.h.Text)
	k.check(len(k.log.Errors()) == 0, "error events: %v", k.log.Errors())
	k.usage()
}

func connectionsCase(k *kit) {
	h := k.transcribe()
	k.check(h.err == nil, "error: %v", h.err)
	dials := k.p.Served().Dials
	if dials == 0 {
		k.Skip("the harness does not count connections")
	}
	conns, i := modeltest.Events[*metrics.Connection](&k.log), k.p.Driver.Info()
	fresh := 0
	for _, c := range conns {
		k.check(c.Kind == "stt" && c.Metadata == (metrics.Metadata{ModelName: i.Model, ModelProvider: i.Provider}), "event: %+v", c)
		if !c.Reused {
			fresh++
		}
	}
	k.check(len(conns) > 0 && fresh == dials, "%d events of %d dials, the provider saw %d", len(conns), fresh, dials)
	acquired := 0
	for _, e := range modeltest.Events[*metrics.STT](&k.log) {
		if e.Acquired {
			acquired++
		}
	}
	k.check(acquired == len(conns), "%d events of usage report an acquisition, there were %d", acquired, len(conns))
}

func timesCase(k *kit) {
	h := k.transcribe()
	k.check(h.err == nil, "error: %v", h.err)
	limit := k.h.Speech.Duration() + 100*time.Millisecond
	var last time.Duration
	for _, e := range h.events {
		for _, a := range e.Alternatives {
			k.check(a.Start >= 0 && a.Start <= a.End && a.End <= limit, "%v %q spans %v to %v", e.Kind, a.Text, a.Start, a.End)
			if e.Kind == stt.Final {
				k.check(a.End >= last, "final %q ends at %v, before the one before it", a.Text, a.End)
				last = a.End
			}
			for _, w := range a.Words {
				k.check(w.Start >= 0 && w.Start <= w.End && w.End <= limit, "word %q spans %v to %v", w.Text, w.Start, w.End)
			}
		}
	}
}

func silenceCase(k *kit) {
	k.h.Speech = audio.Silence(time.Second, k.h.Speech.Rate, k.h.Speech.Channels)
	h := k.transcribe()
	k.check(h.err == nil && h.text() == "", "text %q, error %v", h.text(), h.err)
	k.usage()
}

func survivedCase(k *kit) {
	h := k.transcribe()
	k.check(h.err == nil, "error: %v", h.err)
	k.check(h.text() == k.h.Text, "heard %q, want %q", h.text(), k.h.Text)
	r := k.log.Recoverable()
	k.check(len(r) == 1 && r[0], "error events: %v", k.log.Errors())
	k.usage()
}

func goneCase(k *kit) {
	h := k.transcribe()
	var e *model.Error
	k.check(errors.As(h.err, &e), "error is %v, want a *model.Error", h.err)
	r := k.log.Recoverable()
	k.check(len(r) == 3 && r[0] && r[1] && !r[2], "error events: %v", k.log.Errors())
	if k.m.Streaming() {
		k.usage() // audio that a batch provider took and never answered is nobody's usage
	}
}

func unauthorizedCase(k *kit) {
	h := k.transcribe()
	var e *model.Error
	k.check(errors.As(h.err, &e) && e.Kind == model.KindStatus && e.Status == 401, "error is %v", h.err)
	r := k.log.Recoverable()
	k.check(len(r) == 1 && !r[0], "error events: %v", k.log.Errors())
}

func closeCase(k *kit) {
	if !k.m.Streaming() {
		k.Skip("not streaming")
	}
	s, err := k.m.Stream(k.log.Context(k.Context()), nil)
	k.check(err == nil, "Stream: %v", err)
	k.push(s)
	k.served()
	for range 2 {
		err = s.Close()
		k.check(err == nil, "Close: %v", err)
	}
	k.check(len(k.log.Errors()) == 0, "error events: %v", k.log.Errors())
	n := len(modeltest.Events[*metrics.STT](&k.log))
	k.usage()
	k.check(n == len(modeltest.Events[*metrics.STT](&k.log)), "usage was booked after Close")
	_, err = s.Next()
	k.check(errors.Is(err, stt.ErrClosed), "Next after Close: %v", err)
}

// served waits until the provider has got all audio.
func (k *kit) served() {
	for range 200 {
		if k.p.Served().Audio >= k.h.Speech.Duration()-k.h.Tolerance {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func cancelledCase(k *kit) {
	if !k.m.Streaming() {
		k.Skip("not streaming")
	}
	ctx, cancel := context.WithCancel(k.log.Context(k.Context()))
	defer cancel()
	s, err := k.m.Stream(ctx, nil)
	k.check(err == nil, "Stream: %v", err)
	k.push(s)
	k.served()
	cancel()
	for err == nil {
		_, err = s.Next()
	}
	k.check(errors.Is(err, context.Canceled), "error: %v", err)
	_ = s.Close()
	k.check(len(k.log.Errors()) == 0, "error events: %v", k.log.Errors())
	k.usage()
}

func cancelCase(k *kit) {
	ctx, cancel := context.WithTimeout(k.log.Context(k.Context()), 300*time.Millisecond)
	defer cancel()
	var err error
	if k.m.Streaming() {
		var s *stt.Stream
		s, err = k.m.Stream(ctx, nil)
		k.check(err == nil, "Stream: %v", err)
		defer s.Close()
		k.push(s)
		for err == nil {
			_, err = s.Next()
		}
	} else {
		_, err = k.m.Recognize(ctx, k.h.Speech, nil)
	}
	k.check(errors.Is(err, context.DeadlineExceeded), "error: %v", err)
	k.check(len(k.log.Errors()) == 0, "error events: %v", k.log.Errors())
}

func driverCase(k *kit) {
	d, ok := k.p.Driver.(driver.Streamer)
	if !ok {
		k.Skip("not streaming")
	}
	s, err := d.Open(k.Context(), driver.Options{})
	k.check(err == nil, "Open: %v", err)
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := s.Next(context.Background()); err != nil {
				ended <- err
				return
			}
		}
	}()
	time.Sleep(10 * time.Millisecond)
	_ = s.Close()
	select {
	case err = <-ended:
		k.check(err != nil, "Next ended well")
	case <-time.After(2 * time.Second):
		k.check(false, "Close did not end Next")
	}
	_ = s.Close()
}
