package stt

import (
	"fmt"

	"github.com/parley-go/parley/audio"
)

// converter makes mono audio of one rate out of the frames of one stream.
type converter struct {
	in, out  int // Hz
	channels int
	mono     []int16
	buf      []int16
	r        *audio.Resampler // nil when the rates are equal
}

// newConverter takes the format from the first frame; rate 0 keeps the frame's.
func newConverter(f audio.Frame, rate int) (*converter, error) {
	c := &converter{in: f.Rate, out: rate, channels: f.Channels}
	if c.out == 0 {
		c.out = c.in
	}
	if c.out != c.in {
		r, err := audio.NewResampler(c.in, c.out, 1, audio.Fast)
		if err != nil {
			return nil, fmt.Errorf("resample %d Hz to %d Hz: %w", c.in, c.out, err)
		}
		c.r = r
	}
	return c, nil
}

// accepts reports whether f has the format of the stream.
func (c *converter) accepts(f audio.Frame) bool { return f.Rate == c.in && f.Channels == c.channels }

// convert returns f as mono at the output rate, valid until the next call.
func (c *converter) convert(f audio.Frame) []int16 {
	data := f.Data
	if c.channels > 1 {
		c.mono = mixDown(c.mono[:0], data, c.channels)
		data = c.mono
	}
	if c.r == nil {
		return data
	}
	c.buf = c.r.Process(c.buf[:0], data)
	return c.buf
}

// tail returns what the resampler still holds.
func (c *converter) tail() []int16 {
	if c.r == nil {
		return nil
	}
	c.buf = c.r.Flush(c.buf[:0])
	return c.buf
}

func mixDown(dst, src []int16, channels int) []int16 {
	for i := 0; i+channels <= len(src); i += channels {
		sum := 0
		for _, v := range src[i : i+channels] {
			sum += int(v)
		}
		dst = append(dst, int16(sum/channels))
	}
	return dst
}

// convert returns a whole utterance as mono at rate; 0 keeps the frame's.
func convert(f audio.Frame, rate int) (audio.Frame, error) {
	if f.Channels == 1 && (rate == 0 || rate == f.Rate) {
		return f, nil
	}
	c, err := newConverter(f, rate)
	if err != nil {
		return audio.Frame{}, err
	}
	data := append([]int16(nil), c.convert(f)...)
	if c.r != nil {
		data = append(data, c.tail()...)
		data = data[min(c.r.Delay(), len(data)):]
	}
	return audio.Frame{Data: data, Rate: c.out, Channels: 1}, nil
}
