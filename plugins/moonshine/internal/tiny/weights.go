package tiny

import (
	"fmt"
	"strings"

	"github.com/parley-go/parley/internal/onnx"
)

// matrix is a dense matrix of floats, one row for each output, ready for kernel.Mul.
type matrix struct {
	rows, n int
	data    []float32
}

// bytesMatrix is a matrix whose values are (q - zero) * scale, one row for each output. It stays in
// bytes because reading a token costs one pass over the weights: memory, not arithmetic, is scarce.
type bytesMatrix struct {
	rows, n     int
	q           []byte
	scale, zero float32
}

// reader takes checked tensors out of one file. It keeps the first error; after it every call
// returns nothing, so that a loader reads as a list of what the file must hold.
type reader struct {
	tensors *onnx.Graph
	linears map[string]string // path of a linear layer to the name of its quantised weight
	suffix  string            // end of the names of norms and biases
	err     error
}

// newReader finds the linear layers of graph, whose tensors lie in tensors.
func newReader(tensors, graph *onnx.Graph, suffix string) *reader {
	r := &reader{tensors: tensors, linears: make(map[string]string), suffix: suffix}
	for _, n := range graph.Nodes {
		if n.Op != "MatMulInteger" || len(n.Inputs) < 2 || len(n.Outputs) == 0 {
			continue
		}
		if path, _, ok := strings.Cut(n.Outputs[0], "/MatMul"); ok {
			r.linears[path] = n.Inputs[1]
		}
	}
	return r
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// tensor is the named tensor, nil and an error in r if it is not there or of another shape.
func (r *reader) tensor(name string, typ onnx.Type, dims ...int) *onnx.Tensor {
	if r.err != nil {
		return nil
	}
	t, err := r.tensors.Tensor(name)
	if err == nil {
		err = t.Check(typ, dims...)
	}
	if err != nil {
		r.fail(err)
		return nil
	}
	return t
}

// floats are the values of a float tensor.
func (r *reader) floats(name string, dims ...int) []float32 {
	t := r.tensor(name, onnx.Float32, dims...)
	if t == nil {
		return nil
	}
	v, err := t.Float32s()
	if err != nil {
		r.fail(err)
	}
	return v
}

// weight is a norm's weight or a bias, by its name without the suffix.
func (r *reader) weight(name string, n int) []float32 { return r.floats(name+r.suffix, n) }

// scalar is the value of a float scalar.
func (r *reader) scalar(name string, dims ...int) float32 {
	if v := r.floats(name, dims...); len(v) == 1 {
		return v[0]
	}
	return 0
}

// bytes are the values of a byte tensor.
func (r *reader) bytes(name string, dims ...int) []byte {
	t := r.tensor(name, onnx.Uint8, dims...)
	if t == nil {
		return nil
	}
	v, err := t.Uint8s()
	if err != nil {
		r.fail(err)
	}
	return v
}

// zeroPoint is the value of a byte scalar.
func (r *reader) zeroPoint(name string) float32 {
	if v := r.bytes(name); len(v) == 1 {
		return float32(v[0])
	}
	return 0
}

// quantised is the linear layer at path, with n inputs and the given number of outputs. The file
// has it as [input][output].
func (r *reader) quantised(path string, rows, n int) bytesMatrix {
	name, ok := r.linears[path]
	if !ok {
		r.fail(fmt.Errorf("linear layer %q: not in the graph", path))
		return bytesMatrix{}
	}
	base := strings.TrimSuffix(name, "_quantized")
	m := bytesMatrix{
		rows: rows, n: n,
		scale: r.scalar(base + "_scale"),
		zero:  r.zeroPoint(base + "_zero_point"),
	}
	q := r.bytes(name, n, rows)
	if r.err != nil {
		return bytesMatrix{}
	}
	m.q = transpose(q, n, rows)
	return m
}

// linear is the same as floats.
func (r *reader) linear(path string, rows, n int) matrix { return r.stack(n, rows, path) }

// stack is one matrix made of the layers at the given paths, each with rows outputs.
func (r *reader) stack(n, rows int, paths ...string) matrix {
	m := matrix{rows: rows * len(paths), n: n}
	for _, path := range paths {
		b := r.quantised(path, rows, n)
		if r.err != nil {
			return matrix{}
		}
		if m.data == nil {
			m.data = make([]float32, 0, m.rows*n)
		}
		for _, q := range b.q {
			m.data = append(m.data, (float32(q)-b.zero)*b.scale)
		}
	}
	return m
}

// convolution is a convolution over time as a matrix with taps x channels inputs, taps outermost.
// The file has it as signed bytes, [output][channel][tap], and adds its zero point. n may be larger
// than taps x channels; the rest is zero.
func (r *reader) convolution(name string, rows, channels, taps, n int) matrix {
	t := r.tensor(name+".weight_quantized", onnx.Int8, rows, channels, taps)
	scale := r.scalar(name+".weight_scale", 1)
	zero := r.scalar(name+".weight_zero_point", 1)
	if r.err != nil {
		return matrix{}
	}
	q, err := t.Int8s()
	if err != nil {
		r.fail(err)
		return matrix{}
	}
	m := matrix{rows: rows, n: n, data: make([]float32, rows*n)}
	for o := range rows {
		row, in := m.data[o*n:], q[o*channels*taps:]
		for c := range channels {
			for k := range taps {
				row[k*channels+c] = float32(in[c*taps+k])*scale + zero
			}
		}
	}
	return m
}

// embedding is the table of tokens; the file has it in the layout that is needed.
func (r *reader) embedding(name string, rows, n int) bytesMatrix {
	m := bytesMatrix{rows: rows, n: n, scale: r.scalar(name + "_scale"), zero: r.zeroPoint(name + "_zero_point")}
	m.q = r.bytes(name+"_quantized", rows, n)
	return m
}

// transpose turns rows x cols bytes around, in squares that fit into the cache.
func transpose(in []byte, rows, cols int) []byte {
	const side = 32
	out := make([]byte, len(in))
	for r0 := 0; r0 < rows; r0 += side {
		for c0 := 0; c0 < cols; c0 += side {
			for r := r0; r < min(r0+side, rows); r++ {
				for c := c0; c < min(c0+side, cols); c++ {
					out[c*rows+r] = in[r*cols+c]
				}
			}
		}
	}
	return out
}
