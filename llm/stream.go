package llm

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

// chunkBuffer is how many chunks a stream holds for a slow reader. When it is full, the provider
// is read no further until the reader goes on.
const chunkBuffer = 256

// Stream is the answer to a request as it arrives. One goroutine reads it; Close and the
// accessors may be called from any.
//
// The request's one metrics event is recorded when the caller has read the end, or when it ends
// the stream before that. A Fallback may have one for each model that it asked.
type Stream struct {
	m       *Model
	asked   []*member       // whom to ask, in order; nil for a model of its own
	ctx     context.Context // the caller's
	conn    model.ConnOptions
	start   time.Time
	probing bool // nobody uses the answer
	chunks  chan *Chunk
	stop    chan struct{} // closed when nobody wants the rest
	done    chan struct{} // closed when all is over and recorded, that of probes too
	ran     chan struct{} // closed when the driver is not asked any more
	cancel  context.CancelFunc
	work    context.Context // of the request; outlives ctx while usage is drained
	unhook  func() bool
	told    func()  // tells the recorder that nothing more will come
	endOf   endSpan // of the span around all models of a Fallback

	mu       sync.Mutex
	phase    phase
	open     int // what done waits for
	outcome  metrics.Outcome
	err      error  // the end as Next tells it; set before chunks is closed or stop is
	inFlight bool   // the driver is at it
	emitted  bool   // content or a tool call was handed on: nothing is tried again
	leg      *leg   // the present model
	legs     []*leg // the models before it, which failed
}

type phase uint8

const (
	running phase = iota
	ended         // the request is over, its reader has not seen the end
	over          // recorded
)

func newStream(ctx context.Context, m *Model, conn model.ConnOptions) *Stream {
	s := &Stream{
		m: m, conn: conn, start: time.Now(), open: 1,
		chunks: make(chan *Chunk, chunkBuffer),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
		ran:    make(chan struct{}),
	}
	s.ctx, s.endOf = ctx, func(error, ...slog.Attr) {}
	first := m
	if m.group != nil {
		s.asked = m.group.Order()
		first = s.asked[0].Model
		s.ctx, s.endOf = model.StartSpan(ctx, "llm_fallback_adapter")
	}
	s.told = metrics.Expect(ctx)
	s.work, s.cancel = context.WithCancel(context.WithoutCancel(s.ctx))
	s.leg = newLeg(s.work, first)
	s.mu.Lock() // the hook may run before it is assigned
	s.unhook = context.AfterFunc(ctx, func() { s.interrupt(ctx.Err(), metrics.Interrupted) })
	s.mu.Unlock()
	return s
}

// Next waits for the next chunk. io.EOF is the good end. After Close the error is ErrClosed, after
// the end of the context the context's. The chunk belongs to the caller.
func (s *Stream) Next() (*Chunk, error) {
	select {
	case <-s.stop:
		return nil, s.endErr()
	default:
	}
	select {
	case <-s.stop:
		return nil, s.endErr()
	case c, ok := <-s.chunks:
		if ok {
			return c, nil
		}
		s.finish(metrics.Delivered)
		return nil, s.endErr()
	}
}

// All reads the stream to its end and closes it when the loop is left. An error, if any, comes
// last with a nil chunk.
func (s *Stream) All() iter.Seq2[*Chunk, error] {
	return func(yield func(*Chunk, error) bool) {
		defer s.Close()
		for {
			c, err := s.Next()
			if err == io.EOF {
				return
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// Collect reads the stream to its end and returns the whole text and all calls. With an error
// they are what arrived before it.
func (s *Stream) Collect() (text string, calls []ToolCall, err error) {
	var b strings.Builder
	for c, err := range s.All() {
		if err != nil {
			return b.String(), calls, err
		}
		b.WriteString(c.Text)
		calls = append(calls, c.ToolCalls...)
	}
	return b.String(), calls, nil
}

// Close ends the stream; the rest of the answer is dropped. Before the end the work counts as
// interrupted. It never waits for the provider, may be called more than once and from any
// goroutine. The error is always nil.
func (s *Stream) Close() error {
	s.interrupt(ErrClosed, metrics.Interrupted)
	return nil
}

// Discard closes the stream and says that nothing of the answer was used, as when a reply was
// begun too early and is thrown away. Its usage counts as discarded, unless the end was read
// before.
func (s *Stream) Discard() { s.interrupt(ErrClosed, metrics.Discarded) }

// Done is closed when the request is over and its metrics events, if there are any, were recorded.
// That may be some time after Close when usage is drained, or when a Fallback probes a model.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Info says who answers: of a Fallback, the model that was asked last.
func (s *Stream) Info() model.Info {
	s.mu.Lock()
	m := s.leg.m
	s.mu.Unlock()
	return m.Info()
}

// TTFT is the time from the request to the first text or tool call; metrics.NoOutput until then.
func (s *Stream) TTFT() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leg.ttft < 0 {
		return metrics.NoOutput
	}
	return s.leg.start.Sub(s.start) + s.leg.ttft
}

// RequestIDs are the provider's ids of the answers so far, one per attempt that had one.
func (s *Stream) RequestIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, l := range s.all() {
		ids = append(ids, l.ids...)
	}
	return ids
}

// Usage is what is known so far, summed over the attempts, and whether any of it was stated. What an
// attempt that is over has not stated is estimated.
func (s *Stream) Usage() (u Usage, stated bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum cost
	for _, l := range s.all() {
		sum.join(l.sofar())
	}
	u = sum.Usage
	u.Measured = sum.source() == metrics.Measured
	return u, sum.stated
}

// all are the accounts so far.
func (s *Stream) all() []*leg { return slices.Concat(s.legs, []*leg{s.leg}) }

func (s *Stream) endErr() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// interrupt ends the stream on behalf of its reader.
func (s *Stream) interrupt(cause error, outcome metrics.Outcome) {
	s.mu.Lock()
	if s.outcome != "" {
		s.mu.Unlock()
		return
	}
	if s.phase == ended && outcome == metrics.Interrupted && len(s.chunks) == 0 {
		s.mu.Unlock()
		s.finish(metrics.Delivered) // all of it was read, only the end was not
		return
	}
	s.outcome = outcome
	s.err = cause
	if s.phase == running {
		s.leg.duration = time.Since(s.leg.start)
	}
	inFlight, m := s.inFlight, s.leg.m
	drain := inFlight && !s.probing && s.leg.now.began() && m.startDrain()
	s.mu.Unlock()
	if drain {
		close(s.stop)
		go s.drain(m)
		return
	}
	s.cancel()
	if inFlight {
		s.settle()
	}
	s.finish(outcome) // before the reader learns of it
	close(s.stop)
}

// settle waits a moment for the cut attempt to come to its end: a chunk that has arrived, but was
// not looked at yet, may say what the request cost. A driver that heeds its context is through at once.
func (s *Stream) settle() {
	t := time.NewTimer(settleTime)
	defer t.Stop()
	select {
	case <-s.ran:
	case <-t.C:
	}
}

// drain gives the request to m a little more time to say what it cost.
func (s *Stream) drain(m *Model) {
	defer m.endDrain()
	t := time.NewTimer(m.drain)
	defer t.Stop()
	select {
	case <-t.C:
	case <-m.life.Done():
	case <-s.ran:
	}
	s.cancel()
	s.settle()
	s.finish(metrics.Interrupted)
}

// finish records the request once; outcome counts if none was set before.
func (s *Stream) finish(outcome metrics.Outcome) {
	s.mu.Lock()
	if s.phase == over {
		s.mu.Unlock()
		return
	}
	s.phase = over
	if s.outcome == "" {
		s.outcome = outcome
	}
	s.endTry(context.Canceled) // one whose driver does not let go
	l, o, err := s.leg, s.outcome, s.err
	if s.probing && o == metrics.Delivered {
		o = metrics.Discarded
	}
	e := l.event(o)
	s.mu.Unlock()
	s.unhook()
	if o != metrics.Failed {
		err = nil
	}
	l.end(e, err)
	s.endOf(err)
	s.end()
}

// begin announces something more that Done waits for, until end; false when the stream is done already.
func (s *Stream) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == 0 {
		return false
	}
	s.open++
	return true
}

func (s *Stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open--; s.open == 0 {
		s.told()
		close(s.done)
	}
}
