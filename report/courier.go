package report

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/session"
)

// Courier brings reports to sinks, to all of them at once. Each has a time of its own, and up to 8
// deliveries at once, so that one that fails or hangs harms no other. All methods may be called from any
// goroutine. Whoever opened it closes it.
type Courier struct {
	log      *slog.Logger
	stations []*station
}

// station is a sink at work.
type station struct {
	Sink
	slots chan struct{} // size atOnce: deliveries that run, those that were left behind included
	close func() error

	mu    sync.Mutex
	stats Stats
}

// Stats tell how a sink fares.
type Stats struct {
	Sink      string
	Delivered uint64 // reports; those of a webhook when they are in its outbox
	Failed    uint64 // deliveries
	Backlog
}

// Errors are why a report was not delivered: one error for each sink that has not taken it.
type Errors []*SinkError

func (all Errors) Error() string {
	texts := make([]string, len(all))
	for i, e := range all {
		texts[i] = e.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the errors.
func (all Errors) Unwrap() []error {
	out := make([]error, len(all))
	for i, e := range all {
		out[i] = e
	}
	return out
}

// SinkError says which sink did not take a report.
type SinkError struct {
	Sink string
	Err  error
}

func (e *SinkError) Error() string { return fmt.Sprintf("report sink %q: %v", e.Sink, e.Err) }

func (e *SinkError) Unwrap() error { return e.Err }

const goodbye = time.Second // for a delivery whose time is over to return

// Open opens the sinks. log, nil for slog.Default(), is told what concerns no delivery alone.
func Open(log *slog.Logger, sinks ...Sink) (*Courier, error) {
	if log == nil {
		log = slog.Default()
	}
	if err := Check(sinks...); err != nil {
		return nil, err
	}
	c := &Courier{log: log}
	for _, s := range sinks {
		st := &station{Sink: s, slots: make(chan struct{}, atOnce)}
		if s.open != nil {
			var err error
			if st.close, err = s.open(log.With("sink", s.name)); err != nil {
				_ = c.Close()
				return nil, &SinkError{s.name, err}
			}
		}
		c.stations = append(c.stations, st)
	}
	return c, nil
}

// Deliver brings r to the sinks, but not to those whose names are in have, and returns when every one has
// taken it, has failed or was left behind. took, if not nil, is told who has taken it, one after
// another. The error is Errors. The end of ctx ends the attempts. r must
// not be changed any more.
func (c *Courier) Deliver(ctx context.Context, r *session.Report, have []string, took func(sink string)) error {
	d := newDocument(r)
	results := make(chan *SinkError, len(c.stations)) // size: one of each
	n := 0
	for _, s := range c.stations {
		if slices.Contains(have, s.name) {
			continue
		}
		n++
		go func() { results <- &SinkError{s.name, s.take(ctx, d, c.log)} }() // ends in time
	}
	var errs Errors
	for range n {
		if e := <-results; e.Err != nil {
			errs = append(errs, e)
		} else if took != nil {
			took(e.Sink)
		}
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// take delivers d to the sink, in time.
func (s *station) take(ctx context.Context, d *document, log *slog.Logger) (err error) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			s.stats.Failed++
		} else {
			s.stats.Delivered++
		}
	}()
	if err := s.turn(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	done := make(chan error, 1) // size 1: one that was left behind can still end
	go func() {
		returned := false
		var err error
		defer func() {
			if p := recover(); p != nil {
				log.Error("delivering session report panicked", "sink", s.name, "panic", p, "stack", string(debug.Stack()))
				err = fmt.Errorf("panic: %v", p)
			} else if !returned { // runtime.Goexit
				err = errors.New("it ended its goroutine")
			}
			<-s.slots
			done <- err
		}()
		err = s.deliver(ctx, d)
		returned = true
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	t := time.NewTimer(goodbye)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return errors.New("it takes too long and is left behind")
	}
}

// turn waits for a slot.
func (s *station) turn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for %d other deliveries: %w", atOnce, ctx.Err())
	}
}

// Stats tells how each sink fares, in their order.
func (c *Courier) Stats() []Stats {
	all := make([]Stats, 0, len(c.stations))
	for _, s := range c.stations {
		s.mu.Lock()
		st := s.stats
		s.mu.Unlock()
		st.Sink = s.name
		if s.backlog != nil {
			st.Backlog = s.backlog()
		}
		all = append(all, st)
	}
	return all
}

// Close releases what the sinks have. What is in an outbox is tried again when it is opened next.
func (c *Courier) Close() error {
	var errs []error
	for _, s := range c.stations {
		if s.close == nil {
			continue
		}
		if err := s.close(); err != nil {
			errs = append(errs, &SinkError{s.name, err})
		}
	}
	return errors.Join(errs...)
}
