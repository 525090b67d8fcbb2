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
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

// Cases returns the demands.
func Cases() []Case {
	survived := "a provider that fails once is asked again: the whole text comes, and one recoverable error event tells"
	return []Case{
		{"info", "a driver says who it is, and implements Recognizer, Streamer or both", None, infoCase},
		{"transcribes", "the speech becomes its text, and the usage is what the provider served", None, textCase},
		{"times", "times are ordered and lie within the audio", None, timesCase},
		{"silence", "silence gives no text and no error", None, silenceCase},
		{"usage missing", "a provider that states no usage is booked by the audio that was sent", NoUsage, textCase},
		{"refused once", survived, Refuse, survivedCase},
		{"slow dial", survived, SlowDial, survivedCase},
		{"dropped once", survived, Drop, survivedCase},
		{"hung up once", survived, HangUp, survivedCase},
		{"status 429 once", survived, TooMany, survivedCase},
		{"status 503 once", survived, ServerError, survivedCase},
		{"malformed once", survived, Malformed, survivedCase},
		{"refused always", "a provider that stays away ends in a retryable error, after the attempts that were allowed", RefuseAlways, goneCase},
		{"stalled", "a provider that says nothing ends in an error and not in a wait without end", StallAlways, goneCase},
		{"wrong key", "a refusal for good is not tried again and says its status", Unauthorized, unauthorizedCase},
		{"close", "Close ends a stream at once, books what was sent, and may be called twice", None, closeCase},
		{"cancelled", "the end of the context ends the call with its error and is no error event", StallAlways, cancelCase},
		{"driver stream", "after Close a driver's stream fails at Next and Close works again", None, driverCase},
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
	for range 200 {
		if k.p.Served().Audio >= k.h.Speech.Duration()-k.h.Tolerance {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
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
