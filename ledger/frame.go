package ledger

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// A frame is four bytes that begin every frame, the length of the payload, the CRC-32C of length and
// payload (both little endian), and the payload. The first four let a reader find the next frame
// behind a damaged one.
const frameHead = 12

var (
	magic      = [4]byte{0xEB, 'P', 'L', '1'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// appendFrame frames the payload that put appends. It drops one that is empty or too long.
func appendFrame(b []byte, put func([]byte) []byte) ([]byte, bool) {
	start := len(b)
	b = append(b, magic[:]...)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b = put(b)
	n := len(b) - start - frameHead
	if n <= 0 || n > maxPayload {
		return b[:start], false
	}
	f := b[start:]
	binary.LittleEndian.PutUint32(f[4:], uint32(n))
	binary.LittleEndian.PutUint32(f[8:], checksum(f))
	return b, true
}

// checksum is of a whole frame.
func checksum(f []byte) uint32 {
	return crc32.Update(crc32.Checksum(f[4:8], castagnoli), castagnoli, f[frameHead:])
}

// scanner finds the frames of a file.
type scanner struct {
	r       *bufio.Reader
	at      int64 // where the next frame may begin
	good    int64 // the end of the last good frame
	skipped int64 // bytes before the frame that next returned, or before the end, that are no frame
}

func newScanner(r io.Reader) *scanner {
	return &scanner{r: bufio.NewReaderSize(r, maxPayload+frameHead)}
}

// next returns the payload of the next good frame, which is valid until the next call; io.EOF at the end.
func (s *scanner) next() ([]byte, error) {
	s.skipped = 0
	for {
		f, err := s.frame()
		if err != nil {
			return nil, err
		}
		if f != nil {
			s.drop(len(f))
			s.good = s.at
			return f[frameHead:], nil
		}
		if err := s.skip(); err != nil {
			return nil, err
		}
	}
}

// frame returns the frame that begins here, nil if there is none.
func (s *scanner) frame() ([]byte, error) {
	head, err := s.peek(frameHead)
	if err != nil {
		return nil, err
	}
	if len(head) == 0 {
		return nil, io.EOF
	}
	if len(head) < frameHead || [4]byte(head) != magic {
		return nil, nil
	}
	n := binary.LittleEndian.Uint32(head[4:])
	if n == 0 || n > maxPayload {
		return nil, nil
	}
	sum := binary.LittleEndian.Uint32(head[8:])
	f, err := s.peek(frameHead + int(n))
	if err != nil || len(f) < frameHead+int(n) || checksum(f) != sum {
		return nil, err
	}
	return f, nil
}

// peek returns the next n bytes, or less at the end of the file.
func (s *scanner) peek(n int) ([]byte, error) {
	b, err := s.r.Peek(n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b, err
}

// skip goes on to where the next frame may begin.
func (s *scanner) skip() error {
	for first := true; ; first = false {
		b, err := s.peek(1)
		if err != nil || len(b) == 0 || !first && b[0] == magic[0] {
			return err
		}
		s.drop(1)
		s.skipped++
	}
}

func (s *scanner) drop(n int) {
	_, _ = s.r.Discard(n) // was peeked
	s.at += int64(n)
}
