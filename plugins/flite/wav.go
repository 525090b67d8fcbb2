package flite

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var errNotWAV = errors.New("read audio: not a WAV file")

// readWAV returns the samples of a WAV file with one channel of signed 16-bit samples. A file that
// ends early gives what there is.
func readWAV(file []byte) (samples []int16, rate int, err error) {
	if len(file) < 12 || string(file[:4]) != "RIFF" || string(file[8:12]) != "WAVE" {
		return nil, 0, errNotWAV
	}
	for rest := file[12:]; len(rest) >= 8; {
		name := string(rest[:4])
		size := int(min(uint64(binary.LittleEndian.Uint32(rest[4:8])), uint64(len(rest)-8)))
		body := rest[8 : 8+size]
		switch name {
		case "fmt ":
			if size < 16 {
				return nil, 0, errNotWAV
			}
			format, channels := binary.LittleEndian.Uint16(body), binary.LittleEndian.Uint16(body[2:])
			rate = int(binary.LittleEndian.Uint32(body[4:]))
			if bits := binary.LittleEndian.Uint16(body[14:]); format != 1 || channels != 1 || bits != 16 || rate < 1000 || rate > 192_000 {
				return nil, 0, fmt.Errorf("read audio: format %d with %d channels of %d bits at %d Hz is not supported", format, channels, bits, rate)
			}
		case "data":
			if rate == 0 {
				return nil, 0, errNotWAV
			}
			samples = make([]int16, size/2)
			for i := range samples {
				samples[i] = int16(binary.LittleEndian.Uint16(body[2*i:]))
			}
			return samples, rate, nil
		}
		rest = rest[min(8+size+size%2, len(rest)):]
	}
	return nil, 0, errNotWAV
}
