// Package fault has the names of what providers do wrong: conformance kits ask for them, sandboxes do
// them.
package fault

// Kind is what goes wrong.
type Kind string

// None is a provider that is well.
const None Kind = ""

// The faults of a connection.
const (
	Refuse     Kind = "refuse"      // the connection is refused, or reset as soon as it is made
	SlowDial   Kind = "slow dial"   // the connection is made, and no answer comes to its opening
	TLSFailure Kind = "tls failure" // no secure connection comes about
	CloseEarly Kind = "close early" // the connection closes before the first byte of an answer
)

// The faults of a request, or of the opening of a stream.
const (
	Unauthorized Kind = "unauthorized" // status 401
	RateLimit    Kind = "rate limit"   // status 429 with a hint to come back after RetryAfter
	ServerError  Kind = "server error" // status 503
	Silence      Kind = "silence"      // the request is taken, and nothing comes at all
)

// The faults of an answer. They strike after some of it, unless they say otherwise.
const (
	Reset         Kind = "reset"          // the connection breaks
	HangUp        Kind = "hang up"        // the answer ends politely, but too early
	HalfOpen      Kind = "half open"      // nothing is read or written any more, and nothing is closed
	Stall         Kind = "stall"          // nothing comes any more
	Malformed     Kind = "malformed"      // the first message cannot be read
	Oversized     Kind = "oversized"      // the first message is larger than anybody takes
	Empty         Kind = "empty"          // a good end, and nothing before it
	DoubleFinal   Kind = "double final"   // the end, or the final result, is sent twice
	UsageMissing  Kind = "usage missing"  // all is well, but usage is not stated
	UsageRepeated Kind = "usage repeated" // usage is stated twice
)

// Slow is no fault: the answer comes no faster than real time.
const Slow Kind = "slow"

// Hangs reports whether nothing comes of a call until who made it gives up: only there does a kit have a front wait for
// a short while. Everywhere else a wait that ends says how busy the machine is, and nothing of the driver.
func (k Kind) Hangs() bool {
	switch k {
	case SlowDial, Silence, Stall, HalfOpen:
		return true
	}
	return false
}

// Plan says how often a fault strikes.
type Plan struct {
	Kind Kind
	// Times is how many calls are struck before the provider is well: 0 means 1, -1 all.
	Times int
}

// Once is k for the first call.
func Once(k Kind) Plan { return Plan{k, 1} }

// Always is k for every call.
func Always(k Kind) Plan { return Plan{k, -1} }
