package llm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

// statusClientClosed is the status of a request that its client gave up; it ends quietly.
const statusClientClosed = 499

var (
	errLate      = errors.New("no answer in time")
	errNilChunk  = errors.New("driver returned neither a chunk nor an error")
	errNilStream = errors.New("driver returned neither a stream nor an error")
)

// PanicError is what a panic in a tool or in a driver is turned into. Its text has no stack.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// run is the goroutine of a request: it ends when the driver does after s.cancel, or before.
func (s *Stream) run(req *driver.Request, err error) {
	defer close(s.ran)
	defer s.cancel()
	if s.ctx.Err() != nil {
		s.interrupt(s.ctx.Err(), metrics.Interrupted)
		return
	}
	if err != nil {
		s.fail(err, 0)
		return
	}
	for n := 0; ; n++ {
		err := s.attempt(n, req)
		retry, stopped := s.endAttempt(err)
		switch {
		case stopped:
			s.finish(metrics.Interrupted)
			return
		case err == nil || isClientClosed(err):
			s.endWell()
			return
		case !retry || n >= s.conn.MaxRetry:
			s.fail(s.finalError(err, n+1, retry), n)
			return
		}
		s.report(err, n, true)
		if s.conn.Wait(s.work, n, err) != nil {
			return // interrupt did the rest
		}
	}
}

// attempt asks the driver once and hands its answer on. A nil error is the good end.
func (s *Stream) attempt(n int, req *driver.Request) (err error) {
	ctx, end := model.StartSpan(s.work, "llm_request_run", slog.Int("lk.retry_count", n))
	ids := len(s.RequestIDs())
	defer func() {
		if p := recover(); p != nil {
			err = s.protocolError(&PanicError{Value: p, Stack: debug.Stack()}, true)
		}
		end(err, slog.Any("lk.provider_request_ids", s.RequestIDs()[ids:]))
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := &model.Error{Kind: model.KindTimeout, Provider: s.m.Info().Provider, Op: "chat", Err: errLate}
	w := watchdog{limit: s.conn.Timeout, timer: time.AfterFunc(s.conn.Timeout, func() { cancel(late) })}
	defer func() {
		if w.timer.Stop(); err != nil && context.Cause(ctx) == late {
			err = late
		}
	}()
	s.beginAttempt()

	var in driver.Stream
	if err := w.guard(func() (err error) { in, err = s.m.d.Chat(ctx, req); return }); err != nil {
		return err
	}
	if in == nil {
		return s.protocolError(errNilStream, true)
	}
	defer in.Close()
	for {
		var c *Chunk
		err := w.guard(func() (err error) { c, err = in.Next(); return })
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case c == nil:
			return s.protocolError(errNilChunk, true)
		}
		s.take(c)
		select {
		case s.chunks <- c:
		case <-s.stop: // nobody wants it, but its usage counts
		case <-s.work.Done():
		}
	}
}

// watchdog ends an attempt whose driver keeps us waiting too long. It does not run while the
// reader keeps the driver waiting.
type watchdog struct {
	timer *time.Timer
	limit time.Duration
}

func (w *watchdog) guard(wait func() error) error {
	w.timer.Reset(w.limit)
	defer w.timer.Stop()
	return wait()
}

func (s *Stream) beginAttempt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent, s.inFlight = true, true
}

// take books a chunk that arrived.
func (s *Stream) take(c *Chunk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrived = true
	if c.ID != "" && !slices.Contains(s.ids, c.ID) {
		s.ids = append(s.ids, c.ID)
	}
	if c.Usage != nil {
		u := *c.Usage
		s.current = &u
		s.reported = true
		s.measured = s.measured && u.Measured
	}
	if (c.Text != "" || len(c.ToolCalls) > 0) && s.outcome == "" {
		s.emitted = true
		if s.ttft < 0 {
			s.ttft = time.Since(s.start)
		}
	}
}

// endAttempt closes the books of an attempt and says whether another one may follow, and whether
// the reader has left.
func (s *Stream) endAttempt(err error) (retry, stopped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight = false
	s.past = s.usage()
	s.current = nil
	return err != nil && !s.emitted && model.Retryable(err), s.outcome != ""
}

// endWell leaves the rest to the reader.
func (s *Stream) endWell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outcome != "" { // the reader was faster, and with it the record
		return
	}
	s.phase = ended
	s.duration = time.Since(s.start)
	s.err = io.EOF
	close(s.chunks)
}

func (s *Stream) fail(err error, attempt int) {
	s.mu.Lock()
	if s.outcome != "" {
		s.mu.Unlock()
		return
	}
	s.outcome = metrics.Failed
	s.duration = time.Since(s.start)
	s.err = err
	s.mu.Unlock()
	s.report(err, attempt, false)
	s.finish(metrics.Failed)
	close(s.chunks) // last, so that who reads the error finds it recorded
}

func (s *Stream) report(err error, attempt int, recoverable bool) {
	model.ReportError(s.ctx, model.ErrorEvent{
		Kind: "llm", Info: s.m.Info(), Err: err,
		Recoverable: recoverable, Attempt: attempt, Time: time.Now(),
	})
}

// finalError names the number of attempts if there was more than one.
func (s *Stream) finalError(err error, attempts int, exhausted bool) error {
	if attempts == 1 {
		return err
	}
	err = fmt.Errorf("failed after %d attempts: %w", attempts, err)
	if !exhausted {
		return err
	}
	return &model.Error{Kind: model.KindConnection, Provider: s.m.Info().Provider, Op: "chat", Err: err}
}

func (s *Stream) protocolError(err error, permanent bool) error {
	return &model.Error{Kind: model.KindProtocol, Provider: s.m.Info().Provider, Op: "chat", Permanent: permanent, Err: err}
}

func isClientClosed(err error) bool {
	var e *model.Error
	return errors.As(err, &e) && e.Kind == model.KindStatus && e.Status == statusClientClosed
}
