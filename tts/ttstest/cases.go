package ttstest

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
)

// Cases returns the demands.
func Cases() []Case {
	survived := "a provider that fails before the first audio is asked again with the whole text, and one recoverable error event tells"
	return []Case{
		{"info", "a driver says who it is and at which rate it speaks, and implements Synthesizer, Streamer or both", fault.Plan{}, infoCase},
		{"speaks", "the text becomes audio, and every character is booked once", fault.Plan{}, speakCase},
		{"one shot", "a whole text becomes audio, and every character is booked once", fault.Plan{}, oneShotCase},
		{"words", "words with times, if the driver promises them, come in order and within the audio", fault.Plan{}, wordsCase},
		{"connections", "every use of a connection tells in one event how it came about, no dial goes untold, and a connection that is free is used again", fault.Plan{}, connectionsCase},
		{"times", "the time to the first byte is known and lies within the duration", fault.Plan{}, timesCase},
		{"refused once", survived, fault.Once(fault.Refuse), survivedCase},
		{"slow dial", survived, fault.Once(fault.SlowDial), survivedCase},
		{"dropped before audio", survived, fault.Once(fault.CloseEarly), survivedCase},
		{"no audio", survived, fault.Once(fault.Empty), survivedCase},
		{"stalled before audio", survived, fault.Once(fault.Silence), survivedCase},
		{"status 429 once", survived, fault.Once(fault.RateLimit), survivedCase},
		{"status 503 once", survived, fault.Once(fault.ServerError), survivedCase},
		{"malformed once", survived, fault.Once(fault.Malformed), survivedCase},
		{"oversized once", survived, fault.Once(fault.Oversized), survivedCase},
		{"double final", "an end that is sent twice is one end", fault.Once(fault.DoubleFinal), speakCase},
		{"usage missing", "a provider that states no usage is booked by the characters that were sent", fault.Once(fault.UsageMissing), speakCase},
		{"usage repeated", "usage that is stated twice is booked once", fault.Once(fault.UsageRepeated), speakCase},
		{"half open in the audio", "a provider that falls silent in the audio ends the speech with an error, and what may have been heard is not said again", fault.Once(fault.HalfOpen), heardCase},
		{"no secure connection", "a connection that is not secure is not used: the call ends in an error, after the attempts that were allowed", fault.Always(fault.TLSFailure), goneCase},
		{"dropped in the audio", "what may have been heard is not said again: the speech ends with an error and one final error event", fault.Once(fault.Reset), heardCase},
		{"refused always", "a provider that stays away ends in a *model.Error, after the attempts that were allowed", fault.Always(fault.Refuse), goneCase},
		{"wrong key", "a refusal for good is not tried again and says its status", fault.Always(fault.Unauthorized), unauthorizedCase},
		{"interrupted", "Close before the end cancels the speech: what was sent is booked as interrupted, and nothing waits for the provider", fault.Once(fault.Slow), interruptedCase},
		{"interrupted in the text", "a speech that is cut before its text is complete is booked with what the provider got of it", fault.Once(fault.Slow), cutTextCase},
		{"cancelled", "the end of the context ends the speech with its error, is no error event, and what was sent is booked", fault.Once(fault.Silence), cancelCase},
		{"driver stream", "after Close a driver's stream fails at Next and Close works again", fault.Once(fault.Slow), driverCase},
	}
}

func infoCase(k *kit) {
	i := k.p.Driver.Info()
	k.check(i.Label != "" && i.Provider != "" && i.Provider == strings.ToLower(i.Provider), "Info is %+v", i)
	k.check(k.p.Driver.Capabilities().SampleRate > 0, "Capabilities are %+v", k.p.Driver.Capabilities())
	_, a := k.p.Driver.(driver.Synthesizer)
	_, b := k.p.Driver.(driver.Streamer)
	k.check(a || b, "%T implements neither", k.p.Driver)
}

func (k *kit) good(s speech) {
	k.Helper()
	k.check(s.err == nil, "error: %v", s.err)
	k.check(s.audio > 0, "no audio")
	k.usage()
}

func speakCase(k *kit) {
	k.good(k.speak())
	k.check(len(k.log.Errors()) == 0, "error events: %v", k.log.Errors())
	n := len(modeltest.Events[*metrics.TTS](&k.log))
	k.check(!k.m.Streaming() || n == 1, "a segment gave %d events", n)
}

func oneShotCase(k *kit) {
	s := k.m.Synthesize(k.log.Context(k.Context()), k.h.Text)
	defer s.Close()
	k.good(k.drain(s))
	events := modeltest.Events[*metrics.TTS](&k.log)
	k.check(len(events) == 1 && events[0].CharactersCount == int64(utf8.RuneCountInString(k.h.Text)), "events: %+v", events)
}

func wordsCase(k *kit) {
	if !k.m.Capabilities().AlignedTranscript {
		k.Skip("no aligned transcript")
	}
	s := k.speak()
	k.good(s)
	var last time.Duration
	var texts []string
	for _, w := range s.words {
		k.check(w.Start >= last && w.End >= w.Start && w.End <= s.audio+100*time.Millisecond, "word %q spans %v to %v", w.Text, w.Start, w.End)
		last = w.Start
		texts = append(texts, strings.Fields(w.Text)...)
	}
	k.check(strings.Join(texts, " ") == strings.Join(strings.Fields(k.h.Text), " "), "words are %q", texts)
}

func connectionsCase(k *kit) {
	for range 3 {
		k.good(k.speak())
		k.idle()
	}
	dials := k.p.Served().Dials
	if dials == 0 {
		k.Skip("the harness does not count connections")
	}
	conns, i := modeltest.Events[*metrics.Connection](&k.log), k.p.Driver.Info()
	fresh := 0
	for _, c := range conns {
		k.check(c.Kind == "tts" && c.Metadata == (metrics.Metadata{ModelName: i.Model, ModelProvider: i.Provider}), "event: %+v", c)
		if !c.Reused {
			fresh++
		}
	}
	k.check(len(conns) >= 3 && fresh == dials, "%d events of %d dials, the provider saw %d", len(conns), fresh, dials)
	acquired := 0
	for _, e := range modeltest.Events[*metrics.TTS](&k.log) {
		if e.Acquired {
			acquired++
		}
	}
	k.check(acquired == len(conns), "%d events of usage report an acquisition, there were %d", acquired, len(conns))
	k.check(dials == 1, "the provider was dialled %d times for speeches one after the other", dials)
}

func timesCase(k *kit) {
	k.good(k.speak())
	for _, e := range modeltest.Events[*metrics.TTS](&k.log) {
		k.check(e.TTFB >= 0 && e.TTFB <= e.Duration && e.AudioDuration > 0, "ttfb %v, duration %v, audio %v", e.TTFB, e.Duration, e.AudioDuration)
		k.check(!e.Cancelled && (e.Outcome == "" || e.Outcome == metrics.Delivered), "outcome %s", e.Outcome)
	}
}

func survivedCase(k *kit) {
	k.good(k.speak())
	r := k.log.Recoverable()
	k.check(len(r) == 1 && r[0], "error events: %v", k.log.Errors())
}

func heardCase(k *kit) {
	s := k.speak()
	var e *model.Error
	k.check(errors.As(s.err, &e), "error is %v, want a *model.Error", s.err)
	k.check(s.audio > 0, "no audio came before the drop")
	r := k.log.Recoverable()
	k.check(len(r) == 1 && !r[0], "error events: %v", k.log.Errors())
	k.check(k.p.Served().Calls == 1, "the provider was called %d times", k.p.Served().Calls)
	k.usage()
}

func goneCase(k *kit) {
	s := k.speak()
	var e *model.Error
	k.check(errors.As(s.err, &e), "error is %v, want a *model.Error", s.err)
	r := k.log.Recoverable()
	k.check(len(r) == 3 && r[0] && r[1] && !r[2], "error events: %v", k.log.Errors())
	k.usage()
}

func unauthorizedCase(k *kit) {
	s := k.speak()
	var e *model.Error
	k.check(errors.As(s.err, &e) && e.Kind == model.KindStatus && e.Status == 401, "error is %v", s.err)
	r := k.log.Recoverable()
	k.check(len(r) == 1 && !r[0], "error events: %v", k.log.Errors())
}

func interruptedCase(k *kit) {
	s := k.m.Stream(k.log.Context(k.Context()))
	defer s.Close()
	_ = s.Push(k.h.Text)
	_ = s.EndInput()
	a, err := s.Next()
	k.check(err == nil && a != nil, "no audio: %v", err)
	for range 2 {
		err = s.Close()
		k.check(err == nil, "Close: %v", err)
	}
	events := modeltest.Events[*metrics.TTS](&k.log)
	k.check(len(events) > 0, "Close recorded nothing")
	last := events[len(events)-1]
	k.check(last.Outcome == metrics.Interrupted && last.Cancelled, "outcome %s, cancelled %v", last.Outcome, last.Cancelled)
	_, err = s.Next()
	k.check(errors.Is(err, tts.ErrClosed), "Next after Close: %v", err)
	k.check(len(k.log.Errors()) == 0, "error events: %v", k.log.Errors())
	k.usage()
}

func cutTextCase(k *kit) {
	s := k.m.Stream(k.log.Context(k.Context()))
	defer s.Close()
	text := []rune(k.h.Text)
	for _, part := range []string{string(text[:len(text)/3]), string(text[len(text)/3 : len(text)*4/5])} { // ends in a word
		_ = s.Push(part)
		k.quiet()
	}
	_ = s.Close()
	k.quiet()
	k.usage()
	for _, e := range modeltest.Events[*metrics.TTS](&k.log) {
		k.check(!k.m.Streaming() || e.Outcome == metrics.Interrupted && e.Cancelled, "outcome %s, cancelled %v", e.Outcome, e.Cancelled)
	}
}

// quiet waits until the provider gets no more text.
func (k *kit) quiet() {
	for last, n := int64(-1), 0; n < 10; n++ {
		time.Sleep(10 * time.Millisecond)
		if c := k.p.Served().Characters; c != last {
			last, n = c, 0
		}
	}
}

func cancelCase(k *kit) {
	ctx, cancel := context.WithTimeout(k.log.Context(k.Context()), 300*time.Millisecond)
	defer cancel()
	s := k.m.Stream(ctx)
	defer s.Close()
	_ = s.Push(k.h.Text)
	_ = s.EndInput()
	got := k.drain(s)
	k.check(errors.Is(got.err, context.DeadlineExceeded), "error: %v", got.err)
	k.check(len(k.log.Errors()) == 0, "error events: %v", k.log.Errors())
	_ = s.Close()
	if k.quiet(); k.m.Streaming() { // nobody knows of a request without an answer whether it is billed
		k.usage()
	}
}

func driverCase(k *kit) {
	s, err := k.openDriver()
	k.check(err == nil, "open: %v", err)
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

// openDriver starts the driver without the front.
func (k *kit) openDriver() (driver.AudioStream, error) {
	if d, ok := k.p.Driver.(driver.Synthesizer); ok {
		return d.Synthesize(k.Context(), k.h.Text)
	}
	s, err := k.p.Driver.(driver.Streamer).Open(k.Context())
	if err != nil {
		return nil, err
	}
	return s, s.Push(k.Context(), k.h.Text)
}
