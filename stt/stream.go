package stt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/pcm"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

const (
	// replayWindow is how much audio is kept for sending: what waits for the provider, and what
	// it got but has not acknowledged with a final transcript.
	replayWindow = 30 * time.Second
	// wholeUtterance is the window of a recognition that must not lose anything.
	wholeUtterance = time.Duration(math.MaxInt64)
	// eventQueue is how many events wait for Next before the provider is left waiting.
	eventQueue = 64
	// maxFlushes is how many flushes are remembered.
	maxFlushes = 64
	// closeWait bounds how long Close waits for a driver.
	closeWait = time.Second
)

// Stream is one live transcription. Push, Flush and EndInput belong to one goroutine, Next to
// another; Close may be called from any.
//
// A connection that fails is opened again when that may help, as often as ConnOptions say; a final
// transcript, or a minute on one connection, starts the count anew. The audio since the last final
// is sent again, at most 30 s of it, and times go on from where they were. Each failure is
// reported to the hooks of the context; the last one is what Next returns.
type Stream struct {
	m      *Model
	o      Options
	conn   model.ConnOptions
	user   context.Context // as given
	ctx    context.Context // ends with user or Close
	cancel context.CancelFunc

	events chan *Event
	wake   chan struct{} // one token: there is something to send
	closed chan struct{}
	done   chan struct{}  // the goroutine ended
	probes sync.WaitGroup // of a Fallback; they end with the stream

	mu       sync.Mutex
	who      *Model    // transcribes, or did
	member   *member   // of a Fallback, the same
	also     []*Stream // probes, which hear the same
	probed   []*member // whom they are to find well
	tried    []failure // models in a row; of the goroutine that runs the stream
	speakers *speakers // nil: they are not told apart
	window   time.Duration
	conv     *pcm.Converter // nil before the first audio
	in       pcm.Backlog
	next     int64   // position of the next sample to send
	flushes  []int64 // positions where a flush was asked for
	flushed  int     // how many of them were sent on this connection
	ended    bool
	isOver   bool  // no more events will come
	err      error // why, nil for a good end
	losing   bool  // unsent audio is being forgotten
	usage    usage
}

// Stream starts a live transcription; o may be nil. ctx governs its whole life: when it ends the
// stream ends, and its recorder, tags and hooks get the stream's metrics and errors. The caller
// closes the stream. Only models whose Streaming is true have streams.
func (m *Model) Stream(ctx context.Context, o *Options) (*Stream, error) {
	return m.stream(ctx, o, how{conn: m.conn, window: replayWindow})
}

// how is what a caller does not decide about a recognition.
type how struct {
	conn    model.ConnOptions
	window  time.Duration   // of a stream
	outcome metrics.Outcome // of its usage
	life    context.Context // probes end with it; nil: when their time is up
}

func (m *Model) stream(ctx context.Context, o *Options, how how) (*Stream, error) {
	if !m.Streaming() {
		return nil, ErrNotStreaming
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &Stream{
		m: m, o: optionsOf(o), user: ctx, who: m, conn: how.conn, window: how.window,
		events: make(chan *Event, eventQueue),
		wake:   make(chan struct{}, 1),
		closed: make(chan struct{}),
		done:   make(chan struct{}),
	}
	s.usage.m, s.usage.outcome = m, how.outcome
	if m.multi != nil {
		s.speakers = newSpeakers(*m.multi)
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	go s.run()
	return s, nil
}

// Push takes audio (borrowed) and sends it in the background; it never waits for the provider. All
// frames must have the rate and channels of the first, else the error is ErrFormat and the frame
// is ignored. When 30 s of audio wait to be sent, the oldest is dropped and an error event tells.
func (s *Stream) Push(f audio.Frame) error {
	if len(f.Data) == 0 {
		return s.usable()
	}
	if err := f.Validate(); err != nil {
		return fmt.Errorf("stt: push: %w", err)
	}
	s.mu.Lock()
	if err := s.usableLocked(); err != nil {
		s.mu.Unlock()
		return err
	}
	if err := s.setFormat(f); err != nil {
		s.mu.Unlock()
		return err
	}
	data := s.conv.Convert(f)
	s.speakers.hear(data, s.conv.Out)
	lost := s.append(data)
	who := s.who
	for _, p := range s.also {
		_ = p.Push(f)
	}
	s.mu.Unlock()
	s.signal()
	if lost {
		who.report(s.ctx, errors.New("stt: provider takes audio too slowly: dropped what waited for 30 s"), true, 0)
	}
	return nil
}

// setFormat takes the format of the first frame.
func (s *Stream) setFormat(f audio.Frame) error {
	if s.conv == nil {
		c, err := pcm.NewConverter(f, s.m.caps.SampleRate)
		if err != nil {
			return fmt.Errorf("stt: push: %w", err)
		}
		s.conv = c
		s.in.Limit = math.MaxInt
		if s.window != wholeUtterance {
			s.in.Limit = audio.SamplesIn(s.window, c.Out)
		}
	}
	if !s.conv.Accepts(f) {
		return ErrFormat
	}
	return nil
}

// append adds samples to the backlog and reports whether this began to lose unsent ones.
func (s *Stream) append(p []int16) (lost bool) {
	s.in.Add(p)
	if s.in.Base <= s.next {
		return false
	}
	s.next = s.in.Base
	lost = !s.losing
	s.losing = true
	return lost
}

// Flush asks for the final text of what was pushed, in its place among the audio.
func (s *Stream) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(); err != nil {
		return err
	}
	n := len(s.flushes)
	if n > s.flushed && s.flushes[n-1] == s.in.Head {
		return nil // one is waiting at this place already
	}
	if n == maxFlushes {
		s.flushes = append(s.flushes[:0], s.flushes[1:]...)
		s.flushed = max(s.flushed-1, 0)
	}
	s.flushes = append(s.flushes, s.in.Head)
	for _, p := range s.also {
		_ = p.Flush()
	}
	s.signal()
	return nil
}

// Info says who transcribes: of a Fallback, the model that is used now.
func (s *Stream) Info() model.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.who.Info()
}

// EndInput says that no more audio will come: Next returns the remaining events and then io.EOF.
// It may be called more than once.
func (s *Stream) EndInput() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(); err != nil && !errors.Is(err, ErrInputEnded) {
		return err
	}
	if !s.ended && s.conv != nil {
		s.append(s.conv.Tail())
	}
	s.ended = true
	for _, p := range s.also {
		_ = p.EndInput()
	}
	s.signal()
	return nil
}

// Next waits for the next event, which then belongs to the caller. It returns io.EOF after the end
// of input and the last event, the terminal error of a stream that failed, the error of the
// context, or ErrClosed.
func (s *Stream) Next() (*Event, error) {
	if err := s.stopped(); err != nil {
		return nil, err // whatever still waits in the queue
	}
	select {
	case e, ok := <-s.events:
		if ok {
			return e, nil
		}
	case <-s.closed:
	case <-s.user.Done():
	}
	if err := s.stopped(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return nil, io.EOF
}

// stopped returns why nobody may take anything more: Close, or the end of the context.
func (s *Stream) stopped() error {
	select {
	case <-s.closed:
		return ErrClosed
	default:
		return s.user.Err()
	}
}

// Close ends the stream at once. The usage of audio that was sent and not booked yet is recorded
// before Close returns. It may be called more than once.
func (s *Stream) Close() error {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	s.cancel()
	s.probes.Wait() // which s.cancel ends
	t := time.NewTimer(closeWait)
	defer t.Stop()
	select {
	case <-s.done:
	case <-t.C: // the driver does not let go; its goroutine ends when it does
	}
	s.account(s.usage.disconnected)
	return nil
}

func (s *Stream) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usableLocked()
}

func (s *Stream) usableLocked() error {
	select {
	case <-s.closed:
		return ErrClosed
	default:
	}
	switch {
	case s.user.Err() != nil:
		return s.user.Err()
	case s.isOver && s.err != nil:
		return s.err
	case s.ended || s.isOver:
		return ErrInputEnded
	}
	return nil
}

func (s *Stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default: // a token is waiting already
	}
}

// account runs one of the bookings of the account and records its events, outside of the lock.
func (s *Stream) account(book func() *metrics.STT) {
	s.mu.Lock()
	parts, quiet := s.usage.divide(book()), s.usage.m.quiet
	s.mu.Unlock()
	if quiet {
		return
	}
	for _, e := range parts {
		ctx := s.ctx
		if e.Tags != (metrics.Tags{}) {
			ctx = metrics.WithoutTags(ctx) // which are those of now
		}
		metrics.Record(ctx, e)
	}
}
