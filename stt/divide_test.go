package stt

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/parley-go/parley/metrics"
)

// TestBookingsAreDividedExactly: whatever is sent, taken back and stated, no audio is booked twice or lost by
// the dividing, and what waits has owners.
func TestBookingsAreDividedExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := usage{m: &Model{}}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			d := time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond
			var e *metrics.STT
			var r UsageReport
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				u.sending(d, metrics.Tags{AgentID: rapid.SampledFrom([]string{"kelly", "bob"}).Draw(t, "agent")})
			case 2:
				u.unsent(d)
			case 3:
				e = u.sent()
			case 4:
				r = UsageReport{AudioDuration: d, InputTokens: 7, OutputTokens: 3}
				e = u.reported(r)
			case 5:
				e = u.disconnected()
			}
			var want, got time.Duration
			if e != nil {
				want = e.AudioDuration
			}
			var in, out int64
			parts := u.divide(e)
			for i, p := range parts {
				got += p.AudioDuration
				in, out = in+p.InputTokens, out+p.OutputTokens
				if p.RequestID == "" || p.Source != e.Source || i < len(parts)-1 && (p.AudioDuration <= 0 || p.Tags == metrics.Tags{}) {
					t.Fatalf("part %d of %d: %+v", i, len(parts), p)
				}
			}
			if got != want || in != r.InputTokens || out != r.OutputTokens || (e == nil) != (len(parts) == 0) {
				t.Fatalf("%v %d %d was divided into %v %d %d", want, r.InputTokens, r.OutputTokens, got, in, out)
			}
			var held time.Duration
			for _, s := range u.shares {
				if held += s.audio; s.audio <= 0 {
					t.Fatalf("empty share in %v", u.shares)
				}
			}
			if held != u.unbooked {
				t.Fatalf("shares have %v, not booked is %v", held, u.unbooked)
			}
		}
	})
}
