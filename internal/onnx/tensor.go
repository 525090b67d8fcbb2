package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Type is the data type of a tensor, as ONNX numbers it.
type Type int64

// The data types that have an accessor.
const (
	Float32 Type = 1
	Uint8   Type = 2
	Int8    Type = 3
	Int64   Type = 7
)

func (t Type) String() string {
	switch t {
	case Float32:
		return "float32"
	case Uint8:
		return "uint8"
	case Int8:
		return "int8"
	case Int64:
		return "int64"
	}
	return fmt.Sprintf("type %d", int64(t))
}

// size is the number of bytes of one element in the raw form, 0 if it is not known.
func (t Type) size() int {
	switch t {
	case Float32:
		return 4
	case Uint8, Int8:
		return 1
	case Int64:
		return 8
	}
	return 0
}

// maxDims is the highest rank of a tensor that is accepted.
const maxDims = 8

// Tensor is a constant of a graph. A scalar has no dims and one value.
type Tensor struct {
	Name string
	Dims []int
	Type Type
	raw  string   // field 9: little endian
	flat []string // field 4: runs of packed or single floats, little endian as well
	ints []string // field 5 or 7: runs of varints, one for each element
}

// Len is the number of elements that the dims ask for.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Dims {
		n *= d
	}
	return n
}

// Check is an error unless the tensor has the given type and dims. The error names the tensor
// and both shapes.
func (t *Tensor) Check(typ Type, dims ...int) error {
	if t.Type != typ || !slices.Equal(t.Dims, dims) {
		return fmt.Errorf("tensor %q: want %v %v, found %v %v", t.Name, typ, dims, t.Type, t.Dims)
	}
	return nil
}

// Raw returns the little-endian bytes of a tensor that was stored in that form, without a copy.
// ok is false for tensors stored otherwise or with another length than the dims ask for; the
// typed accessors read every form.
func (t *Tensor) Raw() (raw string, ok bool) {
	return t.raw, t.Type.size() > 0 && len(t.raw) == t.Len()*t.Type.size()
}

// Float32s returns the values of a float32 tensor. The caller owns them.
func (t *Tensor) Float32s() ([]float32, error) {
	if err := t.isType(Float32); err != nil {
		return nil, err
	}
	runs := t.flat
	if len(runs) == 0 {
		runs = []string{t.raw}
	}
	n := 0
	for _, r := range runs {
		n += len(r)
	}
	if err := t.holds(n, 4*t.Len(), "bytes"); err != nil {
		return nil, err
	}
	out := make([]float32, 0, t.Len())
	for _, r := range runs {
		for ; len(r) >= 4; r = r[4:] {
			bits := uint32(r[0]) | uint32(r[1])<<8 | uint32(r[2])<<16 | uint32(r[3])<<24
			out = append(out, math.Float32frombits(bits))
		}
	}
	return out, nil
}

// Uint8s returns the values of a uint8 tensor. The caller owns them.
func (t *Tensor) Uint8s() ([]uint8, error) { return small[uint8](t, Uint8, 0, math.MaxUint8) }

// Int8s returns the values of an int8 tensor. The caller owns them.
func (t *Tensor) Int8s() ([]int8, error) {
	return small[int8](t, Int8, math.MinInt8, math.MaxInt8)
}

// Int64s returns the values of an int64 tensor. The caller owns them.
func (t *Tensor) Int64s() ([]int64, error) {
	if err := t.isType(Int64); err != nil {
		return nil, err
	}
	if len(t.ints) > 0 {
		return t.varints(math.MinInt64, math.MaxInt64)
	}
	if err := t.holds(len(t.raw), 8*t.Len(), "bytes"); err != nil {
		return nil, err
	}
	out := make([]int64, t.Len())
	for i := range out {
		out[i] = int64(binary.LittleEndian.Uint64([]byte(t.raw[8*i : 8*i+8])))
	}
	return out, nil
}

// small reads a tensor of one-byte integers in either form.
func small[T uint8 | int8](t *Tensor, typ Type, lo, hi int64) ([]T, error) {
	if err := t.isType(typ); err != nil {
		return nil, err
	}
	if len(t.ints) > 0 {
		vs, err := t.varints(lo, hi)
		out := make([]T, len(vs))
		for i, v := range vs {
			out[i] = T(v)
		}
		return out, err
	}
	if err := t.holds(len(t.raw), t.Len(), "bytes"); err != nil {
		return nil, err
	}
	out := make([]T, t.Len())
	for i := range out {
		out[i] = T(t.raw[i])
	}
	return out, nil
}

// varints reads the elements of a tensor that stores one varint for each.
func (t *Tensor) varints(lo, hi int64) ([]int64, error) {
	var out []int64
	for _, run := range t.ints {
		for len(run) > 0 {
			v, rest, err := varint(run)
			if err != nil {
				return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
			}
			if x := int64(v); x < lo || x > hi {
				return nil, fmt.Errorf("tensor %q: value %d does not fit into %v", t.Name, x, t.Type)
			}
			out, run = append(out, int64(v)), rest
		}
	}
	return out, t.holds(len(out), t.Len(), "values")
}

func (t *Tensor) isType(want Type) error {
	if t.Type != want {
		return fmt.Errorf("tensor %q: want %v, found %v", t.Name, want, t.Type)
	}
	return nil
}

func (t *Tensor) holds(got, want int, unit string) error {
	if got != want {
		return fmt.Errorf("tensor %q: dims %v need %d %s, found %d", t.Name, t.Dims, want, unit, got)
	}
	return nil
}

func parseTensor(f field) (*Tensor, error) {
	if err := f.expect(wireBytes); err != nil {
		return nil, err
	}
	t := &Tensor{}
	var dims []int64
	err := eachField(f.body, func(f field) (err error) {
		switch f.id {
		case 1:
			dims, err = f.integers(dims)
		case 2:
			return f.integer((*int64)(&t.Type))
		case 4:
			return t.addFloats(f)
		case 5, 7:
			return t.addInts(f)
		case 8:
			return f.text(&t.Name)
		case 9:
			return f.text(&t.raw)
		}
		return err
	})
	if err == nil {
		t.Dims, err = checkedDims(dims)
	}
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return t, nil
}

// addFloats takes a run of floats, packed or single.
func (t *Tensor) addFloats(f field) error {
	if f.wire != wire32 {
		if err := f.expect(wireBytes); err != nil {
			return err
		}
	}
	if len(f.body)%4 != 0 {
		return fmt.Errorf("%d bytes of packed floats are no multiple of 4", len(f.body))
	}
	t.flat = append(t.flat, f.body)
	return nil
}

// addInts takes a run of packed integers. Single ones are not stored as a slice of the file, so
// they are written again in the packed form; they occur in tests and in scalars only.
func (t *Tensor) addInts(f field) error {
	if f.wire == wireVarint {
		t.ints = append(t.ints, string(binary.AppendUvarint(nil, f.num)))
		return nil
	}
	if err := f.expect(wireBytes); err != nil {
		return err
	}
	t.ints = append(t.ints, f.body)
	return nil
}

// checkedDims converts dims and makes sure that Len cannot overflow.
func checkedDims(in []int64) ([]int, error) {
	if len(in) > maxDims {
		return nil, fmt.Errorf("%d dims, want at most %d", len(in), maxDims)
	}
	out, n := make([]int, len(in)), int64(1)
	for i, d := range in {
		if d < 0 || (d > 0 && n > math.MaxInt32/d) {
			return nil, fmt.Errorf("dims %v are out of range", in)
		}
		out[i], n = int(d), n*d
	}
	return out, nil
}
