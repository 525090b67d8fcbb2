package stt

import (
	"slices"
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
	shares    []share       // of unbooked, oldest first
	held      time.Duration // of unbooked: the driver has it, and the provider has not
	ahead     time.Duration // booked as measured on this connection, not yet covered by a report
	ended     bool          // the connection was told that no more audio comes
	final     bool          // and the provider has stated what it bills since
	well      bool          // and it came to a good end
}

// share is audio that was sent on somebody's behalf: the tags of a stream's context may change.
type share struct {
	tags  metrics.Tags
	audio time.Duration
}

// sending counts audio that is about to be sent: a report about it may come before the driver's
// Push returns, and must find it counted.
func (u *usage) sending(d time.Duration, t metrics.Tags) {
	u.unbooked += d
	if n := len(u.shares); n > 0 && u.shares[n-1].tags == t {
		u.shares[n-1].audio += d
		return
	}
	u.shares = append(u.shares, share{t, d})
}

// unsent takes back audio that the driver did not take.
func (u *usage) unsent(d time.Duration) {
	u.unbooked = max(0, u.unbooked-d)
	for n := len(u.shares); n > 0 && d > 0; n-- {
		last := &u.shares[n-1]
		cut := min(d, last.audio)
		last.audio, d = last.audio-cut, d-cut
		if last.audio == 0 {
			u.shares = u.shares[:n-1]
		}
	}
}

// got says that a provider has d of the audio more than the driver took, or less, and returns how much more of
// that is counted now.
func (u *usage) got(d time.Duration, t metrics.Tags) (more time.Duration) {
	u.held = max(0, -d)
	if d <= 0 || u.final {
		return 0
	}
	u.sending(d, t)
	return d
}

// divide parts a booking, nil for none, among those on whose behalf its audio was sent. What it has besides
// stays with the last of them, and so does audio beyond what was sent.
func (u *usage) divide(e *metrics.STT) (parts []*metrics.STT) {
	if e != nil {
		for rest := e.AudioDuration; rest > 0 && len(u.shares) > 0; {
			cut, tags := u.oldest(rest)
			if rest -= cut; rest == 0 || len(u.shares) == 0 {
				e.Tags = tags
				break
			}
			p := u.event(e.Source)
			p.AudioDuration, p.Tags = cut, tags
			e.AudioDuration -= cut
			parts = append(parts, p)
		}
		parts = append(parts, e)
	}
	over := -u.unbooked // left out of the bill
	for _, s := range u.shares {
		over += s.audio
	}
	for over > 0 {
		cut, _ := u.oldest(over)
		over -= cut
	}
	return parts
}

// oldest takes up to d of the oldest share.
func (u *usage) oldest(d time.Duration) (time.Duration, metrics.Tags) {
	s := u.shares[0]
	cut := min(d, s.audio)
	if u.shares[0].audio -= cut; cut == s.audio {
		u.shares = slices.Delete(u.shares, 0, 1)
	}
	return cut, s.tags
}

// sent returns an event to record, if one is due.
func (u *usage) sent() *metrics.STT {
	if u.stated || u.unbooked-u.held < bookEvery {
		return nil
	}
	return u.settle()
}

// settle books what was sent and not covered by a report.
func (u *usage) settle() *metrics.STT {
	due := u.unbooked - u.held
	if due <= 0 {
		return nil
	}
	e := u.event(metrics.Measured)
	e.AudioDuration = due
	u.ahead += due
	u.unbooked -= due
	return e
}

// reported books what the provider states, or its driver has counted.
func (u *usage) reported(r UsageReport) *metrics.STT {
	e := u.event(sourceOf(r))
	e.InputTokens, e.OutputTokens, e.Raw = r.InputTokens, r.OutputTokens, r.Raw
	if r.AudioDuration > 0 {
		covered := min(r.AudioDuration, u.ahead)
		u.ahead -= covered
		e.AudioDuration = r.AudioDuration - covered
		u.unbooked = max(0, u.unbooked-e.AudioDuration)
		u.final = u.ended
		if !r.Measured { // a driver leaves nothing out
			u.stated = true
			if !u.ended && u.unbooked > inFlight {
				u.unbooked = 0
			}
		}
	}
	if e.AudioDuration == 0 && e.InputTokens == 0 && e.OutputTokens == 0 && e.Raw == "" {
		return nil
	}
	return e
}

func sourceOf(r UsageReport) metrics.Source {
	if r.Measured {
		return metrics.Measured
	}
	return metrics.FromProvider
}

// disconnected books the rest of a connection.
func (u *usage) disconnected() *metrics.STT {
	if u.final && u.well {
		u.unbooked = 0 // the provider has had its last word
	}
	u.unsent(u.held)
	u.held, u.well = 0, false
	e := u.settle()
	u.ahead, u.ended, u.final = 0, false, false
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
