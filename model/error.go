package model

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ErrorKind classifies what went wrong in a call to a provider.
type ErrorKind string

// The kinds of errors.
const (
	KindConnection ErrorKind = "connection" // could not reach the provider, or lost it
	KindTimeout    ErrorKind = "timeout"    // the provider did not answer in time
	KindStatus     ErrorKind = "status"     // the provider answered with an error status
	KindProtocol   ErrorKind = "protocol"   // the provider sent something we cannot read
	KindRequest    ErrorKind = "request"    // the request itself cannot be sent: bad options or input
)

// Error is the error of a call to a provider. It never holds keys, headers or URL queries.
type Error struct {
	Kind       ErrorKind
	Provider   string        // as in Info
	Op         string        // what we were doing, e.g. "chat", "dial"
	Status     int           // HTTP or websocket status for KindStatus, else 0
	RequestID  string        // the provider's id of the request, if known
	RetryAfter time.Duration // what the provider asked for, 0 if nothing
	Permanent  bool          // true when trying again cannot help although the kind suggests it
	Err        error         // the cause; may be nil
}

func (e *Error) Error() string {
	s := e.Provider
	if s == "" {
		s = "model"
	}
	if e.Op != "" {
		s += " " + e.Op
	}
	s += ": " + string(e.Kind) + " error"
	if e.Status != 0 {
		s += fmt.Sprintf(" (status %d)", e.Status)
	}
	if e.Err != nil {
		s += ": " + withoutURL(e.Err)
	}
	return s
}

// withoutURL is the text of err less the URL that net/http and net/url put into their errors: its
// path and query may hold keys and names.
func withoutURL(err error) string {
	s := err.Error()
	var u *url.Error
	if !errors.As(err, &u) || u.URL == "" {
		return s
	}
	host := "the URL"
	if p, err := url.Parse(u.URL); err == nil && p.Host != "" {
		host = p.Host
	}
	s = strings.ReplaceAll(s, strconv.Quote(u.URL), host)
	return strings.ReplaceAll(s, u.URL, host)
}

func (e *Error) Unwrap() error { return e.Err }

// Retryable reports whether trying the call again may help.
func (e *Error) Retryable() bool {
	if e.Permanent {
		return false
	}
	switch e.Kind {
	case KindConnection, KindTimeout, KindProtocol:
		return true
	case KindStatus:
		return e.Status < 400 || e.Status >= 500 || e.Status == 408 || e.Status == 429 || e.Status == 499
	default:
		return false
	}
}

// Retryable reports whether err is an *Error that says that trying again may help. Errors of
// other types are not retryable, nor is the end of a context.
func Retryable(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	var e *Error
	return errors.As(err, &e) && e.Retryable()
}
