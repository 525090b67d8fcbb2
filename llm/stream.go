package llm

import (
	"context"
	"io"
	"iter"
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
// the stream before that.
type Stream struct {
	m      *Model
	ctx    context.Context // the caller's, inside the request's span
	conn   model.ConnOptions
	start  time.Time
	chunks chan *Chunk
	stop   chan struct{} // closed when nobody wants the rest
	done   chan struct{} // closed when all is over and recorded
	ran    chan struct{} // closed when the driver is not asked any more
	cancel context.CancelFunc
	work   context.Context // of the request; outlives ctx while usage is drained
	unhook func() bool
	endOf  endSpan

	mu       sync.Mutex
	phase    phase
	outcome  metrics.Outcome
	err      error // the end as Next tells it; set before chunks is closed or stop is
	sent     bool  // the driver was asked
	inFlight bool  // the driver is at it
	emitted  bool  // content or a tool call was handed on: no more retries
	arrived  bool  // any chunk came
	ttft     time.Duration
	duration time.Duration
	ids      []string
	past     Usage  // of earlier attempts
	current  *Usage // of the running attempt
	reported bool   // any attempt stated its usage
	measured bool   // all of those counted by the driver
}

type phase uint8

const (
	running phase = iota
	ended         // the request is over, its reader has not seen the end
	over          // recorded
)

func newStream(ctx context.Context, m *Model, conn model.ConnOptions) *Stream {
	s := &Stream{
		m: m, conn: conn, start: time.Now(), ttft: metrics.NoOutput, measured: true,
		chunks: make(chan *Chunk, chunkBuffer),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
		ran:    make(chan struct{}),
	}
	s.ctx, s.endOf = startRequestSpan(ctx, m.Info())
	s.work, s.cancel = context.WithCancel(context.WithoutCancel(s.ctx))
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

// Done is closed when the request is over and its metrics event, if there is one, was recorded.
// That may be some time after Close when usage is drained.
func (s *Stream) Done() <-chan struct{} { return s.done }

// TTFT is the time from the request to the first text or tool call; metrics.NoOutput until then.
func (s *Stream) TTFT() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ttft
}

// RequestIDs are the provider's ids of the answers so far, one per attempt that had one.
func (s *Stream) RequestIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.ids...)
}

// Usage is what was stated so far, summed over the attempts, and whether anything was.
func (s *Stream) Usage() (Usage, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage(), s.reported
}

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
		s.duration = time.Since(s.start)
	}
	inFlight := s.inFlight
	drain := inFlight && s.m.startDrain()
	s.mu.Unlock()
	if drain {
		close(s.stop)
		go s.drain()
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

// drain gives the request a little more time to say what it cost.
func (s *Stream) drain() {
	defer s.m.endDrain()
	t := time.NewTimer(drainTime)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.m.life.Done():
	case <-s.done:
	}
	s.cancel()
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
	e, err := s.event(), s.err
	s.mu.Unlock()
	s.unhook()
	if e != nil {
		metrics.Record(s.ctx, e)
	}
	if s.outcome != metrics.Failed {
		err = nil
	}
	s.endOf(err, requestAttrs(e)...)
	close(s.done)
}
