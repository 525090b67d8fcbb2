package audio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrWAV is returned by ReadWAV for what is not a WAV file of 16-bit PCM.
var ErrWAV = errors.New("not a WAV file of 16-bit PCM")

const (
	wavFormatPCM        = 1
	wavFormatExtensible = 0xfffe // says the format in an extension
	maxWAVChunk         = 1 << 30
)

// ReadWAV reads a WAV file of 16-bit PCM to its end. The caller owns the frame. The error is ErrWAV,
// wrapped, for other formats and for files that are cut short.
func ReadWAV(r io.Reader) (Frame, error) {
	f, err := readWAV(r)
	if err != nil {
		return Frame{}, fmt.Errorf("read WAV: %w", err)
	}
	return f, nil
}

func readWAV(r io.Reader) (Frame, error) {
	var head [12]byte
	if err := readFull(r, head[:]); err != nil {
		return Frame{}, err
	}
	if string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return Frame{}, fmt.Errorf("%w: it does not begin as one", ErrWAV)
	}
	var f Frame
	for {
		var chunk [8]byte
		if err := readFull(r, chunk[:]); err != nil {
			return Frame{}, err
		}
		id, size := string(chunk[:4]), int64(binary.LittleEndian.Uint32(chunk[4:]))
		switch {
		case size > maxWAVChunk:
			return Frame{}, fmt.Errorf("%w: a part of %d bytes", ErrWAV, size)
		case id == "fmt ":
			if err := readWAVFormat(r, size, &f); err != nil {
				return Frame{}, err
			}
		case id == "data" && f.Rate == 0:
			return Frame{}, fmt.Errorf("%w: the data comes before the format", ErrWAV)
		case id == "data":
			return readWAVData(r, size, f)
		default:
			if n, err := io.CopyN(io.Discard, r, size+size%2); err != nil {
				return Frame{}, fmt.Errorf("%w: part %q ends after %d of %d bytes", cutShort(err), id, n, size)
			}
		}
	}
}

func readWAVFormat(r io.Reader, size int64, f *Frame) error {
	if size < 16 || size > 64 {
		return fmt.Errorf("%w: a format of %d bytes", ErrWAV, size)
	}
	b := make([]byte, size+size%2)
	if err := readFull(r, b); err != nil {
		return err
	}
	format, bits := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[14:])
	if format == wavFormatExtensible && size >= 26 {
		format = binary.LittleEndian.Uint16(b[24:])
	}
	if format != wavFormatPCM || bits != 16 {
		return fmt.Errorf("%w: format %d with %d bits", ErrWAV, format, bits)
	}
	f.Channels = int(binary.LittleEndian.Uint16(b[2:]))
	rate := binary.LittleEndian.Uint32(b[4:])
	f.Rate = int(min(rate, 1<<30))
	if err := f.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrWAV, err)
	}
	return nil
}

func readWAVData(r io.Reader, size int64, f Frame) (Frame, error) {
	if size%int64(2*f.Channels) != 0 {
		return Frame{}, fmt.Errorf("%w: %d bytes of data for %d channels", ErrWAV, size, f.Channels)
	}
	// Memory grows with what really comes, not with what the header says.
	var buf [32 << 10]byte
	for left := size; left > 0; {
		b := buf[:min(left, int64(len(buf)))]
		if err := readFull(r, b); err != nil {
			return Frame{}, err
		}
		left -= int64(len(b))
		for ; len(b) > 0; b = b[2:] {
			f.Data = append(f.Data, int16(binary.LittleEndian.Uint16(b)))
		}
	}
	return f, nil
}

func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if err != nil {
		return cutShort(err)
	}
	return nil
}

// cutShort names the end of a file that should go on.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut short", ErrWAV)
	}
	return err
}

// WriteWAV writes the frame as a WAV file of 16-bit PCM.
func WriteWAV(w io.Writer, f Frame) error {
	if err := f.Validate(); err != nil {
		return fmt.Errorf("write WAV: %w", err)
	}
	size := 2 * len(f.Data)
	if size > maxWAVChunk {
		return fmt.Errorf("write WAV: %d samples are too many", len(f.Data))
	}
	b := make([]byte, 0, 44+size)
	b = append(b, "RIFF"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(36+size))
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	b = binary.LittleEndian.AppendUint16(b, wavFormatPCM)
	b = binary.LittleEndian.AppendUint16(b, uint16(f.Channels))
	b = binary.LittleEndian.AppendUint32(b, uint32(f.Rate))
	b = binary.LittleEndian.AppendUint32(b, uint32(f.Rate*f.Channels*2))
	b = binary.LittleEndian.AppendUint16(b, uint16(f.Channels*2))
	b = binary.LittleEndian.AppendUint16(b, 16)
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	for _, s := range f.Data {
		b = binary.LittleEndian.AppendUint16(b, uint16(s))
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write WAV: %w", err)
	}
	return nil
}
