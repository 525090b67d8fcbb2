package realtime

import (
	"slices"
	"time"

	"github.com/parley-go/parley/realtime/driver"
)

// withdrawal is a request that was sent and that nobody wants any more.
type withdrawal struct {
	request string
	at      time.Time
}

// withdraw tells the driver that nobody wants the answer to a request. It reports whether the provider may answer it,
// and bill it, nevertheless.
func (c *connection) withdraw(request string) bool {
	if w, ok := c.d.(driver.Withdrawer); ok {
		kept := false
		_ = c.m.guard("withdraw", func() error { kept = w.Withdraw(request); return nil })
		if kept {
			return false
		}
	}
	if c.m.caps.BilledByTokens {
		c.withdrawn = append(c.withdrawn, withdrawal{request, time.Now()})
	}
	return true
}

// withdrew reports whether a request was withdrawn, and the provider has not dealt with it.
func (c *connection) withdrew(request string) bool { return c.turnOf(request) >= 0 }

// heardOf notes that the provider deals with a request, and so is done with those that were withdrawn before it, as it
// takes them in order.
func (c *connection) heardOf(request string) {
	if request == "" || len(c.withdrawn) == 0 {
		return
	}
	if i := c.turnOf(request); i >= 0 {
		c.withdrawn = c.withdrawn[i+1:]
	} else {
		c.withdrawn = nil // it came after all of them
	}
	c.settled()
}

func (c *connection) turnOf(request string) int {
	return slices.IndexFunc(c.withdrawn, func(w withdrawal) bool { return w.request == request })
}

// owes reports whether a generation goes on, or may begin although it was withdrawn, or has an open account. A provider that
// has not dealt with a request in time will not.
func (c *connection) owes() bool {
	return len(c.responses)+len(c.unpaid) > 0 ||
		slices.ContainsFunc(c.withdrawn, func(w withdrawal) bool { return time.Since(w.at) < c.s.conn.Timeout })
}

// settled tells whoever waits for it that the provider owes nothing, if that is so.
func (c *connection) settled() {
	if c.owes() {
		return
	}
	select {
	case c.s.quiet <- struct{}{}:
	default: // a token is waiting already
	}
}
