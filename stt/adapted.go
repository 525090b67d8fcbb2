package stt

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/vad"
)

const (
	// maxFinals is how many segments are transcribed at a time.
	maxFinals = 4
	// maxPending is how many may wait; a recogniser so slow is a failure.
	maxPending = 32
	// cutWindow is the stretch in which a place to cut a long segment is looked for.
	cutWindow = 3 * time.Second
	// cutSlack is how long a segment may go on without a quiet place.
	cutSlack = 8 * time.Second
	// quietWindow is the speech probability below which a window is a good place to cut.
	quietWindow = 0.5
)

// adapted is the driver's stream of an adapted model.
type adapted struct {
	a        *adapter
	o        Options
	v        *vad.Stream
	ctx      context.Context // until Close
	guessCtx context.Context // the same without hooks
	cancel   context.CancelFunc
	wake     chan struct{} // one token: there is something for Next

	// Of the goroutine that pushes.
	rate int
	pos  audio.Samples // pushed
	base audio.Samples // where the detector's clock started

	mu         sync.Mutex
	pushing    bool // the detector is in use
	closed     bool
	ended      bool
	err        error
	seg        *segment // the speech that is heard; nil in silence
	pending    []*job   // finals in order, transcribed or not
	delivering bool     // somebody empties pending
	out        []*Event
	interimAt  time.Time // no interim run before
}

// segment is speech that goes on.
type segment struct {
	data  []int16
	audio time.Duration // where data starts in the stream
	marks []mark
	text  string // of the last interim
	guess *job   // speculative run over all of data that is speech
	sofar *job   // interim run
}

// mark says how likely the audio before a place in a segment is speech.
type mark struct {
	at int
	p  float32
}

// Push implements driver.Stream.
func (s *adapted) Push(_ context.Context, f audio.Frame) error {
	if !s.enter() {
		return ErrClosed
	}
	defer s.leave()
	s.rate = f.Rate
	s.pos += audio.Samples(f.Samples())
	return s.v.Process(f, s.hear)
}

// Flush implements driver.Stream: speech that goes on is cut and transcribed.
func (s *adapted) Flush(context.Context) error {
	if !s.enter() {
		return ErrClosed
	}
	defer s.leave()
	s.cutShort()
	return nil
}

// CloseSend implements driver.Stream.
func (s *adapted) CloseSend(context.Context) error {
	if !s.enter() {
		return ErrClosed
	}
	defer s.leave()
	s.cutShort()
	s.mu.Lock()
	s.ended = true
	s.signal()
	s.mu.Unlock()
	return nil
}

// cutShort ends the speech although nobody was silent.
func (s *adapted) cutShort() {
	s.mu.Lock()
	speaking := s.seg != nil
	s.mu.Unlock()
	if !speaking {
		return
	}
	s.v.Flush()
	s.base = s.pos
	s.mu.Lock()
	if g := s.seg; g.guess != nil && g.marks[len(g.marks)-1].p >= quietWindow {
		g.guess.cancel() // the speech had just gone on
		g.guess = nil
	}
	s.endSegment(s.pos.At(s.rate))
	s.mu.Unlock()
	s.deliver()
}

// Close implements driver.Stream.
func (s *adapted) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	idle := first && !s.pushing
	var late []*run // transcribed, and nobody gets to see it
	s.pending = slices.DeleteFunc(s.pending, func(j *job) bool {
		unseen := j.done && j.err == nil
		if unseen {
			late = append(late, j.run)
		}
		return unseen
	})
	s.signal()
	s.mu.Unlock()
	s.cancel()
	for _, r := range late {
		r.discard(s.ctx)
	}
	if idle {
		return s.v.Close()
	}
	return nil
}

// enter reserves the detector, which only one goroutine may use, for the one that pushes.
func (s *adapted) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.pushing = true
	return true
}

// leave gives the detector back, and closes it if Close came meanwhile.
func (s *adapted) leave() {
	s.mu.Lock()
	s.pushing = false
	orphan := s.closed
	s.mu.Unlock()
	if orphan {
		_ = s.v.Close()
	}
}

// Next implements driver.Stream.
func (s *adapted) Next(ctx context.Context) (*Event, error) {
	for {
		s.mu.Lock()
		e, err := s.take()
		s.mu.Unlock()
		if e != nil || err != nil {
			return e, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *adapted) take() (*Event, error) {
	switch {
	case s.closed:
		return nil, ErrClosed
	case len(s.out) > 0:
		e := s.out[0]
		s.out = s.out[1:]
		return e, nil
	case s.err != nil:
		return nil, s.err
	case s.ended && len(s.pending) == 0 && !s.delivering:
		return nil, io.EOF
	}
	return nil, nil
}

// put queues an event; an interim that nobody took yet is out of date.
func (s *adapted) put(e *Event) {
	if n := len(s.out); n > 0 && s.out[n-1].Kind == Interim && (e.Kind == Interim || e.Kind == Preflight) {
		s.out = s.out[:n-1]
	}
	s.out = append(s.out, e)
	s.signal()
}

func (s *adapted) signal() {
	select {
	case s.wake <- struct{}{}:
	default: // a token is waiting already
	}
}

// hear takes one event of the detector.
func (s *adapted) hear(e *vad.Event) {
	at := min((s.base.At(s.rate) + e.Timestamp), s.pos.At(s.rate))
	s.mu.Lock()
	switch e.Kind {
	case vad.StartOfSpeech:
		s.startSegment(e, at)
	case vad.InferenceDone:
		if s.seg != nil && e.Speaking {
			s.goOn(e)
		}
	case vad.EndOfSpeech:
		if s.seg != nil {
			s.endSegment(at - e.SilenceDuration)
		}
	}
	s.mu.Unlock()
	if e.Kind != vad.StartOfSpeech {
		s.deliver()
	}
}

// startSegment begins with the audio of the start event, less the padding that is too much.
func (s *adapted) startSegment(e *vad.Event, at time.Duration) {
	data := e.Audio.Data
	trigger := audio.SamplesIn(e.SpeechDuration, s.rate)
	padding := audio.SamplesIn(max(s.a.o.PrefixPadding, 0), s.rate)
	if extra := len(data) - trigger - padding; extra > 0 {
		data = data[extra:]
	}
	s.seg = &segment{
		data:  append(make([]int16, 0, 4*len(data)), data...),
		audio: max(at-audio.Samples(len(data)).At(s.rate), 0),
	}
	s.interimAt = later(s.interimAt, time.Now().Add(s.a.o.InterimInterval))
	s.put(&Event{Kind: StartOfSpeech, SpeechStart: max(at-e.SpeechDuration, 0)})
}

// goOn adds a window to the segment and decides about runs.
func (s *adapted) goOn(e *vad.Event) {
	g := s.seg
	g.data = append(g.data, e.Audio.Data...)
	g.marks = append(g.marks, mark{at: len(g.data), p: e.Probability})
	silent := e.RawSilence > 0
	if !silent && g.guess != nil { // the speech went on
		g.guess.cancel()
		g.guess = nil
	}
	if g.guess == nil {
		s.cutLong()
	}
	if !s.a.m.caps.Speculative {
		return
	}
	switch {
	case silent && g.guess == nil && e.SpeechDuration-e.RawSilence >= s.a.o.MinSpeculative:
		s.stopInterim()
		g.guess = s.newJob(guessRun, g)
		s.start(g.guess)
	case !silent && s.mayInterim():
		g.sofar = s.newJob(interimRun, g)
		s.start(g.sofar)
	}
}

// mayInterim reports whether it is time for an interim run and nothing better runs.
func (s *adapted) mayInterim() bool {
	return s.a.o.InterimInterval > 0 && s.seg.guess == nil && s.seg.sofar == nil &&
		len(s.pending) == 0 && !time.Now().Before(s.interimAt)
}

func (s *adapted) stopInterim() {
	if s.seg.sofar != nil {
		s.seg.sofar.cancel()
		s.seg.sofar = nil
	}
}

// endSegment makes the segment a final: with the run that guessed the end, if there is one.
func (s *adapted) endSegment(end time.Duration) {
	s.stopInterim()
	s.put(&Event{Kind: EndOfSpeech})
	j := s.seg.guess
	if j == nil {
		j = s.newJob(finalRun, s.seg)
	}
	j.end = end
	s.seg = nil
	s.queue(j)
}

// cutLong cuts a segment that is too long where it is quiet, in the end anywhere.
func (s *adapted) cutLong() {
	g := s.seg
	length := audio.Samples(len(g.data)).At(s.rate)
	if length < s.a.o.MaxSegment {
		return
	}
	from := len(g.data) - audio.SamplesIn(cutWindow, s.rate)
	best := mark{at: len(g.data), p: 2}
	for _, m := range g.marks {
		if m.at >= from && m.p < best.p {
			best = m
		}
	}
	if best.p >= quietWindow && length < s.a.o.MaxSegment+cutSlack {
		return
	}
	s.stopInterim()
	rest := append([]int16(nil), g.data[best.at:]...)
	head := &segment{data: g.data[:best.at], audio: g.audio}
	j := s.newJob(finalRun, head)
	j.end = g.audio + audio.Samples(best.at).At(s.rate)
	*g = segment{data: rest, audio: j.end}
	s.queue(j)
}

// queue puts a final at its place in the order.
func (s *adapted) queue(j *job) {
	if len(s.pending) >= maxPending {
		s.fail(&model.Error{
			Kind: model.KindTimeout, Provider: s.a.m.Info().Provider, Op: "recognize", Err: errTooSlow,
		})
		return
	}
	s.pending = append(s.pending, j)
	s.startFinals()
}

// startFinals runs the first pending finals that do not run yet.
func (s *adapted) startFinals() {
	for _, j := range s.pending[:min(len(s.pending), maxFinals)] {
		if !j.started {
			s.start(j)
		}
	}
}

func (s *adapted) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.signal()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
