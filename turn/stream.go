package turn

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/turn/driver"
)

// NewStream starts to listen to one user. ctx bounds the opening, and its values serve the stream
// until it is closed. The caller closes the stream. ErrKind is the error of a model by text.
func (m *Model) NewStream(ctx context.Context) (*Stream, error) {
	if m.err != nil {
		return nil, m.err
	}
	if m.audio == nil {
		return nil, fmt.Errorf("%w: open a stream", ErrKind)
	}
	s := &Stream{ctx: context.WithoutCancel(ctx), first: m, slot: make(chan struct{}, 1)}
	for who := m; ; who = who.local {
		d, err := who.open(ctx)
		if err == nil {
			s.d, s.who = d, who
			return s, nil
		}
		if who.local == nil || ctx.Err() != nil {
			return nil, err
		}
	}
}

// open opens a stream of the driver; an error has been reported.
func (m *Model) open(ctx context.Context) (driver.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var d driver.Stream
	err := attempt.Guard(m.info, "open", func() (err error) {
		d, err = m.audio.NewStream(ctx)
		return err
	})
	if err == nil && d == nil {
		err = errors.New("driver returned no stream")
	}
	if err != nil {
		err = fmt.Errorf("turn: open a stream: %w", err)
		m.report(ctx, err)
		return nil, err
	}
	return d, nil
}

// Stream listens to one user. It is safe for concurrent use.
type Stream struct {
	ctx   context.Context // values for what happens outside of a prediction
	first *Model          // who was asked for the stream
	slot  chan struct{}   // holds one token while a prediction runs; full means wait or give up

	mu     sync.Mutex
	cancel context.CancelCauseFunc // of the newest prediction; nil if none runs
	newest int                     // its number
	closed bool

	feed   sync.Mutex // held while the driver's stream is pushed to, flushed or replaced
	who    *Model     // who judges now
	d      driver.Stream
	broken error // why d can no longer be used
	ended  bool  // d is closed
}

// Info says who judges now: the model, or who stands in for it.
func (s *Stream) Info() model.Info {
	s.feed.Lock()
	defer s.feed.Unlock()
	return s.who.info
}

// Push takes the next audio of the user (borrowed), silence included. It does not block. Invalid
// frames and audio after Close are ignored.
func (s *Stream) Push(f audio.Frame) {
	if len(f.Data) == 0 || f.Validate() != nil {
		return
	}
	s.drive("push", func(d driver.Stream) { d.Push(f) })
}

// Predict judges whether the user's turn is over, by the audio since the last Flush. A newer
// prediction, Cancel, Flush and Close end it with ErrDropped; the timeout with ErrTimeout; the end
// of ctx with the error of ctx.
//
// When a model with a Fallback fails, the prediction fails with it; from then on the stream goes
// to the model that stands in, which starts with the audio that comes.
func (s *Stream) Predict(ctx context.Context, language string) (Prediction, error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return Prediction{}, err
	}
	defer done()
	select {
	case s.slot <- struct{}{}:
		defer func() { <-s.slot }()
	case <-ctx.Done():
		return Prediction{}, context.Cause(ctx)
	}
	s.feed.Lock()
	who, d, err := s.who, s.d, s.broken
	s.feed.Unlock()
	var p Prediction
	if err == nil {
		if !who.SupportsLanguage(language) {
			return Prediction{}, fmt.Errorf("%w: %q", ErrLanguage, language)
		}
		p, err = who.judge(ctx, d.Predict)
	}
	if err != nil {
		if ctx.Err() == nil && who.local != nil {
			s.fallBack(ctx, who.local)
		}
		return Prediction{}, err
	}
	p.Threshold = who.thresholdAfter(s.first, language)
	return p, nil
}

// begin drops the prediction that runs and makes the context of a new one.
func (s *Stream) begin(ctx context.Context) (_ context.Context, done func(), _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, ErrClosed
	}
	s.dropLocked()
	ctx, cancel := context.WithCancelCause(ctx)
	s.newest++
	n := s.newest
	s.cancel = cancel
	return ctx, func() {
		cancel(nil)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.newest == n {
			s.cancel = nil
		}
	}, nil
}

func (s *Stream) dropLocked() {
	if s.cancel != nil {
		s.cancel(ErrDropped)
		s.cancel = nil
	}
}

// Cancel drops the prediction that runs, if there is one.
func (s *Stream) Cancel() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked()
}

// Flush drops the prediction that runs and forgets the audio: the next turn begins.
func (s *Stream) Flush() {
	s.Cancel()
	s.drive("flush", func(d driver.Stream) { d.Flush() })
}

// drive calls the driver's stream unless it is gone; its panic ends it, because nobody knows what
// state it is in.
func (s *Stream) drive(op string, f func(d driver.Stream)) {
	s.feed.Lock()
	who, err := s.who, s.driveLocked(op, f)
	s.feed.Unlock()
	if err != nil {
		who.report(s.ctx, err)
	}
}

func (s *Stream) driveLocked(op string, f func(d driver.Stream)) error {
	if s.ended || s.broken != nil {
		return nil
	}
	err := attempt.Guard(s.who.info, op, func() error { f(s.d); return nil })
	if err != nil {
		s.broken = fmt.Errorf("turn: %s: %w", op, err)
	}
	return s.broken
}

// fallBack lets local take over. The caller holds the slot.
func (s *Stream) fallBack(ctx context.Context, local *Model) {
	d, err := local.open(ctx)
	if err != nil {
		return // reported; the next failure tries again
	}
	s.feed.Lock()
	old, who := s.d, s.who
	s.d, s.who, s.broken = d, local, nil
	s.feed.Unlock()
	if err := attempt.Guard(who.info, "close", old.Close); err != nil {
		who.report(s.ctx, fmt.Errorf("turn: close: %w", err))
	}
}

// Close drops the prediction that runs, waits for the driver to let go of it, and releases the
// stream. It may be called more than once.
func (s *Stream) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.dropLocked()
	s.mu.Unlock()
	if !first {
		return nil
	}
	s.slot <- struct{}{} // the prediction was told to end; no other begins
	s.feed.Lock()
	s.ended = true
	d, who := s.d, s.who
	s.feed.Unlock()
	if err := attempt.Guard(who.info, "close", d.Close); err != nil {
		return fmt.Errorf("turn: close: %w", err)
	}
	return nil
}
