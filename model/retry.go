package model

import (
	"context"
	"errors"
	"time"
)

// Delay is the wait before retry n (from 0) of a call, honouring what the provider asked for in err up
// to 30 s.
func (o ConnOptions) Delay(n int, err error) time.Duration {
	d := o.RetryInterval
	if n == 0 {
		d = FirstRetryWait
	}
	var e *Error
	if errors.As(err, &e) && e.RetryAfter > d {
		d = min(e.RetryAfter, 30*time.Second)
	}
	return d
}

// Wait sleeps for Delay. It returns the context's error if that ends first.
func (o ConnOptions) Wait(ctx context.Context, n int, err error) error {
	t := time.NewTimer(o.Delay(n, err))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
