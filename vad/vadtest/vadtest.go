// Package vadtest is the conformance kit for voice activity detectors: it checks that a driver
// keeps the contract of package vad/driver. Each case says in one sentence what it wants, and
// prints it when the driver does not.
//
//	func TestConformance(t *testing.T) { vadtest.Run(t, vadtest.Harness{New: ..., Speech: ...}) }
package vadtest

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/vad/driver"
)

// Harness tells the kit about the detector.
type Harness struct {
	// New returns a detector; it is called once per case.
	New func(t testing.TB) driver.VAD
	// Speech is audio that begins and ends with speech and has no pause that would end it.
	Speech audio.Frame
}

// Case is one demand on a driver.
type Case struct {
	Name string
	Why  string // the sentence that is printed when the driver does not meet it
	run  func(k *kit)
}

// Run runs all cases as subtests.
func Run(t *testing.T, h Harness) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) { c.Run(t, h) })
	}
}

// Run runs one case.
func (c Case) Run(t testing.TB, h Harness) {
	t.Helper()
	c.run(&kit{TB: t, h: h, why: c.Why})
}

type kit struct {
	testing.TB
	h   Harness
	why string
}

// check fails the case with its sentence and what was seen.
func (k *kit) check(ok bool, format string, args ...any) {
	k.Helper()
	if !ok {
		k.Logf("the contract: %s", k.why)
		k.Fatalf(format, args...)
	}
}

// event is an event without its audio.
type event struct {
	driver.Event
	samples int
}

// listener is a stream and what it told.
type listener struct {
	k      *kit
	s      driver.Stream
	events []event
}

func (k *kit) open() *listener {
	k.Helper()
	s, err := k.h.New(k).NewStream()
	k.check(err == nil, "NewStream: %v", err)
	return &listener{k: k, s: s}
}

func (l *listener) close() {
	l.k.Helper()
	err := l.s.Close()
	l.k.check(err == nil, "Close: %v", err)
}

// hear processes audio in pieces of d.
func (l *listener) hear(f audio.Frame, d time.Duration) {
	l.k.Helper()
	step := audio.SamplesIn(d, f.Rate) * f.Channels
	for data := f.Data; len(data) > 0; {
		n := min(step, len(data))
		err := l.s.Process(audio.Frame{Data: data[:n], Rate: f.Rate, Channels: f.Channels}, func(e *driver.Event) {
			l.events = append(l.events, event{*e, e.Audio.Samples()})
		})
		l.k.check(err == nil, "Process: %v", err)
		data = data[n:]
	}
}

func (l *listener) silence(d time.Duration) {
	l.k.Helper()
	l.hear(audio.Silence(d, l.k.h.Speech.Rate, l.k.h.Speech.Channels), 20*time.Millisecond)
}

// edges are the starts and ends among the events.
func (l *listener) edges() (out []event) {
	for _, e := range l.events {
		if e.Kind != driver.InferenceDone {
			out = append(out, e)
		}
	}
	return out
}

// rest is what came after the first event.
func rest(e []event) []event { return e[min(1, len(e)):] }

// Cases returns the demands.
func Cases() []Case {
	return []Case{
		{"info", "a detector says who it is: label, lower-case provider", infoCase},
		{"silence", "silence has no start and no end of speech, but inferences", silenceCase},
		{"speech", "speech between silences is one start and one end, in order, with audio", speechCase},
		{"end after min silence", "speech ends when MinSilence has passed, no sooner and about then", endCase},
		{"chunks do not matter", "the same audio gives the same events however it is cut into frames", chunkCase},
		{"inference events", "probabilities are in 0..1, the clock grows, Speaking agrees with the edges", inferenceCase},
		{"flush", "Flush in speech emits nothing, and the next speech is a fresh start", flushCase},
		{"other format", "a frame of another format is an error that leaves the stream as it was", formatCase},
		{"concurrent streams", "streams of one detector do not disturb each other", concurrentCase},
		{"close", "Close can be called twice and Process fails after it", closeCase},
	}
}

func infoCase(k *kit) {
	i := k.h.New(k).Info()
	k.check(i.Label != "" && i.Provider != "", "Info is %+v", i)
}

func silenceCase(k *kit) {
	l := k.open()
	defer l.close()
	l.silence(3 * time.Second)
	k.check(len(l.edges()) == 0, "3 s of silence gave %v", l.edges())
	k.check(len(l.events) > 0, "no inference in 3 s")
}

func speechCase(k *kit) {
	l := k.open()
	defer l.close()
	l.silence(time.Second)
	l.hear(k.h.Speech, 20*time.Millisecond)
	l.silence(l.s.MinSilence() + time.Second)
	e := l.edges()
	k.check(len(e) == 2 && e[0].Kind == driver.StartOfSpeech && e[1].Kind == driver.EndOfSpeech, "events were %v", e)
	k.check(e[0].samples > 0 && e[1].samples > e[0].samples, "start carried %d samples, end %d", e[0].samples, e[1].samples)
	k.check(e[1].SpeechDuration > 0, "end has a speech duration of %v", e[1].SpeechDuration)
}

func endCase(k *kit) {
	l := k.open()
	defer l.close()
	l.hear(k.h.Speech, 20*time.Millisecond)
	wait := l.s.MinSilence()
	k.check(wait > 0, "MinSilence is %v", wait)
	k.check(len(l.edges()) == 1, "speech gave %v", l.edges())
	l.silence(wait + 500*time.Millisecond)
	e := l.edges()
	k.check(len(e) == 2, "%v of silence ended nothing", wait+500*time.Millisecond)
	k.check(e[1].SilenceDuration >= wait && e[1].SilenceDuration < wait+200*time.Millisecond,
		"end came after %v of silence, want %v", e[1].SilenceDuration, wait)
}

func chunkCase(k *kit) {
	var want []event
	for i, d := range []time.Duration{20 * time.Millisecond, 7 * time.Millisecond, 100 * time.Millisecond, time.Hour} {
		l := k.open()
		l.hear(k.h.Speech, d)
		l.close()
		if i == 0 {
			want = l.events
			continue
		}
		k.check(len(l.events) == len(want), "pieces of %v gave %d events, of 20ms %d", d, len(l.events), len(want))
		for n, e := range l.events {
			w := want[n]
			k.check(e.Kind == w.Kind && e.SamplesIndex == w.SamplesIndex && e.Probability == w.Probability,
				"pieces of %v: event %d is %v at %d, want %v at %d", d, n, e.Kind, e.SamplesIndex, w.Kind, w.SamplesIndex)
		}
	}
}

func inferenceCase(k *kit) {
	l := k.open()
	defer l.close()
	l.silence(500 * time.Millisecond)
	l.hear(k.h.Speech, 20*time.Millisecond)
	l.silence(l.s.MinSilence() + time.Second)
	var last time.Duration
	speaking := false
	for _, e := range l.events {
		switch e.Kind {
		case driver.StartOfSpeech:
			speaking = true
		case driver.EndOfSpeech:
			speaking = false
		default:
			p := float64(e.Probability)
			k.check(!math.IsNaN(p) && p >= 0 && p <= 1, "probability %v", p)
			k.check(e.Timestamp > last, "the clock went from %v to %v", last, e.Timestamp)
			k.check(e.Speaking == speaking, "at %v Speaking is %v, the edges say %v", e.Timestamp, e.Speaking, speaking)
			last = e.Timestamp
		}
	}
	heard := 500*time.Millisecond + k.h.Speech.Duration() + l.s.MinSilence() + time.Second
	k.check((heard-last).Abs() < 100*time.Millisecond, "the clock is at %v after %v of audio", last, heard)
}

func flushCase(k *kit) {
	l := k.open()
	defer l.close()
	l.hear(k.h.Speech, 20*time.Millisecond)
	n := len(l.events)
	l.s.Flush()
	k.check(len(l.events) == n, "Flush emitted %v", l.events[n:])
	l.silence(l.s.MinSilence() + time.Second)
	k.check(len(l.edges()) == 1, "after the flush silence gave %v", rest(l.edges()))
	l.hear(k.h.Speech, 20*time.Millisecond)
	e := l.edges()
	k.check(len(e) == 2 && e[1].Kind == driver.StartOfSpeech, "speech after the flush gave %v", rest(e))
}

func formatCase(k *kit) {
	l := k.open()
	defer l.close()
	l.hear(k.h.Speech, 20*time.Millisecond)
	n := len(l.events)
	other := audio.Silence(20*time.Millisecond, 2*k.h.Speech.Rate, k.h.Speech.Channels)
	err := l.s.Process(other, func(*driver.Event) { n = -1 })
	k.check(err != nil, "a frame at %d Hz was taken after %d Hz", other.Rate, k.h.Speech.Rate)
	k.check(len(l.events) == n, "the refused frame gave events")
	l.silence(l.s.MinSilence() + time.Second)
	e := l.edges()
	k.check(len(e) == 2 && e[1].Kind == driver.EndOfSpeech, "the speech before it ended with %v", rest(e))
}

func concurrentCase(k *kit) {
	d := k.h.New(k)
	ref := k.open()
	ref.hear(k.h.Speech, 20*time.Millisecond)
	ref.close()
	var wg sync.WaitGroup
	got := make([]int, 4)
	for i := range got {
		wg.Add(1)
		go func() {
			defer wg.Done()
			s, err := d.NewStream()
			if err != nil {
				return
			}
			defer s.Close()
			_ = s.Process(k.h.Speech, func(*driver.Event) { got[i]++ })
		}()
	}
	wg.Wait()
	for _, n := range got {
		k.check(n == len(ref.events), "four streams gave %v events, one alone %d", got, len(ref.events))
	}
}

func closeCase(k *kit) {
	l := k.open()
	l.close()
	l.close()
	err := l.s.Process(k.h.Speech, func(*driver.Event) {})
	k.check(err != nil, "Process works after Close")
}
