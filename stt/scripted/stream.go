package scripted

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/stt/driver"
)

var errClosed = errors.New("scripted: stream is closed")

// STT is a streaming recogniser.
type STT struct{ core }

// New returns a streaming recogniser; o may be nil.
func New(o *Options) *STT {
	s := &STT{}
	s.init(o)
	return s
}

// Open implements driver.Streamer.
func (s *STT) Open(ctx context.Context, o driver.Options) (driver.Stream, error) {
	n := s.call(o)
	if f := s.fault(n, false, 0); f != nil {
		if f.Kind == Stall {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, f.error(s.o.Info)
	}
	st := &stream{s: s, n: n, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	s.book(func(l *Ledger) {
		st.index = len(l.PerStream)
		l.PerStream = append(l.PerStream, 0)
		l.Open++
	})
	if n < len(s.o.Streams) {
		st.lines, st.byLine = s.o.Streams[n], true
	}
	if s.o.Acquire != nil {
		return connected{st, *s.o.Acquire}, nil
	}
	return st, nil
}

// connected is a stream that says how it got its connection.
type connected struct {
	*stream
	a Acquire
}

// Acquired implements driver.Connected.
func (c connected) Acquired() (time.Duration, bool) { return c.a.Took, c.a.Reused }

// due is an event that may be given from a time on.
type due struct {
	at time.Time
	e  *driver.Event
}

type stream struct {
	s      *STT
	n      int // number of the call
	index  int // in Ledger.PerStream
	byLine bool
	wake   chan struct{} // one token: something changed
	gone   chan struct{}

	mu     sync.Mutex
	lines  []Line
	pos    time.Duration
	stated time.Duration
	out    []due
	ended  bool
	closed bool
	fault  *Fault // struck

	sounding  bool
	from, end time.Duration // of the stretch of sound
	interim   bool          // it was announced
}

// Push implements driver.Stream.
func (st *stream) Push(_ context.Context, f audio.Frame) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return errClosed
	}
	defer st.signal()
	if st.fault == nil {
		st.fault = st.s.fault(st.n, true, st.pos+f.Duration())
	}
	if st.fault != nil && st.fault.Kind == Fail {
		return st.fault.error(st.s.o.Info) // what failed to arrive is not billed
	}
	st.pos += f.Duration()
	st.s.book(func(l *Ledger) {
		l.Audio += f.Duration()
		l.PerStream[st.index] = st.pos
	})
	if st.fault == nil {
		st.follow(f)
		st.state(st.s.o.UsageEvery)
	}
	return nil
}

// follow goes on with the script.
func (st *stream) follow(f audio.Frame) {
	if st.byLine {
		for len(st.lines) > 0 && st.pos >= st.lines[0].At {
			e := st.lines[0].Event
			e.Alternatives = append([]driver.Alternative(nil), e.Alternatives...)
			for i := range e.Alternatives {
				e.Alternatives[i].Words = append([]driver.Word(nil), e.Alternatives[i].Words...)
			}
			st.give(&e)
			st.lines = st.lines[1:]
		}
		return
	}
	if loud(f, st.s.o.Threshold) {
		if !st.sounding {
			st.sounding, st.from, st.interim = true, st.pos-f.Duration(), false
			st.give(&driver.Event{Kind: driver.StartOfSpeech, SpeechStart: st.from})
		}
		st.end = st.pos
		st.announce()
		return
	}
	if st.sounding && st.pos-st.end >= st.s.o.Silence {
		st.final()
	}
}

// announce gives the first words once they were heard for 0.3 s.
func (st *stream) announce() {
	if st.interim || st.end-st.from < 300*time.Millisecond {
		return
	}
	st.interim = true
	if w := strings.Fields(st.s.say(false)); len(w) > 0 {
		st.give(st.transcript(driver.Interim, strings.Join(w[:(len(w)+1)/2], " ")))
	}
}

func (st *stream) final() {
	st.sounding = false
	st.give(&driver.Event{Kind: driver.EndOfSpeech})
	if t := st.s.say(true); t != "" {
		st.give(st.transcript(driver.Final, t))
	}
}

func (st *stream) transcript(k driver.EventKind, text string) *driver.Event {
	return &driver.Event{Kind: k, Alternatives: []driver.Alternative{{Text: text, Start: st.from, End: st.end, Confidence: 1}}}
}

// state states usage once more than every was taken since the last statement.
func (st *stream) state(every time.Duration) {
	d := st.pos - st.stated
	if st.s.o.UsageEvery == 0 || d <= 0 || d < every {
		return
	}
	st.stated = st.pos
	st.give(&driver.Event{Kind: driver.Usage, Usage: driver.UsageReport{AudioDuration: d, Raw: inWords(d)}})
}

func (st *stream) give(e *driver.Event) {
	if e.RequestID == "" {
		e.RequestID = "script_" + itoa(st.n)
	}
	st.s.book(func(l *Ledger) {
		switch e.Kind {
		case driver.Final:
			l.Finals++
		case driver.Usage:
			l.Stated += e.Usage.AudioDuration
		}
	})
	st.out = append(st.out, due{at: time.Now().Add(st.s.o.Latency), e: e})
}

// Flush implements driver.Stream.
func (st *stream) Flush(context.Context) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return errClosed
	}
	st.s.book(func(l *Ledger) { l.Flushes++ })
	if st.sounding && st.fault == nil {
		st.final()
		st.signal()
	}
	return nil
}

// CloseSend implements driver.Stream.
func (st *stream) CloseSend(context.Context) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return errClosed
	}
	st.ended = true
	st.s.book(func(l *Ledger) { l.Ends++ })
	if st.fault == nil {
		if st.sounding {
			st.final()
		}
		st.state(0)
	}
	st.signal()
	return nil
}

// Next implements driver.Stream.
func (st *stream) Next(ctx context.Context) (*driver.Event, error) {
	for {
		e, wait, err := st.take()
		if e != nil || err != nil {
			return e, err
		}
		var late <-chan time.Time
		if wait > 0 {
			t := time.NewTimer(wait)
			defer t.Stop()
			late = t.C
		}
		select {
		case <-late:
		case <-st.wake:
		case <-st.gone:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (st *stream) take() (*driver.Event, time.Duration, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return nil, 0, errClosed
	}
	if len(st.out) > 0 {
		if wait := time.Until(st.out[0].at); wait > 0 {
			return nil, wait, nil
		}
		e := st.out[0].e
		st.out = st.out[1:]
		return e, 0, nil
	}
	switch {
	case st.fault != nil && st.fault.Kind == Hangup:
		return nil, 0, io.EOF
	case st.fault != nil && st.fault.Kind != Stall:
		return nil, 0, st.fault.error(st.s.o.Info)
	case st.fault == nil && st.ended:
		return nil, 0, io.EOF
	}
	return nil, 0, nil
}

// Close implements driver.Stream.
func (st *stream) Close() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.closed {
		st.closed = true
		close(st.gone)
		st.s.book(func(l *Ledger) { l.Open-- })
	}
	return nil
}

func (st *stream) signal() {
	select {
	case st.wake <- struct{}{}:
	default: // a token is waiting already
	}
}

func loud(f audio.Frame, threshold int) bool {
	sum := 0
	for _, v := range f.Data {
		sum += max(int(v), -int(v))
	}
	return len(f.Data) > 0 && sum/len(f.Data) >= threshold
}

func itoa(n int) string { return strconv.Itoa(n) }
