package moonshine

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/golden"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/stt/stttest"
)

// counted is the recogniser with a ledger of the audio that it answered, which is what it serves:
// nobody is billed for a run that was given up.
type counted struct {
	*Recognizer
	mu     sync.Mutex
	served stttest.Served
}

func (c *counted) Recognize(ctx context.Context, f audio.Frame, o driver.Options) (*driver.Result, error) {
	c.mu.Lock()
	c.served.Calls++
	c.served.Open++
	c.mu.Unlock()
	res, err := c.Recognizer.Recognize(ctx, f, o)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.served.Open--
	if err == nil {
		c.served.Audio += f.Duration()
	}
	return res, err
}

func (c *counted) ledger() stttest.Served {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.served
}

// occupy takes the places of those who compute, as long as the test runs.
func occupy(t testing.TB) {
	before := running
	running = newSlots(1)
	running.places <- struct{}{}
	t.Cleanup(func() { running = before })
}

// TestConformance runs in bubbles, so that the attempts that wait for a core take no time.
func TestConformance(t *testing.T) {
	if err := Check(nil); err != nil {
		t.Fatal(err)
	}
	const remote = "there is no provider to reach: it runs in this process"
	const answers = "it has no messages: the answer is a value"
	h := stttest.Harness{
		Start: func(t testing.TB, p fault.Plan) stttest.Provider {
			if p.Kind == fault.Stall && p.Times > 0 {
				return stttest.Provider{} // a core that is taken stays so
			}
			if p.Kind == fault.Stall {
				occupy(t)
			}
			c := &counted{Recognizer: NewRecognizer(nil)}
			return stttest.Provider{Driver: c, Served: c.ledger}
		},
		Speech: frame(golden.Samples(t, "flite_slt_weather.wav")),
		Text:   "What is the weather like in Paris tomorrow morning?",
		Skip: map[fault.Kind]string{
			fault.Refuse: remote, fault.CloseEarly: remote, fault.TLSFailure: remote, fault.Oversized: remote, fault.HalfOpen: remote, fault.DoubleFinal: remote, fault.UsageRepeated: remote, fault.SlowDial: remote,
			fault.Reset: remote, fault.HangUp: remote, fault.RateLimit: remote,
			fault.ServerError: remote, fault.Unauthorized: "it has no key", fault.Malformed: answers,
		},
	}
	for _, c := range stttest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.Run(t, h) })
		})
	}
}

// TestWaitingForACoreIsNotServed checks the ledger that the conformance cases rely on.
func TestWaitingForACoreIsNotServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		occupy(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := &counted{Recognizer: NewRecognizer(nil)}
		if _, err := c.Recognize(ctx, frame(make([]int16, golden.Rate)), driver.Options{}); err == nil {
			t.Fatal("it was recognised without a core")
		}
		if l := c.ledger(); l != (stttest.Served{Calls: 1}) {
			t.Errorf("ledger is %+v", l)
		}
	})
}
