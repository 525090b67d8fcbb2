package tts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
	"unicode"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

const (
	// audioQueue is how many pieces of audio wait for Next before the provider is left waiting.
	audioQueue = 256
	// maxText bounds the text of one segment, in bytes.
	maxText = 1 << 20
	// closeWait bounds how long Close waits for the last count of what was sent.
	closeWait = 100 * time.Millisecond
)

// Stream is one segment of speech. Push and EndInput belong to one goroutine, Next to another;
// Close may be called from any.
//
// An attempt that fails is repeated with the whole text when that may help, as often as
// ConnOptions say, but only while no audio came of it: what may have been heard is not said again.
// Each failure is reported to the hooks of the context; the last one is what Next returns.
type Stream struct {
	m      *Model
	conn   model.ConnOptions
	user   context.Context // as given
	ctx    context.Context // ends with user or Close, or when all audio is there
	cancel context.CancelFunc
	span   context.Context // that the spans of requests are in

	out    chan item
	wake   chan struct{} // one token: text, or room for more audio
	closed chan struct{}
	booked chan struct{}  // everything sent is counted and recorded
	probes sync.WaitGroup // of a Fallback; they end with Close
	lent   Audio          // by the latest Next
	free   chan []int16   // buffers to use again

	mu     sync.Mutex
	src    source
	who    *Model // speaks, or did
	more   bool   // there is another model, should this one fail
	size   int    // bytes of text
	ended  bool
	taken  int // number of the piece that Next has got to
	isOver bool
	err    error
	acct   *account        // of the request that runs
	cut    metrics.Outcome // how work that is cut off counts
	unread *unread         // nil: nothing waits to be recorded
	ready  time.Time       // there was text enough to speak
	first  time.Time       // the first audio came
	since  time.Time       // the first text was sent to a model that failed
}

// item is an Audio on its way to Next, and the number of its piece, from 1.
type item struct {
	Audio
	piece int
}

// source makes the audio of a stream. push, end and ready are called under the stream's lock.
type source interface {
	push(text string)
	end()
	ready() bool // there is text enough to speak
	run(s *Stream) error
}

func (m *Model) newStream(ctx context.Context, conn model.ConnOptions, whole bool) *Stream {
	s := &Stream{
		m: m, conn: conn, user: ctx, src: m.newSource(whole), who: m,
		out:    make(chan item, audioQueue),
		wake:   make(chan struct{}, 1),
		closed: make(chan struct{}),
		booked: make(chan struct{}),
		free:   make(chan []int16, audioQueue),
		cut:    metrics.Interrupted,
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.span = s.ctx
	go s.run()
	return s
}

func (s *Stream) run() {
	err := s.src.run(s)
	if s.ctx.Err() != nil {
		s.abort()
		if err == nil || errors.Is(err, context.Canceled) {
			err = s.ctx.Err()
		}
	} else if err != nil {
		err = fmt.Errorf("tts: speak: %w", err)
	}
	close(s.booked)
	s.mu.Lock()
	s.isOver = true
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	close(s.out)
	s.cancel()
}

// fail ends the stream with err.
func (s *Stream) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.cancel()
}

// Push adds text; pieces are joined without anything between them, and empty ones are ignored. It
// never waits for the provider.
func (s *Stream) Push(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if text == "" {
		return nil
	}
	if s.size+len(text) > maxText {
		return ErrTooLong
	}
	s.size += len(text)
	s.src.push(text)
	s.noteReady()
	s.signal()
	return nil
}

// EndInput says that the text is complete: Next returns the remaining audio and then io.EOF. It
// may be called more than once.
func (s *Stream) EndInput() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		if errors.Is(err, ErrInputEnded) {
			return nil
		}
		return err
	}
	s.ended = true
	s.src.end()
	s.noteReady()
	s.probePassed()
	s.signal()
	return nil
}

func (s *Stream) noteReady() {
	if s.ready.IsZero() && s.src.ready() {
		s.ready = time.Now()
	}
}

func (s *Stream) noteFirst() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first.IsZero() {
		s.first = time.Now()
	}
}

// Ready is when there was first text enough to speak: the first text for a model that takes it while
// it is written, the first whole sentence or clause for any other. It is zero before.
func (s *Stream) Ready() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

// FirstAudio is when the first audio came, which may be earlier than Next returned it. It is zero
// before.
func (s *Stream) FirstAudio() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first
}

func (s *Stream) usable() error {
	select {
	case <-s.closed:
		return ErrClosed
	default:
	}
	switch {
	case s.err != nil:
		return s.err
	case s.user.Err() != nil:
		return s.user.Err()
	case s.ended || s.isOver:
		return ErrInputEnded
	}
	return nil
}

// Next waits for more audio, which is borrowed until the next call. It returns io.EOF after the end of input and the last audio, the
// terminal error of a speech that failed, the error of the context, or ErrClosed.
func (s *Stream) Next() (*Audio, error) {
	s.recycle()
	if err := s.stopped(); err != nil {
		return nil, err // whatever still waits in the queue
	}
	select {
	case it, ok := <-s.out:
		if ok {
			return s.lend(it), nil
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

func (s *Stream) lend(it item) *Audio {
	s.lent = it.Audio
	s.mu.Lock()
	if it.piece > s.taken {
		s.taken = it.piece
		s.signal()
	}
	s.mu.Unlock()
	s.took()
	return &s.lent
}

func (s *Stream) recycle() {
	if s.lent.Frame.Data != nil {
		select {
		case s.free <- s.lent.Frame.Data[:0]:
		default: // enough of them
		}
	}
	s.lent = Audio{}
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

// Close ends the stream. Before its end that cancels the speech: what was sent until now is
// recorded as interrupted. It does not wait for the provider, and may be called more than once.
func (s *Stream) Close() error {
	s.end(metrics.Interrupted)
	s.settle(metrics.Delivered)
	return nil
}

// Discard closes the stream and says that nothing of it was used, as when a speech was begun too
// early and is thrown away. Its usage counts as discarded, unless Next has returned audio of it.
func (s *Stream) Discard() {
	s.end(metrics.Discarded)
	s.settle(metrics.Discarded)
}

// Info says who speaks: of a Fallback, the model that was asked last.
func (s *Stream) Info() model.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.who.Info()
}

// Done is closed when the provider has sent all audio, or the stream has ended otherwise. Some of the
// audio may still wait for Next.
func (s *Stream) Done() <-chan struct{} { return s.booked }

// end cancels what runs; it counts as o unless an earlier call has said otherwise.
func (s *Stream) end(o metrics.Outcome) {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		if s.taken == 0 {
			s.cut = o
		}
		close(s.closed)
	}
	s.mu.Unlock()
	s.cancel()
	t := time.NewTimer(closeWait)
	defer t.Stop()
	select {
	case <-s.booked:
	case <-t.C: // the driver does not let go; its goroutine ends when it does
		s.abort()
	}
	s.probes.Wait() // which s.closed ends
}

func (s *Stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default: // a token is waiting already
	}
}

// await blocks until cond, which is called under the lock, holds; false means that the stream ended.
func (s *Stream) await(ctx context.Context, cond func() bool) bool {
	for {
		s.mu.Lock()
		ok := cond()
		s.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return false
		}
	}
}

// emit hands audio to Next; samples are copied. False means that the stream ended.
func (s *Stream) emit(it item) bool {
	if len(it.Frame.Data) > 0 {
		var buf []int16
		select {
		case buf = <-s.free:
		default:
		}
		it.Frame.Data = append(buf, it.Frame.Data...)
	}
	select {
	case s.out <- it:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// quiet reports whether err is the provider's way to say that the client closed the request.
func quiet(err error) bool {
	var e *model.Error
	return errors.As(err, &e) && e.Kind == model.KindStatus && e.Status == 499
}

// speakable reports whether there is anything in text that makes a sound.
func speakable(text string) bool {
	for _, r := range text {
		if unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsSymbol(r) {
			return true
		}
	}
	return false
}

// mono makes frames of one rate and one channel out of what a driver gives.
type mono struct {
	rate int // 0 keeps the rate
	from int
	mix  []int16
	buf  []int16
	r    *audio.Resampler
}

func (c *mono) convert(f audio.Frame) (audio.Frame, error) {
	if err := f.Validate(); err != nil {
		return f, err
	}
	data := f.Data
	if f.Channels > 1 {
		c.mix = c.mix[:0]
		for i := 0; i < len(data); i += f.Channels {
			sum := 0
			for _, v := range data[i : i+f.Channels] {
				sum += int(v)
			}
			c.mix = append(c.mix, int16(sum/f.Channels))
		}
		data = c.mix
	}
	out := audio.Frame{Data: data, Rate: f.Rate, Channels: 1}
	if c.rate == 0 || c.rate == f.Rate {
		return out, nil
	}
	if c.r == nil || c.from != f.Rate {
		r, err := audio.NewResampler(f.Rate, c.rate, 1, audio.High)
		if err != nil {
			return f, err
		}
		c.r, c.from = r, f.Rate
	}
	c.buf = c.r.Process(c.buf[:0], data)
	out.Data, out.Rate = c.buf, c.rate
	return out, nil
}

// tail returns what the resampler still holds.
func (c *mono) tail() audio.Frame {
	if c.r == nil {
		return audio.Frame{}
	}
	c.buf = c.r.Flush(c.buf[:0])
	c.r = nil
	return audio.Frame{Data: c.buf, Rate: c.rate, Channels: 1}
}
