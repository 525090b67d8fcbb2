package flite

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/tts/driver"
	"github.com/parley-go/parley/tts/ttstest"
)

// ledger is the synthesiser with an account of the characters that it took.
type ledger struct {
	*Synthesizer
	pace bool // speak no faster than real time

	mu     sync.Mutex
	served ttstest.Served
}

func (l *ledger) Synthesize(ctx context.Context, text string) (driver.AudioStream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.served.Calls++
	a, err := l.Synthesizer.Synthesize(ctx, text)
	if err != nil {
		return nil, err
	}
	l.served.Open++
	return &counted{AudioStream: a, l: l, text: text}, nil
}

func (l *ledger) ledger() ttstest.Served {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.served
}

// counted is a request; it counts once it is spoken.
type counted struct {
	driver.AudioStream
	l      *ledger
	text   string
	spoken sync.Once
	closed sync.Once
}

func (c *counted) Next(ctx context.Context) (*driver.Chunk, error) {
	chunk, err := c.AudioStream.Next(ctx)
	if err != nil {
		return nil, err
	}
	c.spoken.Do(func() {
		c.l.mu.Lock()
		c.l.served.Characters += int64(utf8.RuneCountInString(c.text))
		c.l.mu.Unlock()
	})
	if c.l.pace {
		time.Sleep(chunk.Frame.Duration())
	}
	return chunk, nil
}

func (c *counted) Close() error {
	c.closed.Do(func() {
		c.l.mu.Lock()
		c.l.served.Open--
		c.l.mu.Unlock()
	})
	return c.AudioStream.Close()
}

// stall takes the place of those who speak until the first attempt was given up.
func stall(t testing.TB) {
	shared, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	before := loaded
	t.Cleanup(func() { loaded = before })
	busy := &engine{runtime: shared.runtime, module: shared.module, slow: shared.slow, places: make(chan struct{}, 1)}
	loaded = func() (*engine, error) { return busy, nil }
	busy.places <- struct{}{}
	free := time.AfterFunc(3*time.Second, func() { <-busy.places })
	t.Cleanup(func() { free.Stop() })
}

// TestConformance runs in bubbles, so that waiting takes no time.
func TestConformance(t *testing.T) {
	if err := Check(nil); err != nil {
		t.Fatal(err)
	}
	const remote = "there is no provider to reach: it runs in this process"
	h := ttstest.Harness{
		Start: func(t testing.TB, p fault.Plan) ttstest.Provider {
			if p.Kind == fault.Silence {
				stall(t)
			}
			l := &ledger{Synthesizer: NewSynthesizer(nil), pace: p.Kind == fault.Slow}
			return ttstest.Provider{Driver: l, Served: l.ledger}
		},
		Skip: map[fault.Kind]string{
			fault.Refuse: remote, fault.CloseEarly: remote, fault.TLSFailure: remote, fault.Oversized: remote, fault.HalfOpen: remote, fault.DoubleFinal: remote, fault.UsageRepeated: remote, fault.SlowDial: remote,
			fault.Reset: remote, fault.RateLimit: remote, fault.ServerError: remote,
			fault.Unauthorized: "it has no key",
			fault.Empty:        "a run without audio is an error that would come again",
			fault.Malformed:    "a run without a WAV file is an error that would come again",
		},
	}
	for _, c := range ttstest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.Run(t, h) })
		})
	}
}
