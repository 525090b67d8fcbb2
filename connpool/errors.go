package connpool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// ErrClosed is returned by Acquire once Close was called.
var ErrClosed = errors.New("connpool: closed")

// ErrDead is the cause of a DialError when the other side closed the connection before it was used.
var ErrDead = errors.New("connection died at once")

// errPanic is the cause of a DialError when Dial panicked.
var errPanic = errors.New("panic")

// DialError is returned by Acquire when a connection could not be opened. Its text does not repeat
// that of its cause, which may hold a URL or a key; look at the cause with errors.Is and errors.As.
type DialError struct{ Err error }

// Error says what went wrong in general terms.
func (e *DialError) Error() string { return "connpool: dial: " + describe(e.Err) }

// Unwrap returns what Dial returned.
func (e *DialError) Unwrap() error { return e.Err }

// Timeout reports whether the dial took too long.
func (e *DialError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.Is(e.Err, context.DeadlineExceeded) || errors.As(e.Err, &t) && t.Timeout()
}

// describe names an error without its text, unless the text is a constant.
func describe(err error) string {
	var errno syscall.Errno
	var dns *net.DNSError
	switch {
	case (&DialError{err}).Timeout():
		return "timed out"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, ErrDead), errors.Is(err, errPanic), errors.Is(err, errNoDial):
		return err.Error()
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &dns):
		return "name not resolved"
	}
	return fmt.Sprintf("failed (%T)", err)
}
