// Package opus encodes and decodes Opus packets of speech, at 48 kHz.
//
// The codec hides behind two small interfaces. States come from a pool and go back to it with
// Close, because a fresh one costs hundreds of kilobytes.
package opus

import (
	"errors"
	"fmt"
)

const (
	// Rate is the only sample rate of this package, in Hz. An encoder that is fed at 24 kHz loses
	// everything above 8 kHz, so resample to 48 kHz before encoding.
	Rate = 48000
	// FrameSamples is the length of an encoded frame, 20 ms, in samples per channel.
	FrameSamples = Rate / 50
	// MaxSamples is the longest audio that a packet can hold, 120 ms, in samples per channel.
	MaxSamples = Rate / 1000 * 120
	// MaxBytes is room enough for any packet of an encoder.
	MaxBytes = 4000
	// quantum is the unit of durations in Opus, 2.5 ms.
	quantum = Rate / 400
	// maxConcealed is how much lost audio in a row is made up before there is silence: 5 frames.
	maxConcealed = 5 * FrameSamples
)

var (
	// ErrRate is returned for an encoder at any rate but 48 kHz.
	ErrRate = errors.New("opus is encoded and decoded at 48000 Hz only: resample first")
	// ErrPacket is returned for a packet that cannot be decoded. Treat it as lost.
	ErrPacket = errors.New("not a valid opus packet")
	// ErrNoRedundancy is returned by Recover for a packet without a copy of the one before.
	ErrNoRedundancy = errors.New("opus packet has no redundancy")
	// ErrClosed is returned by an encoder or decoder that was closed.
	ErrClosed = errors.New("opus state is closed")
)

// Application is what an encoder is tuned for.
type Application int

const (
	// Synthesis is a voice at 64 kbit/s, clear and cheap to encode, without redundancy: what an
	// agent says through a server that is near.
	Synthesis Application = iota
	// Speech is a voice at 32 kbit/s with redundancy against loss, at almost three times the cost.
	Speech
)

// EncoderConfig describes an encoder. The zero value is a mono encoder for Synthesis.
type EncoderConfig struct {
	Rate        int         // 0 or 48000
	Channels    int         // 1 (default), or 2 with Synthesis
	Application Application // default Synthesis
	Bitrate     int         // bits per second; default 32000 for Speech, 64000 for Synthesis
	// Effort is from 1 to 10, default 9. 5 saves a third of the time.
	Effort int
}

func (c EncoderConfig) withDefaults() (EncoderConfig, error) {
	if c.Rate == 0 {
		c.Rate = Rate
	}
	if c.Channels == 0 {
		c.Channels = 1
	}
	if c.Bitrate == 0 {
		c.Bitrate = 32000
		if c.Application == Synthesis {
			c.Bitrate = 64000
		}
	}
	switch {
	case c.Rate != Rate:
		return c, fmt.Errorf("opus encoder at %d Hz: %w", c.Rate, ErrRate)
	case c.Channels < 1 || c.Channels > 2:
		return c, fmt.Errorf("opus encoder: %d channels, want 1 or 2", c.Channels)
	case c.Channels == 2 && c.Application == Speech:
		// The codec distorts stereo in its speech modes.
		return c, errors.New("opus encoder: speech is mono")
	case c.Application != Speech && c.Application != Synthesis:
		return c, fmt.Errorf("opus encoder: unknown application %d", c.Application)
	case c.Bitrate < 6000 || c.Bitrate > 510_000:
		return c, fmt.Errorf("opus encoder: %d bit/s, want 6000 to 510000", c.Bitrate)
	case c.Effort < 0 || c.Effort > 10:
		return c, fmt.Errorf("opus encoder: effort %d, want 1 to 10", c.Effort)
	}
	return c, nil
}

// Encoder makes packets of 20 ms. It belongs to one stream and one goroutine.
type Encoder interface {
	// Encode writes the packet for one frame, FrameSamples interleaved samples per channel, into
	// dst and returns its length. dst needs room for MaxBytes. 0 means that there is nothing to
	// send for this frame.
	Encode(dst []byte, pcm []int16) (int, error)
	// Lookahead is how many samples per channel the packets run behind the input.
	Lookahead() int
	// Reset begins another stream with the same settings.
	Reset()
	// Close gives the state back. It may be called twice.
	Close()
}

// Decoder turns packets into audio. It belongs to one stream and one goroutine.
type Decoder interface {
	// Decode writes the audio of a packet into dst and returns its samples per channel. dst needs
	// room for MaxSamples per channel. The error is ErrPacket, wrapped, for a bad packet.
	Decode(dst []int16, packet []byte) (int, error)
	// Conceal fills dst with audio in place of what was lost. Its length per channel is a multiple
	// of 2.5 ms. After 100 ms without a packet it is silence. synthetic says whether any of it is
	// not.
	Conceal(dst []int16) (synthetic bool, err error)
	// Recover fills dst with the copy that next, the packet after the lost one, has of it; decode
	// next afterwards. The length of dst per channel is at least that of a frame of next, up to
	// MaxSamples. The error is ErrNoRedundancy for a packet without a copy.
	Recover(dst []int16, next []byte) error
	// Reset begins another stream.
	Reset()
	// Close gives the state back. It may be called twice.
	Close()
}
