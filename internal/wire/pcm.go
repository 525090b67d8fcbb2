package wire

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/parley-go/parley/audio"
)

// WAV is f as a WAV file of 16-bit samples.
func WAV(f audio.Frame) []byte {
	size := 2 * len(f.Data)
	b := make([]byte, 0, 44+size)
	le := binary.LittleEndian
	b = append(b, "RIFF"...)
	b = le.AppendUint32(b, uint32(36+size))
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 16)
	b = le.AppendUint16(b, 1) // PCM
	b = le.AppendUint16(b, uint16(f.Channels))
	b = le.AppendUint32(b, uint32(f.Rate))
	b = le.AppendUint32(b, uint32(2*f.Rate*f.Channels))
	b = le.AppendUint16(b, uint16(2*f.Channels))
	b = le.AppendUint16(b, 16)
	b = append(b, "data"...)
	b = le.AppendUint32(b, uint32(size))
	return AppendPCM(b, f.Data)
}

// AppendPCM appends samples as 16-bit little-endian audio to b.
func AppendPCM(b []byte, pcm []int16) []byte {
	for _, v := range pcm {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	return b
}

// Samples appends 16-bit little-endian audio to pcm; half a sample at the end is left out.
func Samples(pcm []int16, b []byte) []int16 {
	for ; len(b) >= 2; b = b[2:] {
		pcm = append(pcm, int16(binary.LittleEndian.Uint16(b)))
	}
	return pcm
}

// Seconds is a time that a provider states; 0 for one that cannot be.
func Seconds(s float64) time.Duration {
	if !(s > 0 && s < 1e9) {
		return 0
	}
	return time.Duration(math.Round(s * float64(time.Second)))
}
