package turn

import (
	"fmt"
	"time"
)

// rest is for how long a detector by text is left alone after a failure.
const rest = time.Minute

// Fallback returns a model that asks primary, and local when primary fails or times out. Both must
// be of the same kind, else every use of the model fails with ErrKind. Each failure of primary is
// reported once, as a recoverable error; metrics are those of the models that were asked.
//
// By text, local answers at once, and primary is left alone for a minute, by all sessions. By
// audio, the prediction fails, since local has heard nothing yet; from then on that stream, which
// is to say that session, stays with local.
//
// A threshold that was set for primary is moved for local by as much as their own thresholds
// differ, unless one was set for local.
func Fallback(primary, local *Model) *Model {
	m := *primary
	switch {
	case m.err != nil:
	case local == nil || local.err != nil || local.Kind() != m.Kind():
		m.err = fmt.Errorf("%w: primary and local of a fallback differ", ErrKind)
	case m.local != nil:
		m.local = Fallback(m.local, local) // behind those that stand in already
	default:
		m.local = local
	}
	return &m
}
