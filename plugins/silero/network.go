package silero

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"

	weights "github.com/parley-go/parley/models/silero"

	"github.com/parley-go/parley/internal/onnx"
)

// network is the Silero model with its weights in the layout of the kernels. It is immutable and
// shared by all streams.
type network struct {
	fft     *fft      // nil if the basis is no windowed DFT
	basis   []float32 // nil if fft is used
	encoder [4]conv
	input   []float32 // LSTM, [4 gates x 128][128], gates in the order input, forget, cell, output
	hidden  []float32 // LSTM, the same
	gates   []float32 // LSTM, both biases together
	output  []float32
	bias    float32
}

// cells is the width of the LSTM.
const cells = 128

// embedded is the model of the program itself, read once when first asked for.
var embedded = sync.OnceValues(func() (*network, error) {
	n, err := parseNetwork(weights.Weights())
	if err != nil {
		return nil, fmt.Errorf("read embedded model: %w", err)
	}
	return n, nil
})

// loadNetwork reads the model file at path.
func loadNetwork(path string) (*network, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	n, err := parseNetwork(string(b))
	if err != nil {
		return nil, fmt.Errorf("read model %s: %w", path, err)
	}
	return n, nil
}

func parseNetwork(file string) (*network, error) {
	g, err := onnx.Parse(file)
	if err != nil {
		return nil, err
	}
	part, err := findPart(g)
	if err != nil {
		return nil, err
	}
	n := &network{}
	if err := n.fill(part); err != nil {
		return nil, err
	}
	return n, nil
}

// part is a run of tensors that make one model. A file may hold one for each sample rate, inside
// the branches of an If node.
type part []*onnx.Tensor

const basisName = "stft.forward_basis_buffer"

// findPart finds the tensors of the 16 kHz model: those from its basis on, in the order of the file.
func findPart(g *onnx.Graph) (part, error) {
	err := errors.New("no tensor with a name that ends in " + basisName)
	for g := range g.Graphs() {
		all := slices.Collect(g.Constants())
		for i, t := range all {
			if !strings.HasSuffix(t.Name, basisName) {
				continue
			}
			if err = t.Check(onnx.Float32, 2*bins, 1, frameLen); err == nil {
				return all[i:], nil
			}
		}
	}
	return nil, err
}

// floats returns the values of the first tensor whose name ends in name.
func (p part) floats(name string, dims ...int) ([]float32, error) {
	for _, t := range p {
		if !strings.HasSuffix(t.Name, name) {
			continue
		}
		if err := t.Check(onnx.Float32, dims...); err != nil {
			return nil, err
		}
		v, err := t.Float32s()
		if err != nil {
			return nil, err
		}
		for i, x := range v {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				return nil, fmt.Errorf("tensor %q: value %d is %v", t.Name, i, x)
			}
		}
		return v, nil
	}
	return nil, fmt.Errorf("no tensor with a name that ends in %s", name)
}

// fill takes the weights out of p.
func (n *network) fill(p part) error {
	basis, err := p.floats(basisName, 2*bins, 1, frameLen)
	if err != nil {
		return err
	}
	if window := basis[:frameLen]; isDFT(basis, window) {
		n.fft = newFFT(window)
	} else {
		n.basis = basis
	}
	for i, c := range [...]conv{
		{in: bins, out: 128, stride: 1},
		{in: 128, out: 64, stride: 2},
		{in: 64, out: 64, stride: 2},
		{in: 64, out: cells, stride: 1},
	} {
		if err := c.fill(p, fmt.Sprintf("encoder.%d.reparam_conv.", i)); err != nil {
			return err
		}
		n.encoder[i] = c
	}
	return n.fillDecoder(p)
}

func (n *network) fillDecoder(p part) error {
	var bias, more []float32
	for _, w := range []struct {
		dst  *[]float32
		name string
		dims []int
	}{
		{&n.input, "decoder.rnn.weight_ih", []int{4 * cells, cells}},
		{&n.hidden, "decoder.rnn.weight_hh", []int{4 * cells, cells}},
		{&n.gates, "decoder.rnn.bias_ih", []int{4 * cells}},
		{&more, "decoder.rnn.bias_hh", []int{4 * cells}},
		{&n.output, "decoder.decoder.2.weight", []int{1, cells, 1}},
		{&bias, "decoder.decoder.2.bias", []int{1}},
	} {
		v, err := p.floats(w.name, w.dims...)
		if err != nil {
			return err
		}
		*w.dst = v
	}
	for i, v := range more {
		n.gates[i] += v
	}
	n.bias = bias[0]
	return nil
}

// fill takes the weights of the convolution out of p and turns [out][in][tap] into [tap][out][in].
func (c *conv) fill(p part, prefix string) error {
	w, err := p.floats(prefix+"weight", c.out, c.in, 3)
	if err != nil {
		return err
	}
	if c.bias, err = p.floats(prefix+"bias", c.out); err != nil {
		return err
	}
	c.weight = make([]float32, len(w))
	for i, v := range w {
		pair, tap := i/3, i%3
		c.weight[tap*c.out*c.in+pair] = v
	}
	return nil
}
