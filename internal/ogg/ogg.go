// Package ogg carries Opus packets as a stream of Ogg pages (RFC 3533, RFC 7845), live: pages are made of packets
// as they come, and taken apart however the stream was cut.
package ogg

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/parley-go/parley/audio/opus"
)

const (
	magic      = "OggS"
	headerSize = 27
	maxPacket  = 1 << 16 // far more than any Opus packet has
	continued  = 1       // flag of a page: it begins with the rest of a packet
	first      = 2       // flag of a page: the stream begins
)

// ErrStream is the error, wrapped, of what is no stream of Opus.
var ErrStream = errors.New("not an ogg stream of opus")

// crcTable is that of Ogg's checksum, which is no standard one of Go: polynomial 0x04c11db7, highest bit first.
var crcTable = func() (t [256]uint32) {
	for i := range t {
		r := uint32(i) << 24
		for range 8 {
			if r&(1<<31) != 0 {
				r = r<<1 ^ 0x04c11db7
			} else {
				r <<= 1
			}
		}
		t[i] = r
	}
	return t
}()

// sum is the checksum of a page, whose own field counts as zero.
func sum(page []byte) (crc uint32) {
	for i, b := range page {
		if i >= 22 && i < 26 {
			b = 0
		}
		crc = crc<<8 ^ crcTable[byte(crc>>24)^b]
	}
	return crc
}

// Writer makes the pages of one mono stream. The zero value is ready; it belongs to one goroutine.
type Writer struct {
	pages    uint32
	position uint64 // samples at 48 kHz
}

// PreSkip is how many samples of 48 kHz a decoder drops at the beginning of a Writer's stream.
const PreSkip = 312

// serial is the number of a Writer's stream, which is alone on its connection.
const serial = 1

// Append appends a page with packets to dst, before the first of them the headers, and returns it. Packets are
// at most 255 of 127 bytes, or fewer that are longer.
func (w *Writer) Append(dst []byte, packets ...[]byte) ([]byte, error) {
	if w.pages == 0 {
		head := append([]byte("OpusHead"), 1, 1) // version, channels
		head = binary.LittleEndian.AppendUint16(head, PreSkip)
		head = binary.LittleEndian.AppendUint32(head, opus.Rate)
		head = append(head, 0, 0, 0) // gain, mapping
		tags := append([]byte("OpusTags"), 6, 0, 0, 0)
		tags = append(tags, "parley"...)
		tags = append(tags, 0, 0, 0, 0)
		dst = w.page(dst, []byte{byte(len(head))}, head)
		dst = w.page(dst, []byte{byte(len(tags))}, tags)
	}
	var lacing []byte
	for _, p := range packets {
		n := len(p)
		for ; n >= 255; n -= 255 {
			lacing = append(lacing, 255)
		}
		lacing = append(lacing, byte(n))
		w.position += uint64(opus.Samples(p))
	}
	if len(lacing) > 255 {
		return dst, errors.New("ogg: too much for a page")
	}
	return w.page(dst, lacing, packets...), nil
}

func (w *Writer) page(dst, lacing []byte, packets ...[]byte) []byte {
	at := len(dst)
	dst = append(dst, magic...)
	flags := byte(0)
	if w.pages == 0 {
		flags = first
	}
	dst = append(dst, 0, flags)
	dst = binary.LittleEndian.AppendUint64(dst, w.position)
	dst = binary.LittleEndian.AppendUint32(dst, serial)
	dst = binary.LittleEndian.AppendUint32(dst, w.pages)
	dst = append(dst, 0, 0, 0, 0, byte(len(lacing)))
	dst = append(dst, lacing...)
	for _, p := range packets {
		dst = append(dst, p...)
	}
	binary.LittleEndian.PutUint32(dst[at+22:], sum(dst[at:]))
	w.pages++
	return dst
}

// Reader takes a stream apart. The zero value is ready; it belongs to one goroutine.
type Reader struct {
	// Skip is how many samples at 48 kHz the sender wants dropped at the beginning; known with the first packet.
	Skip int

	buf     []byte   // of the stream: less than a page, once Next said that it has no more
	packets [][]byte // that are complete
	part    []byte   // of a packet that goes on in the next page
	headers int      // packets that were headers: two
}

// Write adds a piece of the stream.
func (r *Reader) Write(b []byte) { r.buf = append(r.buf, b...) }

// Next is the next Opus packet, the caller's to keep; nil when more of the stream is needed. After an error there is no other packet.
func (r *Reader) Next() ([]byte, error) {
	for len(r.packets) == 0 {
		ok, err := r.page()
		if !ok || err != nil {
			return nil, err
		}
	}
	p := r.packets[0]
	r.packets = r.packets[1:]
	return p, nil
}

// page takes a page off the stream; false if it is not all there.
func (r *Reader) page() (bool, error) {
	n := min(len(r.buf), len(magic))
	if string(r.buf[:n]) != magic[:n] {
		return false, fmt.Errorf("%w: no page where one begins", ErrStream)
	}
	if len(r.buf) < headerSize {
		return false, nil
	}
	lacing := headerSize + int(r.buf[headerSize-1])
	if len(r.buf) < lacing {
		return false, nil
	}
	size := lacing
	for _, l := range r.buf[headerSize:lacing] {
		size += int(l)
	}
	if len(r.buf) < size {
		return false, nil
	}
	page := r.buf[:size]
	if r.buf[4] != 0 || binary.LittleEndian.Uint32(page[22:]) != sum(page) {
		return false, fmt.Errorf("%w: a page is damaged", ErrStream)
	}
	if err := r.split(page[headerSize:lacing], page[lacing:], page[5]); err != nil {
		return false, err
	}
	r.buf = append(r.buf[:0], r.buf[size:]...)
	return true, nil
}

// split takes the packets out of a page.
func (r *Reader) split(lacing, data []byte, flags byte) error {
	if (flags&continued != 0) != (r.part != nil) {
		return fmt.Errorf("%w: a packet is not whole", ErrStream)
	}
	for _, l := range lacing {
		if r.part == nil {
			r.part = []byte{}
		}
		r.part = append(r.part, data[:l]...)
		data = data[l:]
		if len(r.part) > maxPacket {
			return fmt.Errorf("%w: a packet is too large", ErrStream)
		}
		if l == 255 {
			continue
		}
		p := r.part
		r.part = nil
		if err := r.take(p); err != nil {
			return err
		}
	}
	return nil
}

// take takes a packet, which may be a header.
func (r *Reader) take(p []byte) error {
	switch r.headers {
	case 0:
		if len(p) < 19 || string(p[:8]) != "OpusHead" || p[8]>>4 != 0 || p[9] < 1 || p[9] > 2 || p[18] != 0 {
			return fmt.Errorf("%w: no header of mono or stereo", ErrStream)
		}
		r.Skip = int(binary.LittleEndian.Uint16(p[10:]))
		r.headers++
	case 1:
		if len(p) < 8 || string(p[:8]) != "OpusTags" {
			return fmt.Errorf("%w: no tags", ErrStream)
		}
		r.headers++
	default:
		r.packets = append(r.packets, p)
	}
	return nil
}
