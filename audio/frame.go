package audio

import (
	"fmt"
	"slices"
	"time"
)

// Frame is a piece of PCM audio: signed 16-bit samples, interleaved when there is more than
// one channel.
//
// Ownership: a frame that is handed to you, by a call of yours or as a result, is borrowed.
// Data may be read until your function returns (when the frame was an argument) or until the
// next call on the same source (when it was a result). Clone it to keep it longer. Nobody but
// the owner writes to Data.
type Frame struct {
	Data     []int16 // interleaved samples
	Rate     int     // samples per second and channel, in Hz
	Channels int     // 1 or 2
}

// Samples is the number of samples per channel.
func (f Frame) Samples() int {
	if f.Channels <= 0 {
		return 0
	}
	return len(f.Data) / f.Channels
}

// Duration is the playing time of the frame, 0 for a frame without a rate.
func (f Frame) Duration() time.Duration {
	if f.Rate <= 0 {
		return 0
	}
	return Samples(f.Samples()).At(f.Rate)
}

// Clone returns a copy that the caller owns.
func (f Frame) Clone() Frame {
	f.Data = slices.Clone(f.Data)
	return f
}

// Validate reports what is wrong with the frame, nil if nothing is.
func (f Frame) Validate() error {
	switch {
	case f.Rate < 1000 || f.Rate > 384_000:
		return fmt.Errorf("audio frame: sample rate %d Hz is outside of 1000..384000", f.Rate)
	case f.Channels < 1 || f.Channels > 8:
		return fmt.Errorf("audio frame: %d channels, want 1 to 8", f.Channels)
	case len(f.Data)%f.Channels != 0:
		return fmt.Errorf("audio frame: %d samples do not divide into %d channels", len(f.Data), f.Channels)
	}
	return nil
}

// Silence returns a frame of zeros of the given length. The caller owns it.
func Silence(d time.Duration, rate, channels int) Frame {
	return Frame{Data: make([]int16, SamplesIn(d, rate)*channels), Rate: rate, Channels: channels}
}

// Samples counts samples of one channel. Positions in audio are kept in samples, never in time,
// so that nothing is lost by rounding.
type Samples int64

// At is the time that n samples take at the given rate.
func (n Samples) At(rate int) time.Duration {
	if rate <= 0 {
		return 0
	}
	whole, rest := int64(n)/int64(rate), int64(n)%int64(rate)
	return time.Duration(whole)*time.Second + time.Duration(rest)*time.Second/time.Duration(rate)
}

// SamplesIn is the number of whole samples in d at the given rate.
func SamplesIn(d time.Duration, rate int) int {
	return int(int64(d) * int64(rate) / int64(time.Second))
}
