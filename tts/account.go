package tts

import (
	"context"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/tts/driver"
)

// account is the account of one request, or of one segment of a stream: retries included, recorded
// as one metrics event when it is finished.
type account struct {
	m   *Model
	ctx context.Context

	mu       sync.Mutex
	e        metrics.TTS
	began    time.Time      // the first text was sent
	since    time.Time      // the same to a model that failed before
	sent     int64          // characters of this attempt
	most     int64          // characters of the attempt that sent most
	total    int64          // characters of all attempts
	counter  driver.Counter // of this attempt; nil: what is accepted is sent
	stated   driver.UsageReport
	covered  int64 // characters of the attempts that were stated
	raw      []metrics.Raw
	isStated bool
	finished bool
}

// newAccount opens the account; segment is "" for a request of its own.
func newAccount(ctx context.Context, m *Model, segment string) *account {
	a := &account{m: m, ctx: ctx}
	a.e.Header = m.header(metrics.Measured)
	a.e.TTFB = metrics.NoOutput
	a.e.SegmentID, a.e.Streamed = segment, segment != ""
	return a
}

// attempt begins another attempt.
func (a *account) attempt(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ask()
	a.e.Attempt, a.sent, a.counter = n, 0, nil
}

// opened notes the stream of this attempt.
func (a *account) opened(stream any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counter, _ = stream.(driver.Counter)
}

// ask asks the stream of this attempt what it has sent, if it knows better.
func (a *account) ask() {
	if a.counter != nil {
		a.count(a.counter.Sent() - a.sent)
	}
}

// count counts characters that were sent.
func (a *account) count(n int64) {
	a.sent += n
	a.total += n
	a.most = max(a.most, a.sent)
}

// acquired notes the connection of this attempt. That of an attempt before, which nobody told yet,
// gets an event without usage.
func (a *account) acquired(stream any) {
	c, ok := stream.(driver.Connected)
	if !ok {
		return
	}
	took, reused := c.Acquired()
	a.mu.Lock()
	var before *metrics.TTS
	if a.e.Acquired {
		before = &metrics.TTS{Header: a.m.header(metrics.Measured), TTFB: metrics.NoOutput, Streamed: a.e.Streamed}
		before.AcquireTime, before.ConnectionReused, before.Acquired = a.e.AcquireTime, a.e.ConnectionReused, true
	}
	a.e.AcquireTime, a.e.ConnectionReused, a.e.Acquired = took, reused, true
	a.mu.Unlock()
	if before != nil {
		metrics.Record(a.ctx, before)
	}
}

// sending says that text is about to be sent: times count from the first.
func (a *account) sending() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.began.IsZero() {
		a.began = time.Now()
	}
}

// started is when the first text was sent; zero before.
func (a *account) started() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.began
}

// accepted counts text that the driver took.
func (a *account) accepted(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.counter == nil {
		a.count(int64(utf8.RuneCountInString(text)))
	}
}

// received counts audio.
func (a *account) received(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.e.TTFB == metrics.NoOutput && !a.began.IsZero() {
		from := a.began
		if !a.since.IsZero() {
			from = a.since
		}
		a.e.TTFB = time.Since(from)
	}
	a.e.AudioDuration += d
}

// reported adds what the provider states for an attempt.
func (a *account) reported(u driver.UsageReport) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.isStated = true
	a.stated.Characters += u.Characters
	a.stated.InputTokens += u.InputTokens
	a.stated.OutputTokens += u.OutputTokens
	a.ask()
	a.covered += a.sent
	a.m.gauge.learn(a.sent, u.InputTokens, u.OutputTokens)
	a.raw = append(a.raw, u.Raw)
}

// request notes the provider's id of the request.
func (a *account) request(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if id != "" {
		a.e.RequestID = id
	}
}

// finish records the event; only the first call does. It returns the event, nil if there was
// nothing to record.
func (a *account) finish(o metrics.Outcome) *metrics.TTS {
	e := a.closeWith(o)
	if e != nil {
		metrics.Record(a.ctx, e)
	}
	return e
}

func (a *account) closeWith(o metrics.Outcome) *metrics.TTS {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.finished {
		return nil
	}
	a.finished = true
	a.ask()
	e := a.e
	e.CharactersCount = a.most
	if a.m.o.CountReplays {
		e.CharactersCount = a.total
	}
	if a.isStated {
		e.Source, e.Raw = metrics.FromProvider, metrics.JoinRaw(a.raw...)
		e.InputTokens, e.OutputTokens = a.stated.InputTokens, a.stated.OutputTokens
		if a.stated.Characters > 0 {
			e.CharactersCount = a.stated.Characters
		}
	}
	if in, out := a.m.gauge.tokens(e.CharactersCount - a.covered); e.CharactersCount > a.covered && in+out > 0 {
		e.Source = metrics.Estimated
		e.InputTokens, e.OutputTokens = e.InputTokens+in, e.OutputTokens+out
	}
	if e.CharactersCount == 0 && !a.isStated && !e.Acquired {
		return nil
	}
	if e.RequestID == "" {
		e.RequestID = metrics.NewID("tts_")
	}
	if !a.began.IsZero() {
		e.Duration = time.Since(a.began)
	}
	e.Outcome, e.Cancelled = o, o == metrics.Interrupted || o == metrics.Discarded
	return &e
}
