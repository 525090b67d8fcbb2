package stt

import (
	"time"

	"github.com/parley-go/parley/metrics"
)

// bookEvery is how much sent audio is booked at once when the provider states no usage.
const bookEvery = 5 * time.Second

// inFlight is how much audio may be sent after the audio that a report is about and before the
// report comes. A provider that leaves out more than that leaves it out of the bill.
const inFlight = time.Second

// usage is the account of one stream. Audio that was sent is booked as measured until the provider
// states what it bills; then its word counts, and what was booked before is taken off it. The rest
// that no report covered is booked when a connection ends. It belongs to the stream's lock.
type usage struct {
	m         *Model
	outcome   metrics.Outcome // of all that is booked
	requestID string
	stated    bool          // the provider reports durations
	unbooked  time.Duration // sent since the last booking or report
	ahead     time.Duration // booked as measured on this connection, not yet covered by a report
	ended     bool          // the connection was told that no more audio comes
}

// sending counts audio that is about to be sent: a report about it may come before the driver's
// Push returns, and must find it counted.
func (u *usage) sending(d time.Duration) { u.unbooked += d }

// unsent takes back audio that the driver did not take.
func (u *usage) unsent(d time.Duration) { u.unbooked = max(0, u.unbooked-d) }

// sent returns an event to record, if one is due.
func (u *usage) sent() *metrics.STT {
	if u.stated || u.unbooked < bookEvery {
		return nil
	}
	return u.settle()
}

// settle books what was sent and not covered by a report.
func (u *usage) settle() *metrics.STT {
	if u.unbooked <= 0 {
		return nil
	}
	e := u.event(metrics.Measured)
	e.AudioDuration = u.unbooked
	u.ahead += u.unbooked
	u.unbooked = 0
	return e
}

// reported books what the provider states.
func (u *usage) reported(r UsageReport) *metrics.STT {
	e := u.event(metrics.FromProvider)
	e.InputTokens, e.OutputTokens, e.Raw = r.InputTokens, r.OutputTokens, r.Raw
	if r.AudioDuration > 0 {
		covered := min(r.AudioDuration, u.ahead)
		u.ahead -= covered
		e.AudioDuration = r.AudioDuration - covered
		u.stated = true
		u.unbooked = max(0, u.unbooked-e.AudioDuration)
		if u.ended || u.unbooked > inFlight {
			u.unbooked = 0
		}
	}
	if e.AudioDuration == 0 && e.InputTokens == 0 && e.OutputTokens == 0 {
		return nil
	}
	return e
}

// disconnected books the rest of a connection.
func (u *usage) disconnected() *metrics.STT {
	e := u.settle()
	u.ahead, u.ended = 0, false
	return e
}

func (u *usage) event(src metrics.Source) *metrics.STT {
	if u.requestID == "" {
		u.requestID = metrics.NewID("stt_")
	}
	e := &metrics.STT{Header: u.m.header(src), Streamed: true}
	e.RequestID, e.Outcome = u.requestID, u.outcome
	return e
}
