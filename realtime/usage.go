package realtime

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

// billEvery is how much of a connection's time is booked at once, where that is what the provider bills.
const billEvery = 10 * time.Second

func (m *Model) header(src metrics.Source) metrics.Header {
	return metrics.Header{Label: m.info.Label, Source: src, Metadata: m.metadata()}
}

// record records e once the lock is released.
func (s *Session) record(e metrics.Event) {
	s.then = append(s.then, func() { metrics.Record(s.ctx, e) })
}

// spent records e and opens a span that tells it, inside of what ctx is of, once the lock is released.
func (s *Session) spent(ctx context.Context, e *metrics.Realtime) {
	s.then = append(s.then, func() {
		metrics.Record(s.ctx, e)
		_, end := model.StartSpan(ctx, "realtime_metrics", slog.Any("lk.realtime_model_metrics", e))
		end(nil)
	})
}

// bill books the time of the connection that was not booked yet.
func (c *connection) bill() {
	if !c.m.caps.BilledByTime {
		return
	}
	now := time.Now()
	if d := now.Sub(c.billed); d > 0 {
		c.billed = now
		e := &metrics.Realtime{Header: c.m.header(metrics.Measured), TTFT: metrics.NoOutput, SessionDuration: d}
		e.RequestID = metrics.NewID("rt_")
		c.s.record(e)
	}
}

// BookTime books the time of the connection up to now, where that is what the provider bills. It is booked by itself every
// 10 s and at the end: this is for who is about to change the tags of the session's context.
func (s *Session) BookTime() {
	s.mu.Lock()
	defer s.unlock()
	if s.c != nil {
		s.c.bill()
	}
}

// bookResponse records the one metrics event of a response.
func (c *connection) bookResponse(r *response, end Status) {
	took := time.Since(r.created)
	e := &metrics.Realtime{
		Header: c.m.header(metrics.FromProvider), Duration: took, TTFT: r.ttft,
		Cancelled: end == Cancelled || r.stopped,
	}
	e.RequestID, e.Timestamp = r.id, r.created
	if e.RequestID == "" {
		e.RequestID = metrics.NewID("rt_")
	}
	inside := c.s.ctx
	if r.g != nil {
		e.Tags, e.Attempt, inside = r.g.tags, r.g.attempts, r.g.inside
	}
	switch {
	case !r.emitted && (r.stopped || end == Cancelled):
		e.Outcome = metrics.Discarded
	case r.stopped || end == Cancelled:
		e.Outcome = metrics.Interrupted
	case end == Failed:
		e.Outcome = metrics.Failed
	default:
		e.Outcome = metrics.Delivered
	}
	u := r.usage
	switch {
	case u != nil:
		e.Raw = metrics.RawOf(u.Raw)
		c.m.gauge.learn(u, r.size, end == Completed && !r.stopped)
	case c.m.caps.BilledByTokens && r.size != (size{}) && (end != Failed || r.broke || r.size.wrote+r.size.spoken > 0):
		guess := c.m.gauge.usage(r.size)
		u, e.Source = &guess, metrics.Estimated
	}
	if u != nil {
		spend(e, u)
		if sec := took.Seconds(); sec > 0 {
			e.TokensPerSecond = float64(u.OutputTokens) / sec
		}
	}
	c.s.spent(inside, e)
}

// spend makes the figures of a provider keep their own rules: nothing is negative, cached tokens are part of
// the input, and there is a total.
func spend(e *metrics.Realtime, u *driver.Usage) {
	e.InputTokens, e.OutputTokens = max(u.InputTokens, 0), max(u.OutputTokens, 0)
	if e.TotalTokens = max(u.TotalTokens, 0); e.TotalTokens == 0 {
		e.TotalTokens = e.InputTokens + e.OutputTokens
	}
	e.InputTokenDetails, e.OutputTokenDetails = u.Input, u.Output
	e.InputTokenDetails.CachedTokens = min(max(u.Input.CachedTokens, 0), e.InputTokens)
}

// stated books usage that belongs to no response, or notes it for the one that it belongs to.
func (c *connection) stated(u *driver.ResponseUsage) {
	if r := c.responses[u.ResponseID]; r != nil {
		r.usage = &u.Usage
		return
	}
	if r := c.unpaid[u.ResponseID]; r != nil {
		delete(c.unpaid, r.id)
		r.usage = &u.Usage
		c.bookResponse(r, r.status)
		c.settled()
		return
	}
	if u.ResponseID != "" && c.seen.has(u.ResponseID) {
		return // its account is closed
	}
	e := &metrics.Realtime{Header: c.m.header(metrics.FromProvider), TTFT: metrics.NoOutput}
	e.RequestID = u.ResponseID
	if e.RequestID == "" {
		e.RequestID = metrics.NewID("rt_")
	}
	e.Raw = metrics.RawOf(u.Usage.Raw)
	spend(e, &u.Usage)
	c.s.spent(c.s.ctx, e)
}

// transcribed books what transcribing the user costs, as usage of the model that did it.
func (c *connection) transcribed(u *driver.TranscriptUsage) {
	if u.ItemID != "" && c.seen.add("transcript of "+u.ItemID) {
		return // said twice
	}
	e := &metrics.STT{
		Header: c.m.header(metrics.FromProvider), Streamed: true,
		AudioDuration: u.AudioDuration, InputTokens: u.InputTokens, OutputTokens: u.OutputTokens,
	}
	e.Raw = metrics.RawOf(u.Raw)
	e.RequestID = u.ItemID
	if e.RequestID == "" {
		e.RequestID = metrics.NewID("stt_")
	}
	if u.Model != "" {
		e.Metadata.ModelName = u.Model
	}
	c.s.record(e)
}

// recent remembers the last ids that were told to it.
type recent struct{ ids []string }

const maxRecent = 256

// add reports whether the id was there already. An empty one never is.
func (r *recent) add(id string) bool {
	if r.has(id) {
		return true
	}
	if id != "" {
		if len(r.ids) == maxRecent {
			r.ids = r.ids[1:]
		}
		r.ids = append(r.ids, id)
	}
	return false
}

func (r *recent) has(id string) bool { return id != "" && slices.Contains(r.ids, id) }
