package wire

import (
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/audio"
)

// Chunks gathers audio into messages of a size, for providers that want no smaller ones. The zero value
// gathers nothing. It belongs to one goroutine, but for Sent.
type Chunks struct {
	Size int // bytes of a message
	Rate int // Hz, for Sent
	buf  []byte
	sent atomic.Int64 // bytes
}

// Sent is how much audio was handed on.
func (c *Chunks) Sent() time.Duration { return audio.Samples(c.sent.Load() / 2).At(c.Rate) }

// Add takes samples and hands on the messages that are complete, borrowed until send returns.
func (c *Chunks) Add(pcm []int16, send func([]byte) error) error {
	c.buf = AppendPCM(c.buf, pcm)
	at := 0
	for ; at+c.Size <= len(c.buf) && c.Size > 0; at += c.Size {
		if err := send(c.buf[at : at+c.Size]); err != nil {
			return err
		}
		c.sent.Add(int64(c.Size))
	}
	c.buf = append(c.buf[:0], c.buf[at:]...)
	return nil
}

// Rest hands on what is left, if anything, with silence up to the size if padded.
func (c *Chunks) Rest(padded bool, send func([]byte) error) error {
	if len(c.buf) == 0 {
		return nil
	}
	for padded && len(c.buf) < c.Size {
		c.buf = append(c.buf, 0)
	}
	b := c.buf
	c.buf = c.buf[:0]
	err := send(b)
	if err == nil {
		c.sent.Add(int64(len(b)))
	}
	return err
}
