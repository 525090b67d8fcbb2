// Package vad detects speech in audio: the front that users hold, over a driver that knows one
// detector. The front guards against a driver's panics, and reports metrics through the context.
package vad

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/vad/driver"
)

// Event is one finding of a detector.
type Event = driver.Event

// EventKind is the kind of an Event.
type EventKind = driver.EventKind

// The kinds of events.
const (
	StartOfSpeech = driver.StartOfSpeech
	InferenceDone = driver.InferenceDone
	EndOfSpeech   = driver.EndOfSpeech
)

// ErrClosed is returned by a stream that was closed.
var ErrClosed = errors.New("vad: stream is closed")

// Model is a voice activity detector. It may be shared by all sessions of a process and is safe
// for concurrent use.
type Model struct {
	d    driver.VAD
	info model.Info
}

// New returns the model over a driver.
func New(d driver.VAD) *Model { return &Model{d: d, info: d.Info()} }

// Info says who does the work.
func (m *Model) Info() model.Info { return m.info }

// NewStream starts detection on one audio stream. The metrics and errors of the stream go where
// ctx says (metrics.WithRecorder, model.WithHooks); once ctx has ended, Process fails with its
// error. The caller closes the stream.
func (m *Model) NewStream(ctx context.Context) (*Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &Stream{ctx: ctx, m: m}
	s.observe = s.onEvent
	err := attempt.Guard(m.info, "open", func() (err error) {
		s.d, err = m.d.NewStream()
		return err
	})
	if err == nil && s.d == nil {
		err = errors.New("driver returned no stream")
	}
	if err != nil {
		err = fmt.Errorf("vad: open a stream: %w", err)
		s.report(err, false)
		return nil, err
	}
	return s, nil
}

// Stream detects speech in one audio stream. It belongs to one goroutine.
type Stream struct {
	ctx context.Context
	m   *Model
	d   driver.Stream
	err error // why the stream can no longer be used

	emit    func(*Event) // of the Process call that runs
	observe func(*Event) // onEvent, bound once so that Process allocates nothing
	failing bool         // the last Process failed: its error was reported already

	heard      audio.Samples // since the last metrics event
	rate       int
	idle       audio.Samples // since the last speech
	inferences int64
	inferTime  time.Duration
}

// Process takes the next audio (borrowed) and calls emit, on the calling goroutine and in order,
// for each event; emit borrows the event and must not call the stream. All frames must have the
// rate and channels of the first: another format is an error that leaves the stream as it was.
// It allocates nothing, apart from one metrics event per second of audio.
func (s *Stream) Process(f audio.Frame, emit func(*Event)) error {
	if s.err != nil {
		return s.err
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if len(f.Data) == 0 {
		return nil
	}
	err := s.process(f, emit)
	if err == nil {
		s.failing = false
		s.count(f)
		return nil
	}
	if !s.failing {
		s.failing = true
		s.report(err, s.err == nil)
	}
	return err
}

// process calls the driver; its panic ends the stream, because nobody knows what state it is in.
func (s *Stream) process(f audio.Frame, emit func(*Event)) (err error) {
	s.emit = emit
	defer func() {
		s.emit = nil
		if v := recover(); v != nil {
			err = fmt.Errorf("vad: process audio: %w", attempt.Panicked(s.m.info, "process", v))
			s.err = err
		}
	}()
	if err := f.Validate(); err != nil {
		return fmt.Errorf("vad: process audio: %w", err)
	}
	if err := s.d.Process(f, s.observe); err != nil {
		return fmt.Errorf("vad: process audio: %w", err)
	}
	return nil
}

func (s *Stream) onEvent(e *Event) {
	if e.Kind == InferenceDone {
		s.inferences++
		s.inferTime += e.InferenceDuration
	}
	if e.Kind != InferenceDone || e.Speaking || e.RawSpeech > 0 {
		s.idle = 0
	}
	if s.emit != nil {
		s.emit(e)
	}
}

// count books the audio of f and reports metrics once per second of it.
func (s *Stream) count(f audio.Frame) {
	n := audio.Samples(f.Samples())
	s.rate = f.Rate
	s.heard += n
	s.idle += n
	if s.heard >= audio.Samples(f.Rate) {
		s.flushMetrics()
	}
}

func (s *Stream) flushMetrics() {
	if s.inferences == 0 {
		return
	}
	metrics.Record(s.ctx, &metrics.VAD{
		Header: metrics.Header{
			Label:    s.m.info.Label,
			Source:   metrics.Measured,
			Metadata: metrics.Metadata{ModelName: s.m.info.Model, ModelProvider: s.m.info.Provider},
		},
		IdleTime:               s.idle.At(s.rate),
		InferenceDurationTotal: s.inferTime,
		InferenceCount:         s.inferences,
	})
	s.heard, s.inferences, s.inferTime = 0, 0, 0
}

// Flush forgets everything heard so far: the next speech is a fresh start. No event is emitted.
func (s *Stream) Flush() {
	if s.err != nil {
		return
	}
	err := attempt.Guard(s.m.info, "flush", func() error { s.d.Flush(); return nil })
	if err != nil {
		s.err = fmt.Errorf("vad: flush: %w", err)
		s.report(s.err, false)
	}
}

// MinSilence is the unbroken silence that ends speech.
func (s *Stream) MinSilence() (d time.Duration) {
	_ = attempt.Guard(s.m.info, "min silence", func() error { d = s.d.MinSilence(); return nil })
	return d
}

// Close releases the stream and reports the metrics of its last, incomplete second. It may be
// called more than once.
func (s *Stream) Close() error {
	if errors.Is(s.err, ErrClosed) {
		return nil
	}
	s.err = ErrClosed
	s.flushMetrics()
	if err := attempt.Guard(s.m.info, "close", s.d.Close); err != nil {
		return fmt.Errorf("vad: close: %w", err)
	}
	return nil
}

func (s *Stream) report(err error, recoverable bool) {
	model.ReportError(s.ctx, model.ErrorEvent{
		Kind: "vad", Info: s.m.info, Err: err, Recoverable: recoverable, Time: time.Now(),
	})
}
