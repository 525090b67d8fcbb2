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

	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/internal/failover"
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

// errLeft ends the work of a request whose reader has left. Nobody gets to see it.
var errLeft = errors.New("the reader has left")

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
	s.measure(req)
	s.probePassed(req)
	for {
		n, err := s.ask(req)
		switch {
		case err == nil:
			s.endWell()
			return
		case err == errLeft: // who made it leave records it
			return
		case !s.passOn(err, n):
			return
		}
	}
}

// measure notes the size of the request, should nobody state what it costs.
func (s *Stream) measure(req *driver.Request) {
	n := sizeOfRequest(req)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leg.size = n
}

// ask tries one model, as often as it may. It returns the number of the last attempt, and how that ended.
func (s *Stream) ask(req *driver.Request) (n int, err error) {
	for n := 0; ; n++ {
		err := s.attempt(n, req)
		retry, stopped := s.endAttempt(err)
		switch {
		case stopped:
			return n, errLeft
		case err == nil:
			s.works()
			return n, nil
		case isClientClosed(err):
			return n, nil
		case !retry || n >= s.conn.MaxRetry:
			return n, s.finalError(err, n+1, retry)
		}
		s.report(err, n, true)
		if s.conn.Wait(s.work, n, err) != nil {
			return n, errLeft
		}
	}
}

// attempt asks the driver once and hands its answer on. A nil error is the good end.
func (s *Stream) attempt(n int, req *driver.Request) (err error) {
	ctx, end := model.StartSpan(s.leg.ctx, "llm_request_run", slog.Int("lk.retry_count", n))
	ids := len(s.RequestIDs())
	defer func() {
		if p := recover(); p != nil {
			err = s.protocolError(&PanicError{Value: p, Stack: debug.Stack()}, true)
		}
		end(err, slog.Any("lk.provider_request_ids", s.RequestIDs()[ids:]))
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := &model.Error{Kind: model.KindTimeout, Provider: s.leg.m.Info().Provider, Op: "chat", Err: errLate}
	w := watchdog{limit: s.conn.Timeout, timer: time.AfterFunc(s.conn.Timeout, func() { cancel(late) })}
	defer func() {
		if w.timer.Stop(); err != nil && context.Cause(ctx) == late {
			err = late
		}
	}()
	ctx = s.beginAttempt(ctx, n)

	var in driver.Stream
	if err := w.guard(func() (err error) { in, err = s.leg.m.d.Chat(ctx, req); return }); err != nil {
		return err
	}
	if in == nil {
		return s.protocolError(errNilStream, true)
	}
	defer in.Close()
	s.taken()
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

func (s *Stream) beginAttempt(ctx context.Context, n int) context.Context {
	ctx, conn := attempt.Watch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight = true
	s.leg.sent, s.leg.attempt, s.leg.now = true, n, try{runs: true, conn: conn}
	return ctx
}

// taken notes that the provider answers.
func (s *Stream) taken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leg.now.taken = true
}

// take books a chunk that arrived.
func (s *Stream) take(c *Chunk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leg
	l.arrived, l.now.came = true, true
	l.now.got.take(c)
	if s.outcome == "" {
		l.text.WriteString(c.Text)
		l.calls = append(l.calls, c.ToolCalls...)
	}
	if c.ID != "" && !slices.Contains(l.ids, c.ID) {
		l.ids = append(l.ids, c.ID)
	}
	if c.Usage != nil {
		u := *c.Usage
		l.now.usage = &u
	}
	if (c.Text != "" || len(c.ToolCalls) > 0) && s.outcome == "" {
		s.emitted = true
		if l.ttft < 0 {
			l.ttft = time.Since(l.start)
		}
	}
}

// endAttempt closes the books of an attempt and says whether another one may follow, and whether
// the reader has left.
func (s *Stream) endAttempt(err error) (retry, stopped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight = false
	s.endTry(err)
	return err != nil && !s.emitted && model.Retryable(err), s.outcome != ""
}

// endTry closes the books of the attempt that runs, which ends with err. With the lock held.
func (s *Stream) endTry(err error) { s.leg.settle(s.owed(err), err == nil) }

// owed reports whether the attempt that ends with err is billed. One that was refused is not, nor one that
// failed before anything of the answer came; one that we cut is, as soon as the provider has it.
func (s *Stream) owed(err error) bool {
	t := &s.leg.now
	switch {
	case err == nil || t.came:
		return t.came
	case s.work.Err() != nil:
		return t.began() && !attempt.IsUnsent(err)
	}
	var e *model.Error
	return t.began() && errors.As(err, &e) && e.Kind == model.KindProtocol && !e.Permanent // what came could not be read
}

// works says that the present model answered.
func (s *Stream) works() {
	if s.asked != nil {
		s.asked[len(s.legs)].Works(s.ctx)
	}
}

// passOn has the next model asked after the present one failed in its attempt n with err. Without one,
// or when it is too late for that, the stream fails. It reports whether to go on.
func (s *Stream) passOn(err error, n int) bool {
	if s.asked == nil {
		s.fail(err, n)
		return false
	}
	i := len(s.legs)
	s.asked[i].Failed(s.ctx)
	s.mu.Lock()
	l, emitted := s.leg, s.emitted
	l.err = err
	s.mu.Unlock()
	if emitted || i == len(s.asked)-1 {
		s.fail(s.failure(), n)
		return false
	}
	s.report(err, n, true)
	next := newLeg(s.work, s.asked[i+1].Model)
	next.size = l.size
	s.mu.Lock()
	if s.outcome != "" { // the reader was faster, and with it the record
		s.mu.Unlock()
		next.endOf(nil)
		return false
	}
	l.duration = time.Since(l.start)
	e := l.event(metrics.Failed)
	s.legs, s.leg = append(s.legs, l), next
	s.mu.Unlock()
	l.end(e, err)
	return true
}

// failure is the error of a Fallback.
func (s *Stream) failure() error {
	var errs []error
	for _, l := range s.all() {
		errs = append(errs, l.err)
	}
	return failover.Failure(s.leg.m.Info(), "chat", s.start, errs)
}

// endWell leaves the rest to the reader.
func (s *Stream) endWell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outcome != "" { // the reader was faster, and with it the record
		return
	}
	s.phase = ended
	s.leg.duration = time.Since(s.leg.start)
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
	s.leg.duration = time.Since(s.leg.start)
	s.err = err
	s.mu.Unlock()
	s.report(err, attempt, false)
	s.finish(metrics.Failed)
	close(s.chunks) // last, so that who reads the error finds it recorded
}

func (s *Stream) report(err error, attempt int, recoverable bool) {
	model.ReportError(s.leg.ctx, model.ErrorEvent{
		Kind: "llm", Info: s.leg.m.Info(), Err: err,
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
	return &model.Error{Kind: model.KindConnection, Provider: s.leg.m.Info().Provider, Op: "chat", Err: err}
}

func (s *Stream) protocolError(err error, permanent bool) error {
	return &model.Error{Kind: model.KindProtocol, Provider: s.leg.m.Info().Provider, Op: "chat", Permanent: permanent, Err: err}
}

func isClientClosed(err error) bool {
	var e *model.Error
	return errors.As(err, &e) && e.Kind == model.KindStatus && e.Status == statusClientClosed
}
