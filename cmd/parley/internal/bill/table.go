package bill

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// table is a CSV file with a header.
type table struct {
	r      *csv.Reader
	header []string
}

// openTable reads the header. A delimiter of 0 is found out: comma, semicolon, tab or bar, whichever the
// first line has most of.
func openTable(r io.Reader, delimiter rune) (*table, error) {
	text, err := decoded(r)
	if err != nil {
		return nil, err
	}
	if delimiter == 0 {
		delimiter = delimiterOf(text)
	}
	t := &table{r: csv.NewReader(text)}
	t.r.Comma = delimiter
	t.r.FieldsPerRecord = -1
	t.r.TrimLeadingSpace = delimiter != '\t'
	if t.header, err = t.r.Read(); errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	}
	return t, err
}

// decoded is r in UTF-8 without a byte order mark.
func decoded(r io.Reader) (*bufio.Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	mark, _ := b.Peek(3)
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(mark, []byte{0xEF, 0xBB, 0xBF}):
		_, _ = b.Discard(3) // was peeked
		return b, nil
	case bytes.HasPrefix(mark, []byte{0xFF, 0xFE}):
		order = binary.LittleEndian
	case bytes.HasPrefix(mark, []byte{0xFE, 0xFF}):
		order = binary.BigEndian
	default:
		return b, nil
	}
	_, _ = b.Discard(2)
	return bufio.NewReader(&wide{r: b, order: order}), nil
}

// wide reads UTF-16.
type wide struct {
	r     io.Reader
	order binary.ByteOrder
	high  rune   // the first half of a pair
	out   []byte // not yet read
	err   error
}

func (w *wide) Read(p []byte) (int, error) {
	for len(w.out) == 0 && w.err == nil {
		w.fill()
	}
	n := copy(p, w.out)
	w.out = w.out[n:]
	if n == 0 {
		return 0, w.err
	}
	return n, nil
}

func (w *wide) fill() {
	var in [4096]byte
	n, err := io.ReadFull(w.r, in[:])
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	w.err = err
	w.out = w.out[:0]
	for i := 0; i+1 < n; i += 2 {
		c := rune(w.order.Uint16(in[i:]))
		switch {
		case w.high != 0:
			w.out = utf8.AppendRune(w.out, utf16.DecodeRune(w.high, c))
			w.high = 0
		case utf16.IsSurrogate(c):
			w.high = c
		default:
			w.out = utf8.AppendRune(w.out, c)
		}
	}
}

// delimiterOf looks at the first line, without what is in quotes.
func delimiterOf(r *bufio.Reader) rune {
	head, _ := r.Peek(16 << 10)
	best, most, quoted := ',', 0, false
	var n [128]int
	for _, c := range bytes.TrimLeft(head, "\r\n") {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted || c >= 128:
		case c == '\n' || c == '\r':
			return best
		default:
			n[c]++
			if strings.IndexByte(",;\t|", c) >= 0 && n[c] > most {
				best, most = rune(c), n[c]
			}
		}
	}
	return best
}

// column finds a column by its name: written exactly so, or else but for case, spaces, dashes and
// underscores.
func (t *table) column(name string) (int, error) {
	for _, same := range []func(string) string{strings.TrimSpace, folded} {
		found := -1
		for i, h := range t.header {
			if same(h) != same(name) {
				continue
			}
			if found >= 0 {
				return 0, fmt.Errorf("there are several columns %q", name)
			}
			found = i
		}
		if found >= 0 {
			return found, nil
		}
	}
	return 0, fmt.Errorf("there is no column %q, only %s", name, quotedList(t.header))
}

func folded(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -_\u00a0", r) {
			return -1
		}
		return r
	}, strings.ToLower(s))
}

func quotedList(all []string) string {
	var out []string
	for i, s := range all {
		if i == 30 {
			out = append(out, "...")
			break
		}
		out = append(out, fmt.Sprintf("%.40q", s))
	}
	return strings.Join(out, ", ")
}

// next is the next row that has anything in it, and its line; io.EOF at the end.
func (t *table) next() ([]string, int, error) {
	for {
		row, err := t.r.Read()
		if err != nil {
			return nil, 0, err
		}
		line, _ := t.r.FieldPos(0)
		for _, f := range row {
			if strings.TrimSpace(f) != "" {
				return row, line, nil
			}
		}
	}
}
