package stt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/internal/pcm"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt/driver"
)

const (
	// chunkTime is the most audio that is sent at once.
	chunkTime = 100 * time.Millisecond
	// lastWords is how long a provider may still explain itself after it refused audio.
	lastWords = 250 * time.Millisecond
	// stable is how long a connection must live for its end not to count as one more failure.
	stable = time.Minute
)

var errEarlyEnd = errors.New("provider ended the stream before its input")

// run is the goroutine of a stream: one connection after the other.
func (s *Stream) run() {
	err := s.transcribe()
	if err != nil && s.ctx.Err() == nil {
		err = fmt.Errorf("stt: stream: %w", err)
	}
	s.account(s.usage.disconnected)
	s.mu.Lock()
	s.isOver, s.err = true, err
	s.mu.Unlock()
	close(s.events)
	s.cancel()
	close(s.done)
}

// connectAll has the present model transcribe until the end, or until it has failed too often.
func (s *Stream) connectAll() error {
	retries := 0
	for {
		began := time.Now()
		gotFinal, err := s.connect()
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if err == nil {
			return nil
		}
		if gotFinal || time.Since(began) >= stable {
			retries, s.tried = 0, nil
		}
		again := retries < s.conn.MaxRetry && model.Retryable(err)
		s.who.report(s.ctx, err, again || s.mayPassOn(), retries)
		if !again {
			return attempt.Exhausted(s.who.info, "stream", retries+1, err)
		}
		if s.conn.Wait(s.ctx, retries, err) != nil {
			return s.ctx.Err()
		}
		retries++
	}
}

// connection is one attempt: a stream of the driver and where its times start.
type connection struct {
	s      *Stream
	m      *Model
	conv   *pcm.Converter // nil: audio goes out as it is kept
	d      driver.Stream
	ctx    context.Context
	cancel context.CancelCauseFunc
	offset int64 // position of its first sample
	dog    *attempt.Watchdog
	pushed time.Duration // to the driver; of the stream's lock
	over   atomic.Bool   // nothing more is received: what is refused from here on is refused since we close it
	cut    bool          // the feeder's: audio that it had was not taken
	fed    chan error    // the feeder's only word: why it stopped, nil if it was not its fault
}

// connect runs one connection to its end; nil means that the input ended and everything came back.
func (s *Stream) connect() (gotFinal bool, err error) {
	ds, err := s.open()
	if err != nil {
		return false, err
	}
	c := &connection{s: s, m: s.who, d: ds, offset: s.rewind(), fed: make(chan error, 1)}
	c.ctx, c.cancel = context.WithCancelCause(s.ctx)
	c.dog = attempt.NewWatchdog(s.conn.Timeout, func() {
		c.cancel(attempt.Timeout(s.who.info, "finish", s.conn.Timeout))
	})
	closed := make(chan struct{})
	stop := context.AfterFunc(c.ctx, func() { defer close(closed); c.close() })
	go func() { c.fed <- c.feed() }()
	gotFinal, err = c.receive()
	c.dog.Got()
	if cause := context.Cause(c.ctx); cause != nil && s.ctx.Err() == nil {
		err = cause
	}
	c.over.Store(true)
	if stop() {
		c.close()
	} else {
		<-closed // the driver may book until then
	}
	c.cancel(err)
	if refused := <-c.fed; refused != nil && (errors.Is(err, errEarlyEnd) || err == nil && c.cut) {
		err = refused // tells more than an early end
	}
	c.count()
	s.mu.Lock()
	s.usage.well = err == nil
	s.mu.Unlock()
	s.account(s.usage.disconnected)
	return gotFinal, err
}

func (s *Stream) open() (ds driver.Stream, err error) {
	d, ok := s.who.d.(driver.Streamer)
	if !ok {
		return nil, s.who.protocolError("open", "driver does not stream")
	}
	ctx, o := s.ctx, s.o
	if s.member != nil {
		o = *accepted(s.who, &s.o)
	}
	if s.who.quiet && s.mayPassOn() {
		ctx = model.WithFallback(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, s.conn.Timeout)
	defer cancel()
	err = attempt.Guard(s.who.info, "open", func() (err error) {
		ds, err = d.Open(ctx, o)
		return err
	})
	if err == nil && ds == nil {
		err = s.who.protocolError("open", "driver returned no stream")
	}
	if err != nil {
		return nil, attempt.Classify(s.ctx, s.who.info, "open", s.conn.Timeout, err)
	}
	if a, ok := ds.(driver.Connected); ok && !s.who.quiet {
		e := &metrics.STT{Header: s.who.header(metrics.Measured), Streamed: true, Acquired: true}
		e.AcquireTime, e.ConnectionReused = a.Acquired()
		metrics.Record(s.ctx, e)
	}
	return ds, nil
}

// rewind makes everything that is not acknowledged unsent and returns where that starts.
func (s *Stream) rewind() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next, s.flushed = s.in.Base, 0
	s.speakers.reset() // a new connection numbers them anew
	for len(s.flushes) > 0 && s.flushes[0] < s.in.Base {
		s.flushes = s.flushes[1:]
	}
	s.signal()
	return s.next
}

func (c *connection) close() {
	_ = attempt.Guard(c.m.info, "close", c.d.Close)
}

// step is one thing to send.
type step uint8

const (
	sendNothing step = iota
	sendAudio
	sendFlush
	sendEnd
	sendDone // the end was sent
)

// feed sends what is in the backlog, until the connection ends or the input does.
func (c *connection) feed() error {
	timeout := c.s.conn.Timeout
	stuck := time.AfterFunc(timeout, func() { c.cancel(attempt.Timeout(c.m.info, "push", timeout)) })
	stuck.Stop()
	var buf []int16
	for ended := false; !ended; {
		what, f := c.s.take(&buf)
		if what == sendNothing {
			select {
			case <-c.s.wake:
				continue
			case <-c.ctx.Done():
				return nil
			}
		}
		stuck.Reset(timeout)
		err := c.send(what, f)
		stuck.Stop()
		if err != nil {
			c.cut = what == sendAudio
			if c.over.Load() {
				return c.s.endedEarly()
			}
			c.giveUp(err)
			return err
		}
		c.sent(what)
		ended = what == sendEnd
	}
	c.dog.Arm()
	return nil
}

// take copies the next audio to send into buf and counts it, or says what else there is to send.
func (s *Stream) take(buf *[]int16) (step, audio.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := s.in.Head
	if s.flushed < len(s.flushes) {
		if s.flushes[s.flushed] <= s.next {
			return sendFlush, audio.Frame{}
		}
		end = s.flushes[s.flushed]
	}
	if s.next >= end {
		s.losing = false
		if s.ended {
			s.usage.ended = true
			return sendEnd, audio.Frame{}
		}
		return sendNothing, audio.Frame{}
	}
	if *buf == nil {
		*buf = make([]int16, audio.SamplesIn(chunkTime, s.conv.Out))
	}
	n := min(len(*buf), int(end-s.next))
	n = s.in.Read((*buf)[:n], s.next)
	s.next += int64(n)
	f := audio.Frame{Data: (*buf)[:n], Rate: s.conv.Out, Channels: 1}
	s.usage.sending(f.Duration(), metrics.TagsFrom(s.ctx))
	return sendAudio, f
}

func (c *connection) send(what step, f audio.Frame) error {
	return attempt.Guard(c.m.info, "push", func() error {
		switch what {
		case sendFlush:
			return c.d.Flush(c.ctx)
		case sendEnd:
			tail := c.tail()
			c.s.mu.Lock()
			c.s.usage.sending(tail.Duration(), metrics.TagsFrom(c.s.ctx))
			c.s.mu.Unlock()
			if err := c.push(tail, tail.Duration()); err != nil {
				return err
			}
			return c.d.CloseSend(c.ctx)
		default:
			out, err := c.convert(f)
			if err != nil {
				return err
			}
			return c.push(out, f.Duration())
		}
	})
}

// push hands f to the driver, which is d of the stream's audio. What it does not take is no usage, unless
// it says that it has sent it.
func (c *connection) push(f audio.Frame, d time.Duration) (err error) {
	_, took := c.d.(driver.Counter)
	defer func() { // also after a panic
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		if took {
			c.pushed += d
		} else {
			c.s.usage.unsent(d)
		}
	}()
	if len(f.Data) > 0 {
		err = c.d.Push(c.ctx, f)
	}
	took = took || err == nil
	return err
}

// count asks the driver how much of the audio the provider has got.
func (c *connection) count() {
	n, ok := c.d.(driver.Counter)
	if !ok {
		return
	}
	got := n.Sent()
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.pushed += c.s.usage.got(got-c.pushed, metrics.TagsFrom(c.s.ctx))
}

// convert makes f what the model takes, should it be another rate than the one the stream keeps.
func (c *connection) convert(f audio.Frame) (audio.Frame, error) {
	rate := c.m.caps.SampleRate
	if rate == 0 || rate == f.Rate {
		return f, nil
	}
	if c.conv == nil {
		conv, err := pcm.NewConverter(f, rate)
		if err != nil {
			return f, err
		}
		c.conv = conv
	}
	return audio.Frame{Data: c.conv.Convert(f), Rate: rate, Channels: 1}, nil
}

func (c *connection) tail() audio.Frame {
	if c.conv == nil {
		return audio.Frame{}
	}
	return audio.Frame{Data: c.conv.Tail(), Rate: c.conv.Out, Channels: 1}
}

func (c *connection) sent(what step) {
	switch what {
	case sendAudio:
		c.count()
		c.s.account(c.s.usage.sent)
	case sendFlush:
		c.count()
		c.s.mu.Lock()
		c.s.flushed = min(c.s.flushed+1, len(c.s.flushes))
		c.s.mu.Unlock()
	}
}

// giveUp ends the connection because it takes no more. A provider that refuses often says why in
// its last message, which tells more than a failed write, so the receiver gets time to read it.
func (c *connection) giveUp(err error) {
	t := time.NewTimer(lastWords)
	defer t.Stop()
	select {
	case <-t.C:
		c.cancel(err)
	case <-c.ctx.Done():
	}
}

// receive hands the driver's events on until the connection ends.
func (c *connection) receive() (gotFinal bool, err error) {
	for {
		var e *Event
		c.dog.Wait()
		err := attempt.Guard(c.m.info, "receive", func() (err error) {
			e, err = c.d.Next(c.ctx)
			return err
		})
		c.dog.Got()
		switch {
		case errors.Is(err, io.EOF):
			return gotFinal, c.s.endOfStream()
		case err != nil:
			return gotFinal, err
		case e == nil:
			return gotFinal, c.m.protocolError("receive", "driver returned no event")
		}
		gotFinal = gotFinal || e.Kind == Final
		if !c.deliver(e) {
			return gotFinal, c.ctx.Err()
		}
	}
}

// endOfStream judges the end that the provider made: good only after our own.
func (s *Stream) endOfStream() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended && s.next == s.in.Head {
		return nil
	}
	return s.endedEarly()
}

func (s *Stream) endedEarly() error {
	return &model.Error{Kind: model.KindConnection, Provider: s.who.info.Provider, Op: "stream", Err: errEarlyEnd}
}

// deliver books or hands on one event; false means that nobody wants it any more.
func (c *connection) deliver(e *Event) bool {
	s := c.s
	if e.RequestID != "" {
		s.mu.Lock()
		s.usage.requestID = e.RequestID
		s.mu.Unlock()
	}
	if e.Kind == Usage {
		s.account(func() *metrics.STT { return s.usage.reported(e.Usage) })
		return true
	}
	c.shift(e)
	if e.Kind == Final {
		s.acknowledge(e)
		if e.Text() != "" {
			s.works()
		}
	}
	if !s.tellApart(e) {
		return true
	}
	select {
	case s.events <- e:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// shift makes the times of e count from the start of the stream. Unknown times stay unknown.
func (c *connection) shift(e *Event) {
	c.s.mu.Lock()
	rate := 0
	if c.s.conv != nil {
		rate = c.s.conv.Out
	}
	c.s.mu.Unlock()
	d := audio.Samples(c.offset).At(rate)
	if d == 0 {
		return
	}
	if e.SpeechStart > 0 {
		e.SpeechStart += d
	}
	for i := range e.Alternatives {
		shiftAlternative(&e.Alternatives[i], d)
	}
}

func shiftAlternative(a *Alternative, d time.Duration) {
	if a.End > 0 {
		a.Start += d
		a.End += d
	}
	for i := range a.Words {
		a.Words[i].Start += d
		a.Words[i].End += d
	}
}

// acknowledge forgets the audio that a final covers: up to its end, or, when the provider gives no
// times, all that was sent.
func (s *Stream) acknowledge(e *Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conv == nil {
		return
	}
	pos := s.next
	if len(e.Alternatives) > 0 && e.Alternatives[0].End > 0 {
		pos = min(pos, int64(audio.SamplesIn(e.Alternatives[0].End, s.conv.Out)))
	}
	s.in.Forget(pos)
	for len(s.flushes) > 0 && s.flushed > 0 && s.flushes[0] <= pos {
		s.flushes, s.flushed = s.flushes[1:], s.flushed-1
	}
}
