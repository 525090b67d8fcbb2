// Package stt turns speech into text: the front that users hold, over a driver that speaks the
// protocol of one provider. The front resamples, retries, replays the audio that a dropped
// connection lost, keeps times linear, and reports usage and errors through the context.
package stt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/internal/pcm"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt/driver"
)

// Names of the driver contract that users meet.
type (
	Event        = driver.Event
	EventKind    = driver.EventKind
	Alternative  = driver.Alternative
	Word         = driver.Word
	Capabilities = driver.Capabilities
	Options      = driver.Options
	Result       = driver.Result
	UsageReport  = driver.UsageReport
	Role         = driver.Role
)

// The roles of speakers, which MultiSpeaker tells.
const (
	Primary    = driver.Primary
	Background = driver.Background
)

// The kinds of events. A stream of this package never delivers Usage: it becomes metrics.
const (
	StartOfSpeech = driver.StartOfSpeech
	Interim       = driver.Interim
	Preflight     = driver.Preflight
	Final         = driver.Final
	Usage         = driver.Usage
	EndOfSpeech   = driver.EndOfSpeech
)

var (
	// ErrClosed is returned by a stream that was closed.
	ErrClosed = errors.New("stt: stream is closed")
	// ErrInputEnded is returned by Push and Flush after EndInput.
	ErrInputEnded = errors.New("stt: input has ended")
	// ErrFormat is returned by Push for a frame whose rate or channels differ from the first's.
	ErrFormat = errors.New("stt: audio format changed within the stream")
	// ErrNotStreaming is returned by Stream of a model that only transcribes whole utterances;
	// Adapt makes such a model streaming.
	ErrNotStreaming = errors.New("stt: model does not stream")
)

// ModelOptions tune a model; nil means the defaults.
type ModelOptions struct {
	// Conn says how often and how long a call is tried.
	Conn model.ConnOptions
}

// Model is a speech recogniser. It may be shared by all sessions of a process and is safe for
// concurrent use.
type Model struct {
	d    driver.STT
	info model.Info
	caps Capabilities
	conn model.ConnOptions
	// gauge has what utterances cost, for those whose cost is not stated.
	gauge *gauge
	// quiet models are adapters around a model that reports errors and usage itself.
	quiet bool
	inner *Model               // of an adapter, else nil
	group *group               // of a Fallback, which has no driver, else nil
	multi *MultiSpeakerOptions // nil: speakers are not told apart
}

// New returns the model over a driver; o may be nil.
func New(d driver.STT, o *ModelOptions) *Model {
	m := &Model{d: d, info: d.Info(), caps: d.Capabilities(), gauge: &gauge{}}
	m.gauge.bills = m.caps.Tokens
	if o != nil {
		m.conn = o.Conn
	}
	m.conn = m.conn.Defaults()
	return m
}

// Info says who does the work.
func (m *Model) Info() model.Info {
	switch {
	case m.inner != nil:
		return m.inner.Info()
	case m.group != nil:
		return m.group.First().Info()
	}
	return m.info
}

// Capabilities says what the model can do.
func (m *Model) Capabilities() Capabilities { return m.caps }

// Streaming reports whether Stream works.
func (m *Model) Streaming() bool {
	if m.group != nil {
		return !slices.ContainsFunc(m.group.Models(), func(m *Model) bool { return !m.Streaming() })
	}
	_, ok := m.d.(driver.Streamer)
	return ok
}

// Recognize transcribes a whole utterance (f is borrowed); o may be nil. A text of "" is a normal
// answer. Failed attempts are tried again when that may help; each is bounded by the timeout of
// the model's ConnOptions plus the length of the audio, and reported to the hooks of ctx. A
// successful call records one metrics event.
func (m *Model) Recognize(ctx context.Context, f audio.Frame, o *Options) (*Result, error) {
	if m.inner != nil {
		return m.inner.Recognize(ctx, f, o)
	}
	if err := f.Validate(); err != nil {
		return nil, fmt.Errorf("stt: recognize: %w", err)
	}
	r, err := m.recognize(ctx, f, o, how{conn: m.conn})
	if err != nil {
		return nil, err
	}
	r.book(ctx)
	return r.result, nil
}

// run is a successful recognition that may be booked once its result is used.
type run struct {
	m        *Model // who did it
	booked   bool   // it was a stream, which books itself
	outcome  metrics.Outcome
	result   *Result
	audio    time.Duration // submitted
	took     time.Duration // the successful attempt
	conn     *attempt.Acquisition
	attempts int // failed ones before it
}

// recognize transcribes, and leaves the booking to the caller.
func (m *Model) recognize(ctx context.Context, f audio.Frame, o *Options, how how) (*run, error) {
	if m.inner != nil {
		return m.inner.recognize(ctx, f, o, how)
	}
	if m.group != nil {
		return m.recognizeAny(ctx, f, o, how)
	}
	if _, ok := m.d.(driver.Recognizer); !ok {
		return m.recognizeStreamed(ctx, f, o, how)
	}
	f, err := pcm.Whole(f, m.caps.SampleRate)
	if err != nil {
		return nil, fmt.Errorf("stt: recognize: %w", err)
	}
	limit := how.conn.Timeout + f.Duration()
	ctx, conn := attempt.Watch(ctx)
	for n := 0; ; n++ {
		began := time.Now()
		res, err := m.recognizeOnce(ctx, f, o, limit)
		if err == nil {
			return &run{m: m, outcome: how.outcome, result: res, audio: f.Duration(), took: time.Since(began), conn: conn, attempts: n}, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		again := n < how.conn.MaxRetry && model.Retryable(err)
		m.report(ctx, err, again, n)
		if !again {
			return nil, fmt.Errorf("stt: recognize: %w", attempt.Exhausted(m.info, "recognize", n+1, err))
		}
		if err := how.conn.Wait(ctx, n, err); err != nil {
			return nil, err
		}
	}
}

func (m *Model) recognizeOnce(ctx context.Context, f audio.Frame, o *Options, limit time.Duration) (res *Result, err error) {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = attempt.Guard(m.info, "recognize", func() (err error) {
		res, err = m.d.(driver.Recognizer).Recognize(bounded, f, optionsOf(o))
		return err
	})
	if err == nil && res == nil {
		err = m.protocolError("recognize", "driver returned no result")
	}
	return res, attempt.Classify(ctx, m.info, "recognize", limit, err)
}

// recognizeStreamed transcribes with a model that only streams; the stream books the usage.
func (m *Model) recognizeStreamed(ctx context.Context, f audio.Frame, o *Options, how how) (*run, error) {
	how.window = wholeUtterance
	s, err := m.stream(ctx, o, how)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := s.Push(f); err != nil {
		return nil, err
	}
	if err := s.EndInput(); err != nil {
		return nil, err
	}
	res := &Result{}
	var texts []string
	for {
		e, err := s.Next()
		if errors.Is(err, io.EOF) {
			res.Text = strings.Join(texts, " ")
			return &run{m: m, outcome: how.outcome, result: res, audio: f.Duration(), booked: true}, nil
		}
		if err != nil {
			return nil, err
		}
		if e.Kind != Final || len(e.Alternatives) == 0 {
			continue
		}
		a := e.Alternatives[0]
		if len(texts) == 0 {
			res.RequestID, res.Alternative = e.RequestID, a
		} else {
			res.End, res.Words = a.End, append(res.Words, a.Words...)
		}
		if a.Text != "" {
			texts = append(texts, a.Text)
		}
	}
}

// discard books a recognition that nobody gets to see.
func (r *run) discard(ctx context.Context) {
	r.outcome = metrics.Discarded
	r.book(ctx)
}

// book records the one metrics event of a batch recognition.
func (r *run) book(ctx context.Context) {
	if r.booked {
		return
	}
	e := &metrics.STT{Header: r.m.header(metrics.Measured), Duration: r.took, AudioDuration: r.audio}
	e.RequestID, e.Attempt, e.Outcome = r.result.RequestID, r.attempts, r.outcome
	if e.RequestID == "" {
		e.RequestID = metrics.NewID("stt_")
	}
	if e.Acquired = r.conn.Known(); e.Acquired {
		e.AcquireTime, e.ConnectionReused = r.conn.Acquired()
	}
	if u := r.result.Usage; u != nil {
		e.Source, e.Raw = sourceOf(*u), u.Raw
		e.InputTokens, e.OutputTokens = u.InputTokens, u.OutputTokens
		if u.AudioDuration > 0 {
			e.AudioDuration = u.AudioDuration
		}
		r.m.gauge.learn(r.audio, r.result.Text, u.InputTokens, u.OutputTokens)
	} else if in, out := r.m.gauge.tokens(r.audio, r.result.Text); in+out > 0 {
		e.Source, e.InputTokens, e.OutputTokens = metrics.Estimated, in, out
	}
	metrics.Record(ctx, e)
}

func (m *Model) header(src metrics.Source) metrics.Header {
	return metrics.Header{
		Label:    m.info.Label,
		Source:   src,
		Metadata: metrics.Metadata{ModelName: m.info.Model, ModelProvider: m.info.Provider},
	}
}

func (m *Model) report(ctx context.Context, err error, recoverable bool, n int) {
	if m.quiet {
		return
	}
	model.ReportError(ctx, model.ErrorEvent{
		Kind: "stt", Info: m.info, Err: err, Recoverable: recoverable, Attempt: n, Time: time.Now(),
	})
}

func (m *Model) protocolError(op, what string) error {
	return &model.Error{Kind: model.KindProtocol, Provider: m.info.Provider, Op: op, Err: errors.New(what)}
}

func optionsOf(o *Options) Options {
	if o == nil {
		return Options{}
	}
	return *o
}
