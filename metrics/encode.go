package metrics

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// encoder writes JSON.
type encoder struct {
	buf      []byte
	skipZero bool // leave out numbers that are zero
}

// appendObject writes the object of f, beginning with its type if it has one.
func appendObject(b []byte, typ string, skipZero bool, fields func(visitor)) []byte {
	e := encoder{buf: append(b, '{'), skipZero: skipZero}
	if typ != "" {
		e.name("type")
		e.buf = appendString(e.buf, typ)
	}
	fields(&e)
	return append(e.buf, '}')
}

func (e *encoder) name(s string) {
	if e.buf[len(e.buf)-1] != '{' {
		e.buf = append(e.buf, ',')
	}
	e.buf = append(e.buf, '"')
	e.buf = append(e.buf, s...)
	e.buf = append(e.buf, '"', ':')
}

func (e *encoder) text(name string, p *string, keep bool) {
	if keep || *p != "" {
		e.name(name)
		e.buf = appendString(e.buf, *p)
	}
}

func (e *encoder) word(name string, p *string, def string) {
	s := *p
	if s == "" {
		s = def
	}
	e.text(name, &s, true)
}

func (e *encoder) count(name string, p *int64) {
	if *p == 0 && e.skipZero {
		return
	}
	e.name(name)
	e.buf = strconv.AppendInt(e.buf, *p, 10)
}

func (e *encoder) ratio(name string, p *float64) {
	f := *p
	if math.IsNaN(f) || math.IsInf(f, 0) {
		f = 0
	}
	e.name(name)
	e.buf = strconv.AppendFloat(e.buf, f, floatFormat(f), -1, 64)
}

func floatFormat(f float64) byte {
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e15) {
		return 'e'
	}
	return 'f'
}

func (e *encoder) flag(name string, p *bool) {
	e.name(name)
	e.buf = strconv.AppendBool(e.buf, *p)
}

func (e *encoder) span(name string, p *time.Duration) {
	if *p == 0 && e.skipZero {
		return
	}
	e.name(name)
	e.buf = appendDuration(e.buf, *p)
}

func (e *encoder) first(name string, p *time.Duration) {
	d := *p
	if d < 0 {
		d = -time.Second
	}
	e.span(name, &d)
}

func (e *encoder) instant(name string, p *time.Time, keep bool) {
	if keep || !p.IsZero() {
		e.name(name)
		e.buf = appendTime(e.buf, *p)
	}
}

func (e *encoder) raw(name string, p *Raw) {
	if *p != "" && json.Valid([]byte(*p)) { // one that nobody made with RawOf must not cost the event
		e.name(name)
		e.buf = append(e.buf, *p...)
	}
}

func (e *encoder) group(name string, present bool, visit func(visitor)) {
	if !present {
		return
	}
	e.name(name)
	e.buf = append(e.buf, '{')
	visit(e)
	e.buf = append(e.buf, '}')
}

func (e *encoder) when(_ string, present bool, visit func()) {
	if present {
		visit()
	}
}

// appendString writes a JSON string. Nearly all are plain ids.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string cannot fail
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
