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
	c.withdrawn = append(slices.DeleteFunc(c.withdrawn, c.lapsed), withdrawal{request, time.Now()})
	return true
}

// lapsed reports whether a provider had its time to deal with a request; then it will not.
func (c *connection) lapsed(w withdrawal) bool { return time.Since(w.at) >= c.s.conn.Timeout }

// withdrew reports whether a request was withdrawn, and the provider has not dealt with it.
func (c *connection) withdrew(request string) bool { return c.indexWithdrawn(request) >= 0 }

// heardOf notes that the provider deals with a request, and so is done with those that were withdrawn before it, as it
// takes them in order.
func (c *connection) heardOf(request string) {
	if request == "" || len(c.withdrawn) == 0 {
		return
	}
	if i := c.indexWithdrawn(request); i >= 0 {
		c.withdrawn = c.withdrawn[i+1:]
	} else {
		c.withdrawn = nil // it came after all of them
	}
	c.settled()
}

func (c *connection) indexWithdrawn(request string) int {
	return slices.IndexFunc(c.withdrawn, func(w withdrawal) bool { return w.request == request })
}

// owes reports whether a generation goes on, has an open account, or may begin, and be billed, although it was withdrawn.
func (c *connection) owes() bool {
	return len(c.responses)+len(c.unpaid) > 0 ||
		c.m.caps.BilledByTokens && slices.ContainsFunc(c.withdrawn, func(w withdrawal) bool { return !c.lapsed(w) })
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
