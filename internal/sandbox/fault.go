package sandbox

import (
	"sync"

	"github.com/parley-go/parley/model/fault"
)

// plans hands out the faults of one sandbox.
type plans struct {
	mu   sync.Mutex
	plan fault.Plan
}

func (p *plans) set(plan fault.Plan) {
	if plan.Times == 0 {
		plan.Times = 1
	}
	p.mu.Lock()
	p.plan = plan
	p.mu.Unlock()
}

// take is the fault of the next call, if it is one of those that the caller deals with.
func (p *plans) take(mine func(fault.Kind) bool) fault.Kind {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.plan.Kind
	if f == fault.None || p.plan.Times == 0 || !mine(f) {
		return fault.None
	}
	if p.plan.Times > 0 {
		p.plan.Times--
	}
	return f
}

// ofConnection reports whether f strikes before a request is read.
func ofConnection(f fault.Kind) bool { return f == fault.Refuse }

func ofRequest(f fault.Kind) bool { return !ofConnection(f) && f != fault.TLSFailure }

// ofOpening reports whether f strikes before anything is answered.
func ofOpening(f fault.Kind) bool {
	switch f {
	case fault.SlowDial, fault.CloseEarly, fault.Unauthorized, fault.RateLimit, fault.ServerError:
		return true
	}
	return false
}
