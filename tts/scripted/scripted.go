// Package scripted has speech synthesisers for tests and demos: they "speak" every character for a
// fixed time, fail where the script says so, and keep a ledger of what they served. All waits are
// on the clock of the calling goroutine, so they cost nothing inside a testing/synctest bubble.
package scripted

import (
	"context"
	"math"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tts/driver"
)

// Options are the script; nil and zero values mean the defaults.
type Options struct {
	// Info is who the synthesiser says it is; default "scripted.TTS", "scripted", "script".
	Info model.Info
	// SampleRate of the audio in Hz: default 24000.
	SampleRate int
	// Channels of the audio: default 1.
	Channels int
	// PerCharacter is the audio of one character: default 60 ms.
	PerCharacter time.Duration
	// Durations are the audio of whole texts instead, by text; batch only.
	Durations map[string]time.Duration
	// ChunkTime is the audio of one chunk: default 100 ms.
	ChunkTime time.Duration
	// TTFB passes between the first text, or the request, and the first audio.
	TTFB time.Duration
	// Pace is the time that making one second of audio takes; 0 makes it at once.
	Pace time.Duration
	// Words makes chunks carry the words that begin in them.
	Words bool
	// Sine makes the audio a tone of 440 Hz instead of silence.
	Sine bool
	// States makes the last chunk state the characters.
	States bool
	// Acquire, if set, is what every stream says about its connection.
	Acquire *Acquire
	// Faults are what goes wrong.
	Faults []Fault
}

// Acquire is what a stream says about its connection.
type Acquire struct {
	Took   time.Duration
	Reused bool
}

// FaultKind is what goes wrong.
type FaultKind uint8

// The kinds of faults.
const (
	Fail   FaultKind = iota // an error: Err of the Fault
	Hangup                  // the audio ends as if it were complete
	Stall                   // no more audio comes
	Panic                   // the driver panics
)

// When says at which point of a call a fault strikes.
type When uint8

// The points of a call.
const (
	AtCall    When = iota // Open or Synthesize itself
	AfterText             // text was taken, no audio given
	AfterSome             // audio was given
)

// Fault is something that goes wrong at a call.
type Fault struct {
	Call       int // the Open or Synthesize it happens to, from 0; -1 for all
	When       When
	Characters int           // for AfterText: taken before it strikes, at least 1
	Audio      time.Duration // for AfterSome: given before it strikes
	Kind       FaultKind
	Err        error // for Fail; default a connection error
}

// Ledger is what a synthesiser served.
type Ledger struct {
	Calls      int // Open or Synthesize, faults included
	Open       int // streams that are not closed
	Characters int64
	Texts      []string // taken, per stream or request that was opened
	Audio      time.Duration
	Complete   int // streams whose audio was given to the end
	Cut        int // streams that were closed before
}

// core is what both kinds of synthesisers share.
type core struct {
	o Options

	mu     sync.Mutex
	ledger Ledger
}

func (c *core) init(o *Options) {
	if o != nil {
		c.o = *o
	}
	if c.o.Info == (model.Info{}) {
		c.o.Info = model.Info{Label: "scripted.TTS", Provider: "scripted", Model: "script"}
	}
	if c.o.SampleRate == 0 {
		c.o.SampleRate = 24000
	}
	if c.o.Channels == 0 {
		c.o.Channels = 1
	}
	if c.o.PerCharacter == 0 {
		c.o.PerCharacter = 60 * time.Millisecond
	}
	if c.o.ChunkTime == 0 {
		c.o.ChunkTime = 100 * time.Millisecond
	}
}

// Info implements driver.TTS.
func (c *core) Info() model.Info { return c.o.Info }

// Capabilities implements driver.TTS.
func (c *core) Capabilities() driver.Capabilities {
	return driver.Capabilities{AlignedTranscript: c.o.Words, SampleRate: c.o.SampleRate, Channels: c.o.Channels}
}

// Ledger returns what was served until now.
func (c *core) Ledger() Ledger {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.ledger
	l.Texts = append([]string(nil), l.Texts...)
	return l
}

func (c *core) book(f func(l *Ledger)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.ledger)
}

func (c *core) call() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ledger.Calls++
	return c.ledger.Calls - 1
}

// fault returns the fault of call n at one of its points.
func (c *core) fault(n int, w When) *Fault {
	for i := range c.o.Faults {
		if f := &c.o.Faults[i]; (f.Call == n || f.Call == -1) && f.When == w {
			return f
		}
	}
	return nil
}

func (f *Fault) error(info model.Info) error {
	if f.Kind == Panic {
		panic("scripted panic")
	}
	if f.Err != nil {
		return f.Err
	}
	return &model.Error{Kind: model.KindConnection, Provider: info.Provider, Op: "scripted fault"}
}

// begin opens the books of a call, or fails as the script says.
func (c *core) begin(ctx context.Context) (*voice, error) {
	n := c.call()
	if f := c.fault(n, AtCall); f != nil {
		if f.Kind == Stall {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, f.error(c.o.Info)
	}
	v := &voice{
		c: c, n: n, wake: make(chan struct{}, 1), gone: make(chan struct{}),
		afterText: c.fault(n, AfterText), afterSome: c.fault(n, AfterSome),
	}
	c.book(func(l *Ledger) {
		v.index = len(l.Texts)
		l.Texts = append(l.Texts, "")
		l.Open++
	})
	return v, nil
}

// TTS is a synthesiser that takes text while it is written.
type TTS struct{ core }

// New returns a synthesiser that takes text while it is written; o may be nil.
func New(o *Options) *TTS {
	t := &TTS{}
	t.init(o)
	return t
}

// Open implements driver.Streamer.
func (t *TTS) Open(ctx context.Context) (driver.Stream, error) {
	v, err := t.begin(ctx)
	if err != nil {
		return nil, err
	}
	if t.o.Acquire != nil {
		return connected{v, *t.o.Acquire}, nil
	}
	return v, nil
}

// connected is a stream that says how it got its connection.
type connected struct {
	*voice
	a Acquire
}

// Acquired implements driver.Connected.
func (c connected) Acquired() (time.Duration, bool) { return c.a.Took, c.a.Reused }

// Batch is a synthesiser of whole texts.
type Batch struct{ core }

// NewBatch returns a synthesiser of whole texts; o may be nil.
func NewBatch(o *Options) *Batch {
	b := &Batch{}
	b.init(o)
	return b
}

// Synthesize implements driver.Synthesizer.
func (b *Batch) Synthesize(ctx context.Context, text string) (driver.AudioStream, error) {
	v, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	_ = v.Push(ctx, text)
	if d, ok := b.o.Durations[text]; ok {
		v.total = audio.Samples(audio.SamplesIn(d, b.o.SampleRate))
	}
	_ = v.CloseSend(ctx)
	if b.o.Acquire != nil {
		return connected{v, *b.o.Acquire}, nil
	}
	return v, nil
}

func characters(text string) int { return utf8.RuneCountInString(text) }

// tone fills data with a sine of 440 Hz that starts at sample from.
func tone(data []int16, from audio.Samples, rate, channels int) {
	for i := range data {
		at := float64(int64(from)+int64(i/channels)) / float64(rate)
		data[i] = int16(6000 * math.Sin(2*math.Pi*440*at))
	}
}
