package tts

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tts/driver"
)

// request is what the attempts at one request share.
type request struct {
	s     *Stream
	a     *account
	piece int           // number of the piece, from 1
	text  string        // for the first Audio; only pieces have it
	start time.Duration // where the audio of this request begins in the segment
	heard bool          // audio was handed on: no more retries
	got   time.Duration // audio handed on
	ids   []string      // the provider's ids of this attempt
}

// retry runs once until it succeeds, need not or must not be tried again, and records the account.
func (r *request) retry(ctx context.Context, input func() string, once func(ctx context.Context, n int) error) error {
	s, m, conn := r.s, r.a.m, r.s.conn
	ctx, endSpan := model.StartSpan(ctx, "tts_request",
		slog.Bool("lk.tts.streaming", r.a.e.Streamed), slog.String("lk.tts.label", m.info.Label))
	for n := 0; ; n++ {
		r.a.attempt(n)
		err := r.traced(ctx, n, once)
		switch {
		case s.ctx.Err() != nil:
			endSpan(s.ctx.Err(), metricsAttr(s.abort())...)
			return s.ctx.Err()
		case err == nil:
			e := s.deliver(r.piece)
			endSpan(nil, append(metricsAttr(e), slog.String("lk.pii.input_text", input()))...)
			return nil
		case quiet(err):
			endSpan(nil, metricsAttr(s.abort())...)
			return nil
		}
		again := !r.heard && n < conn.MaxRetry && model.Retryable(err)
		m.report(s.ctx, err, again || s.mayPassOn(), n)
		if !again {
			endSpan(err, metricsAttr(s.finish(metrics.Failed))...)
			return attempt.Exhausted(m.info, "speak", n+1, err)
		}
		if werr := conn.Wait(s.ctx, n, err); werr != nil {
			endSpan(werr, metricsAttr(s.abort())...)
			return werr
		}
	}
}

func (r *request) traced(ctx context.Context, n int, once func(ctx context.Context, n int) error) error {
	r.ids = nil
	ctx, end := model.StartSpan(ctx, "tts_request_run", slog.Int("lk.retry_count", n))
	err := once(ctx, n)
	end(err, slog.Any("lk.provider_request_ids", r.ids))
	return err
}

func metricsAttr(e *metrics.TTS) []slog.Attr {
	if e == nil {
		return nil
	}
	return []slog.Attr{slog.Any("lk.tts_metrics", e)}
}

// attemptState is one attempt that runs: a stream of the driver and what ends it.
type attemptState struct {
	r       *request
	ctx     context.Context
	cancel  context.CancelCauseFunc
	dog     *attempt.Watchdog
	conv    mono
	pending []Word      // came before the first audio
	over    atomic.Bool // the receiver is done, and the driver's stream is closed or will be
}

func (r *request) begin(ctx context.Context) *attemptState {
	t := &attemptState{r: r, conv: mono{rate: r.s.m.caps.SampleRate}}
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	m, limit := r.a.m, r.s.conn.Timeout
	t.dog = attempt.NewWatchdog(limit, func() { t.cancel(attempt.Timeout(m.info, "speak", limit)) })
	return t
}

// judge chooses the error of an attempt: why we ended it, if we did.
func (t *attemptState) judge(err error) error {
	if cause := context.Cause(t.ctx); cause != nil && t.r.s.ctx.Err() == nil {
		return cause
	}
	return err
}

// closer returns a function that closes the driver's stream once: the context of the attempt or the
// returned call, whichever comes first.
func (t *attemptState) closer(d driver.AudioStream) func() {
	doClose := func() { _ = attempt.Guard(t.r.a.m.info, "close", d.Close) }
	stop := context.AfterFunc(t.ctx, doClose)
	return func() {
		if stop() {
			doClose()
		}
	}
}

// receive hands the driver's audio on. It returns nil at the end that the driver makes.
func (t *attemptState) receive(d driver.AudioStream) error {
	for {
		c, err := t.next(d)
		switch {
		case errors.Is(err, io.EOF):
			return t.finish()
		case err != nil:
			return err
		case c == nil:
			return t.r.a.m.newError(model.KindProtocol, "receive", "driver returned no audio chunk")
		}
		if err := t.deliver(c); err != nil {
			return err
		}
	}
}

// next waits for the driver's next chunk. It allocates nothing, as it runs for every frame.
func (t *attemptState) next(d driver.AudioStream) (c *driver.Chunk, err error) {
	t.dog.Wait()
	defer func() {
		if v := recover(); v != nil {
			err = attempt.Panicked(t.r.a.m.info, "receive", v)
		}
		t.dog.Got()
	}()
	return d.Next(t.ctx)
}

func (t *attemptState) deliver(c *driver.Chunk) error {
	r := t.r
	if c.RequestID != "" && (len(r.ids) == 0 || r.ids[len(r.ids)-1] != c.RequestID) {
		r.ids = append(r.ids, c.RequestID)
		r.a.request(c.RequestID)
	}
	if c.Usage != nil {
		r.a.reported(*c.Usage)
	}
	for _, w := range c.Words {
		w.Start += r.start
		w.End += r.start
		t.pending = append(t.pending, w)
	}
	it := item{Audio: Audio{RequestID: c.RequestID}, piece: r.piece}
	if len(c.Frame.Data) > 0 {
		f, err := t.conv.convert(c.Frame)
		if err != nil {
			return &model.Error{Kind: model.KindProtocol, Provider: r.a.m.info.Provider, Op: "receive", Err: err}
		}
		r.a.received(c.Frame.Duration())
		it.Frame = f
	}
	return t.hand(it)
}

// hand gives audio, and words once there is audio, to the reader of the stream.
func (t *attemptState) hand(it item) error {
	r := t.r
	if len(it.Frame.Data) == 0 && (len(t.pending) == 0 || !r.heard) {
		return nil
	}
	it.Words, t.pending = t.pending, nil
	if !r.heard {
		r.heard = true
		r.s.noteFirst()
		it.Text = r.text
	}
	r.got += it.Frame.Duration()
	if !r.s.emit(it) {
		return r.s.ctx.Err()
	}
	return nil
}

// finish gives the rest that the resampler holds.
func (t *attemptState) finish() error {
	if f := t.conv.tail(); len(f.Data) > 0 {
		return t.hand(item{Audio: Audio{Frame: f}, piece: t.r.piece})
	}
	return nil
}
