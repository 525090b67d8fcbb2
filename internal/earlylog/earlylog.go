// Package earlylog keeps the first log records of a job until it is known who else wants them.
package earlylog

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
)

// limit is how many records are kept; then the oldest are dropped, and counted.
const limit = 1000

// Handler hands every record to the handler it was made with, and to those that were added by Export.
type Handler struct {
	base  slog.Handler
	steps []func(slog.Handler) slog.Handler // WithAttrs and WithGroup since New
	s     *state
}

// state is what the handlers made of one share.
type state struct {
	mu      sync.Mutex
	early   []early // a ring once it is full: next is the oldest
	next    int
	dropped int
	over    bool // nothing is kept any more
	exports []*export
}

type early struct {
	of *Handler
	r  slog.Record
}

// export is told apart from others of the same handler.
type export struct{ to slog.Handler }

// New returns a handler that keeps copies of records, at every level, until Forget. What base gets is as if
// there were nothing in between.
func New(base slog.Handler) *Handler { return &Handler{base: base, s: &state{}} }

// Export has to get all records, also those that were kept; stop ends it. Errors of to are returned to
// whoever logs.
func (h *Handler) Export(to slog.Handler) (stop func()) {
	x, s := &export{to}, h.s
	s.mu.Lock()
	s.exports = append(slices.Clone(s.exports), x)
	kept := slices.Concat(s.early[s.next:], s.early[:s.next])
	dropped := s.dropped
	s.mu.Unlock()
	if dropped > 0 {
		r := slog.NewRecord(kept[0].r.Time, slog.LevelWarn, "log records from before were dropped", 0)
		r.AddAttrs(slog.Int("count", dropped))
		_ = to.Handle(context.Background(), r)
	}
	for _, e := range kept {
		_ = e.of.hand(context.Background(), x, e.r.Clone())
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.exports = slices.DeleteFunc(slices.Clone(s.exports), func(o *export) bool { return o == x })
	}
}

// Forget drops what is kept, and ends the keeping.
func (h *Handler) Forget() {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	h.s.over, h.s.early, h.s.next = true, nil, 0
}

// keep returns who else gets r.
func (h *Handler) keep(r slog.Record) []*export {
	s := h.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
	case len(s.early) < limit:
		s.early = append(s.early, early{h, r.Clone()})
	default:
		s.early[s.next] = early{h, r.Clone()}
		s.next = (s.next + 1) % limit
		s.dropped++
	}
	return s.exports
}

// hand gives r to x with what WithAttrs and WithGroup have added.
func (h *Handler) hand(ctx context.Context, x *export, r slog.Record) error {
	to := x.to
	for _, step := range h.steps {
		to = step(to)
	}
	if !to.Enabled(ctx, r.Level) {
		return nil
	}
	return to.Handle(ctx, r)
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool {
	h.s.mu.Lock()
	more := !h.s.over || len(h.s.exports) > 0
	h.s.mu.Unlock()
	return more || h.base.Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	var errs []error
	if h.base.Enabled(ctx, r.Level) {
		errs = append(errs, h.base.Handle(ctx, r.Clone()))
	}
	for _, x := range h.keep(r) {
		errs = append(errs, h.hand(ctx, x, r.Clone()))
	}
	return errors.Join(errs...)
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	return h.with(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (h *Handler) with(step func(slog.Handler) slog.Handler) *Handler {
	return &Handler{base: step(h.base), steps: append(slices.Clip(h.steps), step), s: h.s}
}
