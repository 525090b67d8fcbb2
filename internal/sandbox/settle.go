package sandbox

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/model/fault"
)

const (
	// settled is for how many rounds a client must have sent nothing before a fault breaks its stream. What
	// it sent until then is billed; what is on its way when a connection breaks would be on nobody's account.
	// A client of the same process, which a busy machine holds up, gets as many turns as there are rounds.
	settled = 60
	// patience is for how many rounds a fault waits for a client that never pauses, such as a live microphone.
	patience = 1000
	// round is how long a round takes at least. It is odd, so that in the time of a testing/synctest bubble
	// nothing breaks at the very moment at which a client sends.
	round = 1_000_033 * time.Nanosecond
)

// breaks reports whether f costs a client its connection, or its call, when it strikes at a piece of the
// answer of which content came before.
func breaks(f fault.Kind, content int) bool {
	switch f {
	case fault.Malformed, fault.Oversized:
		return content == 0
	case fault.Reset, fault.HangUp:
		return content >= 2
	}
	return false
}

// settle waits until the client, whose messages are counted, is done sending, or until ctx ends.
func settle(ctx context.Context, messages *atomic.Int64) {
	t := time.NewTicker(round)
	defer t.Stop()
	seen := messages.Load()
	for all, quiet := 0, 0; all < patience && quiet < settled; all++ {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		quiet++
		if n := messages.Load(); n != seen {
			seen, quiet = n, 0
		}
	}
}
