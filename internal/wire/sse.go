package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxEvent bounds one event of a stream.
const maxEvent = 4 << 20

// ErrEventTooLarge is returned for an event above 4 MiB.
var ErrEventTooLarge = errors.New("event is too large")

// Events reads a stream of server-sent events (WHATWG HTML, section 9.2). It is used by one goroutine.
type Events struct {
	r    *bufio.Reader
	size int
	data []byte
}

// NewEvents reads from r, which the caller closes.
func NewEvents(r io.Reader) *Events { return &Events{r: bufio.NewReaderSize(r, 16<<10)} }

// Next returns the name, "" for none, and the data of the next event that has data. Data is valid until
// the next call. io.EOF is the end; data before it that no empty line ended counts as an event, since
// servers forget that line.
func (e *Events) Next() (name string, data []byte, err error) {
	e.data, e.size = e.data[:0], 0
	has := false
	for {
		line, err := e.line()
		if err != nil && (err != io.EOF || len(line) == 0) {
			if err == io.EOF && has {
				return name, e.data, nil
			}
			return "", nil, err
		}
		if len(line) == 0 {
			if has {
				return name, e.data, nil
			}
			name = ""
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			name = string(value)
		case "data":
			if has {
				e.data = append(e.data, '\n')
			}
			has = true
			e.data = append(e.data, value...)
		}
	}
}

// line is the next line without its end.
func (e *Events) line() ([]byte, error) {
	var whole []byte
	for {
		part, err := e.r.ReadSlice('\n')
		if e.size += len(part); e.size > maxEvent {
			return nil, ErrEventTooLarge
		}
		if err == bufio.ErrBufferFull {
			whole = append(whole, part...)
			continue
		}
		if whole != nil {
			part = append(whole, part...)
		}
		return bytes.TrimRight(part, "\r\n"), err
	}
}
