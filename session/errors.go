package session

import "errors"

// ErrCleared is returned by AudioOutput.Write when the segment was cleared while it waited.
var ErrCleared = errors.New("audio segment was cleared")
