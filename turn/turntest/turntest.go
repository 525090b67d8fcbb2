// Package turntest is the conformance kit for turn detectors: it checks that a driver keeps the
// contract of package turn/driver. Each case says in one sentence what it wants, and prints it when
// the driver does not.
//
//	func TestConformance(t *testing.T) { turntest.Run(t, turntest.Harness{New: ..., Language: "en"}) }
package turntest

import (
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/turn/driver"
)

// Harness tells the kit about the detector.
type Harness struct {
	// New returns a detector; it is called once or twice per case.
	New func(t testing.TB) driver.Detector
	// Slow returns one whose predictions take at least 10 s unless their context ends. Nil leaves
	// out the cases that need it.
	Slow func(t testing.TB) driver.Detector
	// Language is one that the detector supports.
	Language string
	// Unsupported is one that it does not; "" if it supports all.
	Unsupported string
	// Local says that the same input always has the same probability.
	Local bool
	// Speech is audio for detectors by audio; default one second of a tone at 16 kHz.
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

// Run runs one case; it skips one that does not concern the detector.
func (c Case) Run(t testing.TB, h Harness) {
	t.Helper()
	if len(h.Speech.Data) == 0 {
		h.Speech = tone()
	}
	c.run(&kit{TB: t, h: h, why: c.Why})
}

// Cases returns the demands.
func Cases() []Case {
	return []Case{
		{"info", "a detector says who it is: label, lower-case provider", infoCase},
		{"kind", "a detector judges by text or by audio", kindCase},
		{"languages", "the language of the harness is supported, the unsupported one is not", languageCase},
		{"threshold", "the threshold of a supported language is above 0 and at most 1", thresholdCase},
		{"probability", "a prediction is a probability in 0..1 and its accounts are not negative", probabilityCase},
		{"empty context", "a conversation without a word of the user is answered or refused, without a panic", emptyCase},
		{"read only", "a conversation that was judged is as it was", readOnlyCase},
		{"deterministic", "a local detector gives the same input the same probability", deterministicCase},
		{"concurrent", "predictions at the same time do not disturb each other", concurrentCase},
		{"dead context", "a context that has ended before the call fails it with its error", deadCase},
		{"cancellation", "a prediction ends soon after its context, with its error", cancelCase},
		{"superseding", "a newer prediction of a stream ends the older one, and is answered itself", supersedeCase},
		{"flush", "after Flush a stream judges as if it were new", flushCase},
		{"push does not block", "Push takes ten seconds of audio while nothing is predicted", pushCase},
		{"close", "Close succeeds, also when nothing was ever pushed", closeCase},
	}
}

// tone is a second of a rough square wave, which no detector takes for silence.
func tone() audio.Frame {
	f := audio.Silence(time.Second, 16000, 1)
	for i := range f.Data {
		f.Data[i] = int16(4000 * (1 - 2*(i/40%2)))
	}
	return f
}
