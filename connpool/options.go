package connpool

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"
)

// DefaultDialTimeout bounds a dial when Options.DialTimeout is zero.
const DefaultDialTimeout = 10 * time.Second

// Options say how a pool opens and closes connections and how long it keeps them.
type Options[C any] struct {
	// Dial opens a connection. It must return soon after ctx ends. ctx is the pool's, not that of
	// a request: the connection may end up with another request than the one that caused the dial.
	Dial func(ctx context.Context) (C, error)

	// Close closes a connection. It is called once for each, in the connection's own goroutine,
	// and may take its time for a polite goodbye but must end. The default calls the Close method
	// of C if it has one.
	Close func(C) error

	// Dead returns a channel that is closed when the connection can no longer be used; see the
	// package comment. It is called once per connection. Nil means that nobody knows.
	Dead func(C) <-chan struct{}

	// Why says of a connection that was dead when its dial returned what it died of: that is the error of
	// whoever waits for it. Nil means ErrDead.
	Why func(C) error

	// MaxAge is how long after its dial a connection may still be handed out. 0 means no limit.
	MaxAge time.Duration

	// MaxIdle is how long a connection may be unused. 0 means no limit.
	MaxIdle time.Duration

	// MaxOpen is how many connections may exist, those being dialled or closed included. Acquire
	// waits for a place. 0 means no limit.
	MaxOpen int

	// KeepIdle is how many unused connections are kept; beyond it the one that was unused longest
	// is closed. 0 means no limit.
	KeepIdle int

	// DialTimeout bounds each dial. 0 means DefaultDialTimeout.
	DialTimeout time.Duration

	// Logger gets a warning when a close fails or a dial that nobody waits for. Only the type of
	// the error is logged, since its text may hold a URL or a key. Nil means slog.Default.
	Logger *slog.Logger
}

var errNoDial = errors.New("no dial function")

// filled returns o with its defaults.
func (o Options[C]) filled() Options[C] {
	if o.Dial == nil {
		o.Dial = func(context.Context) (c C, err error) { return c, errNoDial }
	}
	if o.Close == nil {
		o.Close = closeCloser[C]
	}
	if o.Dead == nil {
		o.Dead = func(C) <-chan struct{} { return nil }
	}
	if o.Why == nil {
		o.Why = func(C) error { return ErrDead }
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = DefaultDialTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func closeCloser[C any](c C) error {
	if c, ok := any(c).(io.Closer); ok {
		return c.Close()
	}
	return nil
}
