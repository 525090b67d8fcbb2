package wire

import "encoding/binary"

// maxHeader bounds the header of a WAV file; those with marks for words are long.
const maxHeader = 1 << 20

// PCM makes samples of 16-bit little-endian audio that comes in pieces of any length: half a sample waits
// for the next piece, and the header of a WAV file is left out. The zero value is ready; it is used by
// one goroutine.
type PCM struct {
	pcm  []int16
	rest []byte // half a sample, or a header that is not complete
	body bool   // there was no header, or it is over
}

// Add returns the samples that are complete with b, valid until the next call.
func (p *PCM) Add(b []byte) []int16 {
	p.pcm = p.pcm[:0]
	if len(p.rest) > 0 {
		b = append(p.rest, b...)
	}
	if !p.body {
		skip, known := header(b)
		if !known && len(b) < maxHeader {
			p.rest = append([]byte(nil), b...)
			return p.pcm
		}
		b, p.body = b[skip:], true
	}
	p.pcm = Samples(p.pcm, b)
	p.rest = append([]byte(nil), b[len(b)&^1:]...)
	return p.pcm
}

// header is how long the header of a WAV file in front of b is, 0 if there is none; false means that
// more of b is needed.
func header(b []byte) (size int, known bool) {
	if n := min(len(b), 4); string(b[:n]) != "RIFF"[:n] {
		return 0, true
	}
	for at := 12; at+8 <= len(b); {
		if string(b[at:at+4]) == "data" {
			return at + 8, true
		}
		n := int64(binary.LittleEndian.Uint32(b[at+4:]))
		n += n & 1
		if n > maxHeader {
			return 0, true
		}
		at += 8 + int(n)
	}
	return 0, false
}
