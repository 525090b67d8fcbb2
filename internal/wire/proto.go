package wire

import (
	"errors"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Proto builds a protocol buffer message field by field. Zero values are left out, as in proto3.
type Proto []byte

// String adds a string.
func (p *Proto) String(n protowire.Number, s string) { p.Bytes(n, []byte(s)) }

// Bytes adds bytes.
func (p *Proto) Bytes(n protowire.Number, b []byte) {
	if len(b) > 0 {
		*p = protowire.AppendBytes(protowire.AppendTag(*p, n, protowire.BytesType), b)
	}
}

// Message adds a message, which may be empty.
func (p *Proto) Message(n protowire.Number, m Proto) {
	*p = protowire.AppendBytes(protowire.AppendTag(*p, n, protowire.BytesType), m)
}

// Int adds an integer or an enumeration.
func (p *Proto) Int(n protowire.Number, v int64) {
	if v != 0 {
		*p = protowire.AppendVarint(protowire.AppendTag(*p, n, protowire.VarintType), uint64(v))
	}
}

// Bool adds a truth value.
func (p *Proto) Bool(n protowire.Number, v bool) {
	if v {
		p.Int(n, 1)
	}
}

// Float adds a number of single precision.
func (p *Proto) Float(n protowire.Number, v float32) {
	if v != 0 {
		*p = protowire.AppendFixed32(protowire.AppendTag(*p, n, protowire.Fixed32Type), math.Float32bits(v))
	}
}

// Field is one field of a message: Data of strings, bytes and messages, Num of numbers.
type Field struct {
	Number protowire.Number
	Num    uint64
	Data   []byte
}

// Float is a number of single precision.
func (f Field) Float() float32 { return math.Float32frombits(uint32(f.Num)) }

var errProto = errors.New("message is malformed")

// Fields calls take with each field of a message. The error is that of a malformed message, or take's.
func Fields(b []byte, take func(f Field) error) error {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errProto
		}
		b = b[n:]
		f := Field{Number: num}
		switch kind {
		case protowire.VarintType:
			f.Num, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			f.Num = uint64(v)
		case protowire.Fixed64Type:
			f.Num, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			f.Data, n = protowire.ConsumeBytes(b)
		default: // groups, which nobody uses
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return errProto
		}
		b = b[n:]
		if err := take(f); err != nil {
			return err
		}
	}
	return nil
}
