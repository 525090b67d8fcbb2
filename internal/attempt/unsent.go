package attempt

import "errors"

// unsent is the error of a request of which the provider has got nothing.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

// Unsent marks err as that of a request of which the provider has got nothing, so that it costs nothing.
func Unsent(err error) error { return unsent{err} }

// IsUnsent reports whether err is so marked.
func IsUnsent(err error) bool {
	var u unsent
	return errors.As(err, &u)
}
