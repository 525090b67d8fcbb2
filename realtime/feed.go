package realtime

import (
	"errors"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/internal/pcm"
	"github.com/parley-go/parley/realtime/driver"
)

// feed sends what is to be sent, until the connection ends.
func (c *connection) feed() error {
	timeout := c.s.conn.Timeout
	stuck := time.AfterFunc(timeout, func() { c.cancel(attempt.Timeout(c.m.info, "send", timeout)) })
	stuck.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	f := &feeder{c: c}
	for c.ctx.Err() == nil {
		t := c.s.take(c, &f.buf)
		if t.op == nil && len(t.audio.Data) == 0 {
			timer.Stop()
			var due <-chan time.Time
			if !t.until.IsZero() {
				timer.Reset(max(time.Until(t.until), 0))
				due = timer.C
			}
			select {
			case <-c.s.wake:
			case <-due:
			case <-c.ctx.Done():
			}
			continue
		}
		stuck.Reset(timeout)
		err := c.m.guard("send", func() error { return f.do(t) })
		stuck.Stop()
		if err != nil {
			c.giveUp(err)
			return err
		}
	}
	return nil
}

// feeder brings audio into the form that the provider wants.
type feeder struct {
	c    *connection
	buf  []int16
	conv *pcm.Converter
	rest []int16 // less than a chunk
}

func (f *feeder) do(t todo) error {
	if t.op == nil {
		return f.push(t.audio)
	}
	if t.op.flush {
		if err := f.flush(); err != nil {
			return err
		}
	}
	err := t.op.send(f.c.ctx, f.c.d)
	if errors.Is(err, driver.ErrUnsupported) {
		f.c.cannot(t.op, err)
		return nil
	}
	return err
}

// giveUp ends the connection because it takes no more. A provider that refuses often says why in its last
// message, which tells more than a failed write, so the receiver gets time to read it.
func (c *connection) giveUp(err error) {
	t := time.NewTimer(lastWords)
	defer t.Stop()
	select {
	case <-t.C:
		c.cancel(err)
	case <-c.ctx.Done():
	}
}

// push sends audio in chunks, and keeps what is less than one.
func (f *feeder) push(a audio.Frame) error {
	caps := &f.c.m.caps
	if f.conv == nil {
		conv, err := pcm.NewConverter(a, caps.InputRate)
		if err != nil {
			return err
		}
		f.conv = conv
	}
	f.rest = append(f.rest, f.conv.Convert(a)...)
	chunk := audio.SamplesIn(caps.InputChunk, f.conv.Out)
	if chunk == 0 {
		return f.flush()
	}
	for len(f.rest) >= chunk {
		if err := f.send(chunk); err != nil {
			return err
		}
	}
	return nil
}

// flush sends what is less than a chunk.
func (f *feeder) flush() error {
	if len(f.rest) == 0 {
		return nil
	}
	return f.send(len(f.rest))
}

func (f *feeder) send(n int) error {
	err := f.c.d.Push(f.c.ctx, audio.Frame{Data: f.rest[:n], Rate: f.conv.Out, Channels: 1})
	f.rest = append(f.rest[:0], f.rest[n:]...)
	return err
}
