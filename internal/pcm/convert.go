package pcm

import (
	"fmt"

	"github.com/parley-go/parley/audio"
)

// Converter makes mono audio of one rate out of the frames of one stream. It belongs to one goroutine.
type Converter struct {
	In, Out  int // Hz
	channels int
	mono     []int16
	buf      []int16
	r        *audio.Resampler // nil when the rates are equal
}

// NewConverter takes the format from the first frame; rate 0 keeps the frame's.
func NewConverter(f audio.Frame, rate int) (*Converter, error) {
	c := &Converter{In: f.Rate, Out: rate, channels: f.Channels}
	if c.Out == 0 {
		c.Out = c.In
	}
	if c.Out != c.In {
		r, err := audio.NewResampler(c.In, c.Out, 1, audio.Fast)
		if err != nil {
			return nil, fmt.Errorf("resample %d Hz to %d Hz: %w", c.In, c.Out, err)
		}
		c.r = r
	}
	return c, nil
}

// Accepts reports whether f has the format of the stream.
func (c *Converter) Accepts(f audio.Frame) bool { return f.Rate == c.In && f.Channels == c.channels }

// Convert returns f as mono at the rate Out, valid until the next call.
func (c *Converter) Convert(f audio.Frame) []int16 {
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

// Tail returns what the resampler still holds.
func (c *Converter) Tail() []int16 {
	if c.r == nil {
		return nil
	}
	c.buf = c.r.Flush(c.buf[:0])
	return c.buf
}

// Delay is by how many samples of the output the resampler is late.
func (c *Converter) Delay() int {
	if c.r == nil {
		return 0
	}
	return c.r.Delay()
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

// Whole returns a whole utterance as mono at rate; 0 keeps the frame's.
func Whole(f audio.Frame, rate int) (audio.Frame, error) {
	if f.Channels == 1 && (rate == 0 || rate == f.Rate) {
		return f, nil
	}
	c, err := NewConverter(f, rate)
	if err != nil {
		return audio.Frame{}, err
	}
	data := append([]int16(nil), c.Convert(f)...)
	if c.r != nil {
		data = append(data, c.Tail()...)
		data = data[min(c.Delay(), len(data)):]
	}
	return audio.Frame{Data: data, Rate: c.Out, Channels: 1}, nil
}
