// Package scripted has speech recognisers for tests and demos: they "hear" what a script says, fail
// where it says so, and keep a ledger of what they served. All waits are on the clock of the
// calling goroutine, so they cost nothing inside a testing/synctest bubble.
package scripted

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt/driver"
)

// Options are the script; nil means a recogniser that hears nothing.
type Options struct {
	// Info is who the recogniser says it is; default "scripted.STT", "scripted", "script".
	Info model.Info
	// Capabilities are as stated; the default is interim results at any sample rate.
	Capabilities *driver.Capabilities
	// Streams are the scripts of the first, second, ... stream that is opened. A stream without a
	// script of its own follows Texts.
	Streams [][]Line
	// Texts are what is said in the first, second, ... stretch of sound, whatever stream it is
	// heard on, or to the first, second, ... batch recognition. Streams give them as an Interim
	// of the first words, EndOfSpeech and Final once Silence has followed the sound, at a flush,
	// or at the end of input. After the last text nothing more is understood.
	Texts []string
	// Transcribe makes the text of a batch recognition from its audio, instead of Texts.
	Transcribe func(f audio.Frame) string
	// Silence ends a stretch of sound: default 0.3 s.
	Silence time.Duration
	// Threshold is the mean of absolute samples from which audio is sound: default 300.
	Threshold int
	// Latency passes between audio and what is said about it.
	Latency time.Duration
	// UsageEvery makes streams state their usage after so much audio and at the end of input; 0
	// never.
	UsageEvery time.Duration
	// States makes batch results state their usage.
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

// Line is an event that comes once audio up to At was pushed on its stream. Times in the event
// count from the start of that stream. Lines are in order of At.
type Line struct {
	At    time.Duration
	Event driver.Event
}

// FaultKind is what goes wrong.
type FaultKind uint8

// The kinds of faults.
const (
	Fail   FaultKind = iota // an error: Err of the Fault
	Hangup                  // the stream ends as if it were complete
	Stall                   // nothing comes back any more
	Panic                   // the driver panics
)

// Fault is something that goes wrong at a call.
type Fault struct {
	Call  int           // the Open or Recognize it happens to, from 0; -1 for all
	After time.Duration // audio that a stream takes before; 0 spoils the call itself
	Kind  FaultKind
	Err   error // for Fail; default a connection error
}

// Ledger is what a recogniser served.
type Ledger struct {
	Calls      int             // Open or Recognize, faults included
	Open       int             // streams that are not closed
	Running    int             // recognitions that run
	Cancelled  int             // recognitions that were cancelled
	Flushes    int             // on streams
	Ends       int             // ends of input
	Audio      time.Duration   // taken, replays included
	PerStream  []time.Duration // the same per stream
	Finals     int             // final transcripts given
	Stated     time.Duration   // usage stated
	LastOption driver.Options  // of the latest call
}

// core is what both kinds of recognisers share.
type core struct {
	o Options

	mu     sync.Mutex
	ledger Ledger
	text   int // next of Texts
}

func (c *core) init(o *Options) {
	if o != nil {
		c.o = *o
	}
	if c.o.Info == (model.Info{}) {
		c.o.Info = model.Info{Label: "scripted.STT", Provider: "scripted", Model: "script"}
	}
	if c.o.Capabilities == nil {
		c.o.Capabilities = &driver.Capabilities{InterimResults: true}
	}
	if c.o.Silence == 0 {
		c.o.Silence = 300 * time.Millisecond
	}
	if c.o.Threshold == 0 {
		c.o.Threshold = 300
	}
}

// Info implements driver.STT.
func (c *core) Info() model.Info { return c.o.Info }

// Capabilities implements driver.STT.
func (c *core) Capabilities() driver.Capabilities { return *c.o.Capabilities }

// Ledger returns what was served until now.
func (c *core) Ledger() Ledger {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.ledger
	l.PerStream = append([]time.Duration(nil), l.PerStream...)
	return l
}

func (c *core) book(f func(l *Ledger)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.ledger)
}

// call books a call and returns its number.
func (c *core) call(o driver.Options) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ledger.Calls++
	c.ledger.LastOption = o
	return c.ledger.Calls - 1
}

// fault returns the fault of call n that strikes now: of the call itself, or at a position in the
// audio of a stream.
func (c *core) fault(n int, inStream bool, pos time.Duration) *Fault {
	for i := range c.o.Faults {
		f := &c.o.Faults[i]
		if (f.Call == n || f.Call == -1) && (f.After > 0) == inStream && pos >= f.After {
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

// say returns the next of Texts and, with take, moves on.
func (c *core) say(take bool) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.text >= len(c.o.Texts) {
		return ""
	}
	t := c.o.Texts[c.text]
	if take {
		c.text++
	}
	return t
}

// Batch is a recogniser of whole utterances.
type Batch struct{ core }

// NewBatch returns a recogniser of whole utterances; o may be nil.
func NewBatch(o *Options) *Batch {
	b := &Batch{}
	b.init(o)
	return b
}

// Recognize implements driver.Recognizer.
func (b *Batch) Recognize(ctx context.Context, f audio.Frame, o driver.Options) (*driver.Result, error) {
	n := b.call(o)
	b.book(func(l *Ledger) { l.Running++ })
	defer b.book(func(l *Ledger) { l.Running-- })
	if fault := b.fault(n, false, 0); fault != nil {
		if fault.Kind == Stall {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, fault.error(b.o.Info)
	}
	if err := sleep(ctx, b.o.Latency); err != nil {
		b.book(func(l *Ledger) { l.Cancelled++ })
		return nil, err
	}
	res := &driver.Result{RequestID: "script_" + itoa(n)}
	if b.o.Transcribe != nil {
		res.Text = b.o.Transcribe(f)
	} else {
		res.Text = b.say(true)
	}
	b.book(func(l *Ledger) { l.Audio += f.Duration(); l.Finals++ })
	if b.o.States {
		res.Usage = &driver.UsageReport{AudioDuration: f.Duration(), Raw: inWords(f.Duration())}
		b.book(func(l *Ledger) { l.Stated += f.Duration() })
	}
	return res, nil
}

// inWords is a statement as a provider would write it.
func inWords(d time.Duration) metrics.Raw {
	return metrics.Raw(fmt.Sprintf(`{"duration_ms":%d}`, d.Milliseconds()))
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
