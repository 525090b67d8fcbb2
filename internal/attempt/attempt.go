// Package attempt has what the fronts of models share about one try of a call: a driver's panic
// becomes an error, tries that ran out are named, and a silent provider is noticed.
package attempt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/parley-go/parley/model"
)

// Guard calls f, which is code of a driver. A panic in it becomes a permanent *model.Error.
func Guard(info model.Info, op string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = Panicked(info, op, v)
		}
	}()
	return f()
}

// Panicked is the error for the recovered value v of a driver's panic. Only the text of runtime
// errors is kept: other values may hold anything, keys included.
func Panicked(info model.Info, op string, v any) error {
	cause := fmt.Errorf("driver panicked with a %T", v)
	if re, ok := v.(runtime.Error); ok {
		cause = fmt.Errorf("driver panicked: %s", re.Error())
	}
	return &model.Error{Kind: model.KindProtocol, Provider: info.Provider, Op: op, Permanent: true, Err: cause}
}

// Exhausted is the error of a call whose last of n attempts failed with err. A single attempt is
// not worth naming: its error is returned as it is.
func Exhausted(info model.Info, op string, n int, err error) error {
	if n <= 1 {
		return err
	}
	e := &model.Error{
		Kind: model.KindConnection, Provider: info.Provider, Op: op,
		Err: fmt.Errorf("failed after %d attempts: %w", n, err),
	}
	var cause *model.Error
	if errors.As(err, &cause) {
		e.RequestID = cause.RequestID
	}
	return e
}

// Timeout is the error of a provider that said nothing for d.
func Timeout(info model.Info, op string, d time.Duration) error {
	return &model.Error{
		Kind: model.KindTimeout, Provider: info.Provider, Op: op,
		Err: fmt.Errorf("no answer within %s", d),
	}
}

// Classify makes the end of a bounded wait a timeout error when outer, the context of the whole
// call, is still alive: then it was our bound that ran out and not the caller's.
func Classify(outer context.Context, info model.Info, op string, d time.Duration, err error) error {
	var e *model.Error
	if err != nil && outer.Err() == nil && !errors.As(err, &e) && errors.Is(err, context.DeadlineExceeded) {
		return Timeout(info, op, d)
	}
	return err
}

// Watchdog bites when a provider that owes us an answer says nothing for too long. Waits before
// Arm never count, nor does the time between Got and the next Wait.
type Watchdog struct {
	limit time.Duration
	bite  func()

	mu      sync.Mutex
	armed   bool
	waiting bool
	began   time.Time   // of the wait that counts; zero if none does
	timer   *time.Timer // made once and set again, so that waiting allocates nothing
}

// NewWatchdog returns a watchdog that calls bite, on a goroutine of its own, after limit.
func NewWatchdog(limit time.Duration, bite func()) *Watchdog {
	return &Watchdog{limit: limit, bite: bite}
}

// Arm says that from now on the provider owes an answer.
func (w *Watchdog) Arm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = true
	w.start()
}

// Wait says that we wait for the provider from now on.
func (w *Watchdog) Wait() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = true
	w.start()
}

// Got says that the provider answered, or that nobody waits any longer.
func (w *Watchdog) Got() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = false
	w.began = time.Time{}
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *Watchdog) start() {
	if !w.armed || !w.waiting || !w.began.IsZero() {
		return
	}
	w.began = time.Now()
	if w.timer == nil {
		w.timer = time.AfterFunc(w.limit, w.ring)
		return
	}
	w.timer.Reset(w.limit)
}

// ring bites, unless the timer that called it belongs to a wait that is over.
func (w *Watchdog) ring() {
	w.mu.Lock()
	stale := w.began.IsZero() || time.Since(w.began) < w.limit
	w.mu.Unlock()
	if !stale {
		w.bite()
	}
}
