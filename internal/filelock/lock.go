// Package filelock keeps two processes from using the same files.
package filelock

import "errors"

// ErrInUse is returned by Lock for a file that is locked, by this process or another.
var ErrInUse = errors.New("somebody else uses it")
