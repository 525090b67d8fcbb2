// Package tts turns text into speech: the front that users hold, over a driver that speaks the
// protocol of one provider. The front retries as long as nothing was heard, cuts text into pieces
// for drivers that take whole texts, and reports usage, times and errors through the context.
package tts

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tts/driver"
)

// Names of the driver contract that users meet.
type (
	Word         = driver.Word
	Capabilities = driver.Capabilities
)

var (
	// ErrClosed is returned by a stream that was closed.
	ErrClosed = errors.New("tts: stream is closed")
	// ErrInputEnded is returned by Push after EndInput: a stream is exactly one segment.
	ErrInputEnded = errors.New("tts: input has ended")
	// ErrTooLong is returned by Push when a segment grows past 1 MiB of text.
	ErrTooLong = errors.New("tts: text of the segment is too long")
)

// ModelOptions tune a model; nil means the defaults.
type ModelOptions struct {
	// Conn says how often and how long a call is tried.
	Conn model.ConnOptions
	// CountReplays counts the characters of a segment again for every attempt that sent them, for
	// providers that bill failed attempts. By default a text counts once.
	CountReplays bool
}

// Model is a speech synthesiser. It may be shared by all sessions of a process and is safe for
// concurrent use.
type Model struct {
	d     driver.TTS
	info  model.Info
	caps  Capabilities
	o     ModelOptions
	gauge gauge
	// Of a Fallback, which has no driver: whom to ask for streams and for whole texts.
	streams, wholes *group
}

// New returns the model over a driver; o may be nil.
func New(d driver.TTS, o *ModelOptions) *Model {
	m := &Model{d: d, info: d.Info(), caps: d.Capabilities()}
	m.gauge.bills = m.caps.Tokens
	if o != nil {
		m.o = *o
	}
	m.o.Conn = m.o.Conn.Defaults()
	return m
}

// Info says who does the work.
func (m *Model) Info() model.Info {
	if m.streams != nil {
		return m.streams.First().info
	}
	return m.info
}

// Capabilities says what the model can do. The audio of streams is mono whatever Channels says.
func (m *Model) Capabilities() Capabilities { return m.caps }

// Prewarm opens a connection ahead of the first speech if the driver can. It is best effort and returns
// when that is done, goes on in the background, or ctx ends.
func (m *Model) Prewarm(ctx context.Context) {
	if m.streams != nil {
		m = m.streams.Models()[0]
	}
	if p, ok := m.d.(driver.Prewarmer); ok {
		_ = attempt.Guard(m.info, "prewarm", func() error { p.Prewarm(ctx); return nil })
	}
}

// endWait is how long Model.Close waits for speeches.
const endWait = 2 * time.Second

// Close ends the connections that the driver keeps. Speeches that go on after 2 s are cut off. It may be
// called twice; the model is not used afterwards.
func (m *Model) Close() error {
	c, ok := m.d.(driver.Closer)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), endWait)
	defer cancel()
	return attempt.Guard(m.info, "close", func() error { return c.Close(ctx) })
}

// Streaming reports whether the provider takes text while it is written. Stream works for every
// model; for one that is not streaming it asks piece by piece.
func (m *Model) Streaming() bool {
	if m.streams != nil {
		return slices.ContainsFunc(m.streams.Models(), (*Model).Streaming)
	}
	_, ok := m.d.(driver.Streamer)
	return ok
}

// Audio is a piece of speech.
type Audio struct {
	// Frame is mono at the SampleRate of the capabilities, borrowed until the next call of Next.
	// It is empty on an Audio that only carries words or an end.
	Frame audio.Frame
	// Words start in this segment; times count from its start.
	Words []Word
	// RequestID is the provider's id of the request, if known.
	RequestID string
	// Text is the text that this audio begins. Only models that are not streaming know it: each
	// piece of text is on the first Audio of its speech.
	Text string
	// PieceEnd is set on the last Audio of a piece whose Text was given; its Frame is empty.
	PieceEnd bool
}

// Stream starts one segment of speech: text is pushed while audio comes out. Nothing is asked of
// the provider before there is text to speak. ctx governs the whole life of the stream: when it
// ends the speech is cancelled, and its recorder, tags and hooks get the metrics and errors. The
// caller closes the stream.
func (m *Model) Stream(ctx context.Context) *Stream {
	return m.newStream(ctx, m.o.Conn, false)
}

// Synthesize speaks one whole text, with one request where the driver can do that. The stream
// takes no more text.
func (m *Model) Synthesize(ctx context.Context, text string) *Stream {
	s := m.newStream(ctx, m.o.Conn, true)
	if err := s.Push(text); err != nil {
		s.fail(err)
	}
	_ = s.EndInput()
	return s
}

// newSource is the source of a stream of m, for a whole text or one that is being written.
func (m *Model) newSource(whole bool) source {
	streamer, streams := m.d.(driver.Streamer)
	synthesizer, synthesizes := m.d.(driver.Synthesizer)
	switch {
	case m.streams != nil:
		return newTakeover(m, whole)
	case synthesizes && (whole || !streams):
		return newPieces(m, synthesizer, whole)
	case streams:
		return newSegment(m, streamer)
	}
	return mute{m}
}

// mute is the source of a stream whose driver can neither stream nor synthesize.
type mute struct{ m *Model }

func (mute) push(string) {}
func (mute) end()        {}
func (mute) ready() bool { return false }
func (x mute) run(s *Stream) error {
	err := x.m.newError(model.KindRequest, "speak", "driver implements neither Synthesizer nor Streamer")
	x.m.report(s.ctx, err, s.mayPassOn(), 0)
	return err
}

func (m *Model) header(src metrics.Source) metrics.Header {
	return metrics.Header{
		Label:    m.info.Label,
		Source:   src,
		Metadata: metrics.Metadata{ModelName: m.info.Model, ModelProvider: m.info.Provider},
	}
}

func (m *Model) report(ctx context.Context, err error, recoverable bool, n int) {
	model.ReportError(ctx, model.ErrorEvent{
		Kind: "tts", Info: m.info, Err: err, Recoverable: recoverable, Attempt: n, Time: time.Now(),
	})
}

func (m *Model) newError(kind model.ErrorKind, op, what string) error {
	return &model.Error{Kind: kind, Provider: m.info.Provider, Op: op, Err: errors.New(what)}
}
