package onnx

import (
	"errors"
	"fmt"
)

// The wire types of a protobuf field. Groups (3 and 4) are not used by ONNX and are an error.
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

var (
	errTruncated = errors.New("file ends inside a field")
	errVarint    = errors.New("varint is longer than 64 bits")
)

// field is one field of a message. The wire type says which of num and body holds the value.
type field struct {
	id   uint64
	wire uint64
	num  uint64 // wireVarint
	body string // the bytes of the other wire types, a slice of the file
}

// eachField calls fn for each field of the message msg, in order.
func eachField(msg string, fn func(field) error) error {
	for len(msg) > 0 {
		f, rest, err := nextField(msg)
		if err != nil {
			return err
		}
		if err := fn(f); err != nil {
			return err
		}
		msg = rest
	}
	return nil
}

func nextField(msg string) (f field, rest string, err error) {
	key, rest, err := varint(msg)
	if err != nil {
		return f, "", err
	}
	f.id, f.wire = key>>3, key&7
	size := uint64(0)
	switch f.wire {
	case wireVarint:
		f.num, rest, err = varint(rest)
		return f, rest, err
	case wire64:
		size = 8
	case wire32:
		size = 4
	case wireBytes:
		if size, rest, err = varint(rest); err != nil {
			return f, "", err
		}
	default:
		return f, "", fmt.Errorf("field %d has unknown wire type %d", f.id, f.wire)
	}
	if size > uint64(len(rest)) {
		return f, "", errTruncated
	}
	f.body = rest[:size]
	return f, rest[size:], nil
}

func varint(s string) (v uint64, rest string, err error) {
	for i := range min(len(s), 10) {
		c := s[i]
		if i == 9 && c > 1 {
			return 0, "", errVarint
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, s[i+1:], nil
		}
	}
	if len(s) >= 10 {
		return 0, "", errVarint
	}
	return 0, "", errTruncated
}

// expect is an error unless the field has the wire type that its meaning asks for.
func (f field) expect(wire uint64) error {
	if f.wire != wire {
		return fmt.Errorf("field %d has wire type %d, want %d", f.id, f.wire, wire)
	}
	return nil
}

// text stores the value of a string or bytes field in dst.
func (f field) text(dst *string) error {
	if err := f.expect(wireBytes); err != nil {
		return err
	}
	*dst = f.body
	return nil
}

// integer stores the value of an integer field in dst.
func (f field) integer(dst *int64) error {
	if err := f.expect(wireVarint); err != nil {
		return err
	}
	*dst = int64(f.num)
	return nil
}

// integers appends the values of a repeated integer field, packed or one by one.
func (f field) integers(dst []int64) ([]int64, error) {
	if f.wire == wireVarint {
		return append(dst, int64(f.num)), nil
	}
	if err := f.expect(wireBytes); err != nil {
		return dst, err
	}
	for rest := f.body; len(rest) > 0; {
		v, r, err := varint(rest)
		if err != nil {
			return dst, err
		}
		dst, rest = append(dst, int64(v)), r
	}
	return dst, nil
}
