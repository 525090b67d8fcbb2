package google

import (
	"cmp"
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt/driver"
)

const (
	// A call may last for 5 minutes, and carry as much audio. From rotateAt on it makes room for the next
	// one when nobody speaks, from rotateBy on in any case.
	rotateAt = 240 * time.Second
	rotateBy = 285 * time.Second
	// idleLimit is how long a call may be without audio before it is ended: the provider gives up after
	// 10 s. The next audio begins another one.
	idleLimit = 5 * time.Second
	// drainLimit is how long a call may take for its last words.
	drainLimit = 10 * time.Second
	// maxAudio is the most audio in a message, in bytes.
	maxAudio = 15000
)

// stream implements driver.Stream: calls of the provider one after the other. Each sample goes to one
// call, and what the calls say comes in the order of the samples.
type stream struct {
	r      *recognizer
	config []byte
	took   time.Duration
	reused bool
	idle   *time.Timer
	closed chan struct{} // closed by Close
	more   chan struct{} // one token: the calls changed

	sending sync.Mutex // held while audio is sent, or the call for it changes
	cur     *call      // takes the audio; nil until the next comes
	pcm     []byte
	sent    time.Duration
	refused []*call // which cost nothing

	mu    sync.Mutex
	calls []*call // not over, oldest first
	ended bool    // no more will come
	over  bool    // closed

	// What follows belongs to Next, but for reading speaking.
	events   []*driver.Event
	speaking atomic.Bool
}

// call is one call of the provider.
type call struct {
	*wire.GRPC
	offset time.Duration // of its first sample
	began  time.Time
	audio  time.Duration // that was sent; belongs to sending
	drain  *time.Timer   // once done; belongs to mu
	done   atomic.Bool   // it was told that no more comes
	unused atomic.Bool   // it was ended because nothing came

	// What follows belongs to Next.
	heard     time.Duration // the end of the last final result
	billed    time.Duration // as stated so far
	requestID string
}

// Acquired implements driver.Connected.
func (s *stream) Acquired() (took time.Duration, reused bool) { return s.took, s.reused }

// open begins a call. The caller holds sending.
func (s *stream) open(ctx context.Context) (*call, error) {
	g, err := s.r.call(ctx, "StreamingRecognize")
	if err != nil {
		return nil, err
	}
	c := &call{GRPC: g, offset: s.sent, began: time.Now()}
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		_ = g.Close()
		return nil, s.r.client.Error(model.KindConnection, "transcribe", net.ErrClosed)
	}
	s.calls = append(s.calls, c)
	s.mu.Unlock()
	s.signal()
	s.cur = c
	return c, g.Send(ctx, s.config)
}

func (s *stream) signal() {
	select {
	case s.more <- struct{}{}:
	default: // a token is waiting
	}
}

// finish ends the call that takes audio, if there is one: the provider says what it still has to say. The
// caller holds sending.
func (s *stream) finish() {
	c := s.cur
	if c == nil {
		return
	}
	s.cur = nil
	if c.audio == 0 { // the provider would complain
		c.unused.Store(true)
		s.remove(c)
		return
	}
	s.mu.Lock()
	if !s.over {
		c.drain = time.AfterFunc(drainLimit, func() { c.Abort(context.DeadlineExceeded) })
	}
	s.mu.Unlock()
	c.done.Store(true)
	c.CloseSend()
}

// remove ends a call and forgets it.
func (s *stream) remove(c *call) {
	s.mu.Lock()
	s.calls = slices.DeleteFunc(s.calls, func(x *call) bool { return x == c })
	s.mu.Unlock()
	s.end(c)
	s.signal()
}

// end ends a call that is not in the list any more.
func (s *stream) end(c *call) {
	s.mu.Lock()
	if c.drain != nil {
		c.drain.Stop()
	}
	s.mu.Unlock()
	_ = c.Close()
}

// rest ends a call that got no audio for a while.
func (s *stream) rest() {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.finish()
}

// due reports whether it is time for the next call.
func (c *call) due(speaking bool) bool {
	age := max(time.Since(c.began), c.audio)
	return age >= rotateBy || age >= rotateAt && !speaking
}

// Push implements driver.Stream.
func (s *stream) Push(ctx context.Context, f audio.Frame) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.cur != nil && s.cur.due(s.speaking.Load()) {
		s.finish()
	}
	if s.cur == nil {
		if _, err := s.open(ctx); err != nil {
			return err
		}
	}
	s.pcm = wire.AppendPCM(s.pcm[:0], f.Data)
	for part := range slices.Chunk(s.pcm, maxAudio) {
		var m wire.Proto
		m.Bytes(5, part)
		if err := s.cur.Send(ctx, m); err != nil {
			s.turnedDown(s.cur)
			return err
		}
		d := audio.Samples(len(part) / 2).At(f.Rate)
		s.cur.audio += d
		s.sent += d
	}
	s.idle.Reset(idleLimit)
	return nil
}

// Sent implements driver.Counter.
func (s *stream) Sent() time.Duration {
	s.sending.Lock()
	defer s.sending.Unlock()
	n := s.sent
	for _, c := range s.refused {
		n -= c.audio
	}
	return n
}

// turnedDown notes a call that the provider refused, if it did. The caller holds sending.
func (s *stream) turnedDown(c *call) {
	if c.Refused() && !slices.Contains(s.refused, c) {
		s.refused = append(s.refused, c)
	}
}

// Flush implements driver.Stream. The provider finishes what it heard at the end of a call only.
func (s *stream) Flush(context.Context) error {
	s.rest()
	return nil
}

// CloseSend implements driver.Stream.
func (s *stream) CloseSend(context.Context) error {
	s.rest()
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.signal()
	return nil
}

// Close implements driver.Stream.
func (s *stream) Close() error {
	s.idle.Stop()
	s.mu.Lock()
	calls := s.calls
	s.calls = nil
	if !s.over {
		s.over = true
		close(s.closed)
	}
	s.mu.Unlock()
	for _, c := range calls {
		s.end(c)
	}
	return nil
}

// Next implements driver.Stream.
func (s *stream) Next(ctx context.Context) (*driver.Event, error) {
	for {
		if len(s.events) > 0 {
			e := s.events[0]
			s.events = s.events[1:]
			return e, nil
		}
		c, err := s.oldest(ctx)
		if err != nil {
			return nil, err
		}
		m, err := c.Recv(ctx)
		if err != nil {
			if err = s.leave(c, err); err != nil {
				return nil, err
			}
			continue
		}
		a, err := readAnswer(m, true)
		if err != nil {
			return nil, s.r.client.Error(model.KindProtocol, "transcribe", err)
		}
		s.take(c, a)
	}
}

// oldest waits for the call whose turn it is to speak.
func (s *stream) oldest(ctx context.Context) (*call, error) {
	for {
		s.mu.Lock()
		var c *call
		if len(s.calls) > 0 {
			c = s.calls[0]
		}
		ended, over := s.ended, s.over
		s.mu.Unlock()
		switch {
		case over:
			return nil, s.r.client.Error(model.KindConnection, "transcribe", net.ErrClosed)
		case c != nil:
			return c, nil
		case ended:
			return nil, io.EOF
		}
		select {
		case <-s.more:
		case <-s.closed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// leave takes the end of a call. The error ends the stream: the provider ended the call before we did,
// and what it did not hear must be sent again.
func (s *stream) leave(c *call, err error) error {
	if c.unused.Load() {
		return nil
	}
	s.sending.Lock()
	s.turnedDown(c)
	s.sending.Unlock()
	if !c.done.Load() || err != io.EOF {
		return err
	}
	s.remove(c)
	s.speak(false, 0)
	s.measure(c)
	return nil
}

// measure tells what a call was sent that ended well without a word about what it cost: what the next call states is
// about its own audio.
func (s *stream) measure(c *call) {
	s.sending.Lock()
	d := c.audio
	s.sending.Unlock()
	if c.billed == 0 {
		s.tell(&driver.Event{Kind: driver.Usage, RequestID: c.requestID, Usage: driver.UsageReport{AudioDuration: d, Measured: true}})
	}
}

func (s *stream) tell(e *driver.Event) { s.events = append(s.events, e) }

// speak tells that speech has begun or ended, if that is news.
func (s *stream) speak(begins bool, at time.Duration) {
	if s.speaking.Swap(begins) == begins {
		return
	}
	e := &driver.Event{Kind: driver.EndOfSpeech}
	if begins {
		e = &driver.Event{Kind: driver.StartOfSpeech, SpeechStart: at}
	}
	s.tell(e)
}

// take understands an answer.
func (s *stream) take(c *call, a *answer) {
	from := len(s.events)
	switch a.event {
	case speechBegins:
		s.speak(true, a.at+c.offset)
	case speechEnds:
		s.speak(false, 0)
	}
	var interim driver.Alternative
	for i := range a.results {
		r := &a.results[i]
		if r.final && r.end > 0 && r.end <= c.heard {
			continue // told already
		}
		alt := r.alternative(c.heard, c.offset)
		if r.final {
			s.final(alt)
			c.heard = r.end
		} else if alt.Text != "" {
			join(&interim, alt)
		}
	}
	if interim.Text != "" {
		s.heard(interim)
		s.tell(&driver.Event{Kind: driver.Interim, Alternatives: []driver.Alternative{interim}})
	}
	if d := a.billed - c.billed; d > 0 {
		c.billed = a.billed
		s.tell(&driver.Event{Kind: driver.Usage, Usage: driver.UsageReport{AudioDuration: d, Raw: wire.Stated("total_billed_duration", a.billed.Seconds())}})
	}
	c.requestID = cmp.Or(a.requestID, c.requestID)
	for _, e := range s.events[from:] {
		e.RequestID = c.requestID
	}
}

// heard tells that speech has begun, for models that do not.
func (s *stream) heard(a driver.Alternative) {
	if s.r.o.NoActivity {
		s.speak(true, a.Start)
	}
}

func (s *stream) final(a driver.Alternative) {
	if a.Text != "" && s.r.trusts(a.Confidence) {
		s.heard(a)
		s.tell(&driver.Event{Kind: driver.Final, Alternatives: []driver.Alternative{a}})
	}
	if s.r.o.NoActivity {
		s.speak(false, 0)
	}
}
