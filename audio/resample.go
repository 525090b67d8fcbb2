package audio

import (
	"errors"
	"fmt"
	"slices"
)

// Quality selects the length of a resampler's filter.
type Quality int

const (
	// Fast is enough for speech, and for everything that is not listened to for its sound.
	Fast Quality = iota
	// High keeps more of the top of the band, at about twice the cost.
	High
)

// ErrRatio is returned by NewResampler for a pair of rates whose filter table would be too large:
// rates without a large common divisor, such as 44100 and 47999.
var ErrRatio = errors.New("ratio of sample rates needs a filter table of more than 1 MB")

// Resampler changes the sample rate of one stream of audio. After n samples (per channel) it has
// given exactly ceil(n*out/in), with the same values however the stream was cut into calls.
//
// A Resampler belongs to one stream and one goroutine.
type Resampler struct {
	table    *filterTable // nil: equal rates
	channels int
	buf      [][]float32 // one per channel: the history, then the new samples
	fill     int         // samples in each buf
	next     int         // place in buf of the newest sample that the next output needs
	phase    int         // phase of the next output
}

// resampleBlock is how many new samples per channel are taken in at a time.
const resampleBlock = 960

// NewResampler returns a resampler from the rate in to the rate out, both in Hz, for interleaved
// samples of the given number of channels. It fails for values that a Frame cannot have, and with
// ErrRatio.
func NewResampler(in, out, channels int, q Quality) (*Resampler, error) {
	for _, rate := range []int{in, out} {
		if err := (Frame{Rate: rate, Channels: channels}).Validate(); err != nil {
			return nil, fmt.Errorf("resampler: %w", err)
		}
	}
	r := &Resampler{channels: channels}
	if in == out {
		return r, nil
	}
	table, err := filterFor(in, out, q)
	if err != nil {
		return nil, fmt.Errorf("resampler from %d to %d Hz: %w", in, out, err)
	}
	r.table = table
	r.buf = make([][]float32, channels)
	for c := range r.buf {
		r.buf[c] = make([]float32, table.stride-1+resampleBlock)
	}
	r.Reset()
	return r, nil
}

// Reset forgets the stream: the next Process begins another one.
func (r *Resampler) Reset() {
	if r.table == nil {
		return
	}
	r.fill, r.next, r.phase = r.table.stride-1, r.table.stride-1, 0
	for _, b := range r.buf {
		clear(b[:r.fill])
	}
}

// Delay is how many samples per channel the output runs behind the input. Dropping that many at
// the start of a stream, and calling Flush at its end, aligns the two.
func (r *Resampler) Delay() int {
	if r.table == nil {
		return 0
	}
	return r.table.taps / 2 * r.table.up / r.table.down
}

// MaxOutput is the largest number of samples per channel that n input samples, or with n = 0 a
// Flush, can give.
func (r *Resampler) MaxOutput(n int) int {
	if r.table == nil {
		return n
	}
	if n == 0 {
		n = r.table.taps / 2
	}
	return n*r.table.up/r.table.down + 1
}

// Process takes in src and appends what it gives to dst, which must not overlap. It does not
// allocate when dst has room. Samples of an incomplete last tuple of channels are ignored.
func (r *Resampler) Process(dst, src []int16) []int16 {
	if r.table == nil {
		return append(dst, src...)
	}
	frames := len(src) / r.channels
	dst = slices.Grow(dst, r.MaxOutput(max(frames, 1))*r.channels)
	for frames > 0 {
		n := r.takeIn(src, frames)
		src, frames = src[n*r.channels:], frames-n
		dst = r.giveOut(dst)
	}
	return dst
}

// Flush appends the tail of the stream, which is still inside the filter, and begins another
// stream.
func (r *Resampler) Flush(dst []int16) []int16 {
	if r.table == nil {
		return dst
	}
	dst = slices.Grow(dst, r.MaxOutput(0)*r.channels)
	for left := r.table.taps / 2; left > 0; {
		r.makeRoom()
		n := min(left, len(r.buf[0])-r.fill)
		for _, b := range r.buf {
			clear(b[r.fill : r.fill+n])
		}
		r.fill += n
		left -= n
		dst = r.giveOut(dst)
	}
	r.Reset()
	return dst
}

// takeIn copies as many of the samples into the buffers as fit, at least one.
func (r *Resampler) takeIn(src []int16, frames int) int {
	r.makeRoom()
	n := min(frames, len(r.buf[0])-r.fill)
	for c, b := range r.buf {
		b = b[r.fill : r.fill+n]
		if r.channels == 1 {
			for i, s := range src[:n] {
				b[i] = float32(s)
			}
			continue
		}
		for i := range b {
			b[i] = float32(src[i*r.channels+c])
		}
	}
	r.fill += n
	return n
}

// makeRoom moves the history to the front of full buffers.
func (r *Resampler) makeRoom() {
	if r.fill < len(r.buf[0]) {
		return
	}
	history := r.table.stride - 1
	for _, b := range r.buf {
		copy(b, b[r.fill-history:])
	}
	r.next -= r.fill - history
	r.fill = history
}

// giveOut appends every output whose newest sample is there.
func (r *Resampler) giveOut(dst []int16) []int16 {
	t := r.table
	for r.next < r.fill {
		row := t.coef[r.phase*t.stride : (r.phase+1)*t.stride]
		first := r.next - t.stride + 1
		for _, b := range r.buf {
			dst = append(dst, toInt16(dot(row, b[first:])))
		}
		r.phase += t.down
		r.next += r.phase / t.up
		r.phase %= t.up
	}
	return dst
}

// dot is the sum of the products of a, whose length is a multiple of 8, with the start of b.
func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	for len(a) >= 8 && len(b) >= 8 {
		s0 += a[0]*b[0] + a[4]*b[4]
		s1 += a[1]*b[1] + a[5]*b[5]
		s2 += a[2]*b[2] + a[6]*b[6]
		s3 += a[3]*b[3] + a[7]*b[7]
		a, b = a[8:], b[8:]
	}
	return (s0 + s1) + (s2 + s3)
}

// toInt16 rounds half away from zero and clamps.
func toInt16(x float32) int16 {
	switch {
	case x >= 32767:
		return 32767
	case x <= -32768:
		return -32768
	case x < 0:
		return int16(x - 0.5)
	}
	return int16(x + 0.5)
}
