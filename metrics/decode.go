package metrics

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ErrUnknownType is returned for JSON whose "type" is none of this package's.
var ErrUnknownType = errors.New("unknown type")

// Decode reads the JSON form of an event. Members it does not know are ignored, missing ones stay
// zero; an unknown "type" is ErrUnknownType.
func Decode(data []byte) (Event, error) {
	obj, typ, err := decodeObject(data)
	if err != nil {
		return nil, fmt.Errorf("metrics: decode event: %w", err)
	}
	e := newEvent(typ)
	if e == nil {
		return nil, fmt.Errorf("metrics: decode event: %w %q", ErrUnknownType, typ)
	}
	if err := decodeFields(obj, e.(fielder)); err != nil {
		return nil, fmt.Errorf("metrics: decode %s: %w", typ, err)
	}
	return e, nil
}

// events has each type of event: a nil one to ask for its Type, and a way to make one.
var events = []struct {
	zero Event
	make func() Event
}{
	{(*LLM)(nil), func() Event { return new(LLM) }},
	{(*STT)(nil), func() Event { return new(STT) }},
	{(*TTS)(nil), func() Event { return new(TTS) }},
	{(*VAD)(nil), func() Event { return new(VAD) }},
	{(*EOU)(nil), func() Event { return new(EOU) }},
	{(*EOT)(nil), func() Event { return new(EOT) }},
	{(*Realtime)(nil), func() Event { return new(Realtime) }},
	{(*Interruption)(nil), func() Event { return new(Interruption) }},
	{(*Avatar)(nil), func() Event { return new(Avatar) }},
	{(*Connection)(nil), func() Event { return new(Connection) }},
}

// newEvent returns an empty event of a type, or nil.
func newEvent(typ string) Event {
	for _, e := range events {
		if e.zero.Type() == typ {
			return e.make()
		}
	}
	return nil
}

// unmarshal fills e from JSON that must have its type.
func unmarshal(e Event, data []byte) error {
	obj, typ, err := decodeObject(data)
	if err == nil && typ != e.Type() {
		err = fmt.Errorf("%w %q", ErrUnknownType, typ)
	}
	if err == nil {
		err = decodeFields(obj, e.(fielder))
	}
	if err != nil {
		return fmt.Errorf("metrics: decode %s: %w", e.Type(), err)
	}
	return nil
}

func decodeObject(data []byte) (obj map[string]json.RawMessage, typ string, err error) {
	if err := json.Unmarshal(data, &obj); err != nil {
		return nil, "", err
	}
	d := decoder{obj: obj}
	d.text("type", &typ, true)
	return obj, typ, d.err
}

func decodeFields(obj map[string]json.RawMessage, f fielder) error {
	d := decoder{obj: obj}
	f.fields(&d)
	return d.err
}

// decoder fills fields from a JSON object and keeps the first error.
type decoder struct {
	obj map[string]json.RawMessage
	err error
}

// has returns the value of name unless it is missing or null.
func (d *decoder) has(name string) (string, bool) {
	raw, ok := d.obj[name]
	s := string(raw)
	return s, ok && s != "null" && d.err == nil
}

func (d *decoder) fail(name string, err error) {
	if err != nil && d.err == nil {
		d.err = fmt.Errorf("%s: %w", name, err)
	}
}

func (d *decoder) text(name string, p *string, _ bool) {
	if s, ok := d.has(name); ok {
		d.fail(name, json.Unmarshal([]byte(s), p))
	}
}

func (d *decoder) word(name string, p *string, _ string) { d.text(name, p, true) }

func (d *decoder) count(name string, p *int64) {
	if s, ok := d.has(name); ok {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			d.fail(name, errors.New("not a 64-bit integer"))
			return
		}
		*p = n
	}
}

func (d *decoder) ratio(name string, p *float64) {
	if s, ok := d.has(name); ok {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			d.fail(name, errors.New("not a number"))
			return
		}
		*p = f
	}
}

func (d *decoder) flag(name string, p *bool) {
	if s, ok := d.has(name); ok {
		d.fail(name, json.Unmarshal([]byte(s), p))
	}
}

func (d *decoder) span(name string, p *time.Duration) {
	if s, ok := d.has(name); ok {
		v, err := parseDuration(s)
		d.fail(name, err)
		*p = v
	}
}

func (d *decoder) first(name string, p *time.Duration) {
	d.span(name, p)
	if *p < 0 {
		*p = NoOutput
	}
}

func (d *decoder) instant(name string, p *time.Time, _ bool) {
	if s, ok := d.has(name); ok {
		v, err := parseTime(s)
		d.fail(name, err)
		*p = v
	}
}

func (d *decoder) raw(name string, p *Raw) {
	if s, ok := d.has(name); ok {
		*p = RawOf([]byte(s))
	}
}

func (d *decoder) group(name string, _ bool, visit func(visitor)) {
	s, ok := d.has(name)
	if !ok {
		return
	}
	inner := decoder{}
	if err := json.Unmarshal([]byte(s), &inner.obj); err != nil {
		d.fail(name, err)
		return
	}
	visit(&inner)
	d.fail(name, inner.err)
}

func (d *decoder) when(name string, _ bool, visit func()) {
	if _, ok := d.has(name); ok {
		visit()
	}
}
