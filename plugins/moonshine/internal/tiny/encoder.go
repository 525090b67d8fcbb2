package tiny

import (
	"context"

	"github.com/parley-go/parley/plugins/moonshine/internal/kernel"
)

// frameCount is the number of steps of each convolution for n samples.
func frameCount(n int) (first, second, third int) {
	first = (n-conv1Taps)/conv1Stride + 1
	second = (first-conv2Taps)/conv2Stride + 1
	third = (second-conv3Taps)/conv3Stride + 1
	return first, second, third
}

// encode listens to samples and returns the frames, each width floats. They are on top of the
// scratch. There must be MinSamples to MaxSamples of them.
func (m *Model) encode(ctx context.Context, k kernel.Kernel, s *Scratch, samples []int16) (frames []float32, n int, err error) {
	_, _, n = frameCount(len(samples))
	x := s.take(n * width)
	if err := m.enc.convolve(ctx, k, s, x, samples); err != nil {
		return nil, 0, err
	}
	for i := range m.enc.layers {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		m.attendToAll(k, s, &m.enc.layers[i], x, n)
		m.enc.layers[i].feedForward(k, s, x, n)
	}
	for t := range n {
		layerNorm(x[t*width:][:width], x[t*width:][:width], m.enc.norm)
	}
	return x, n, nil
}

// convolve turns samples into frames with three convolutions.
func (e *encoder) convolve(ctx context.Context, k kernel.Kernel, s *Scratch, out []float32, samples []int16) error {
	defer s.release(s.at)
	n1, n2, n3 := frameCount(len(samples))
	audio := s.take(len(samples) + conv1Row - conv1Taps)
	for i, v := range samples {
		audio[i] = float32(v) / 32768
	}
	clear(audio[len(samples):])

	one := s.take(n1 * width)
	k.Mul(kernel.Rows{Data: one, N: n1, Stride: width}, kernel.Rows{Data: audio, N: n1, Stride: conv1Stride}, e.conv1.kernelRows(), conv1Row)
	for i, v := range one {
		one[i] = tanh(v)
	}
	e.groupNorm(one)
	if err := ctx.Err(); err != nil {
		return err
	}

	two := s.take(n2 * conv2Width)
	k.Mul(kernel.Rows{Data: two, N: n2, Stride: conv2Width}, kernel.Rows{Data: one, N: n2, Stride: conv2Stride * width}, e.conv2.kernelRows(), e.conv2.n)
	biasGELU(two, e.conv2Bias)
	if err := ctx.Err(); err != nil {
		return err
	}

	k.Mul(kernel.Rows{Data: out, N: n3, Stride: width}, kernel.Rows{Data: two, N: n3, Stride: conv3Stride * conv2Width}, e.conv3.kernelRows(), e.conv3.n)
	biasGELU(out, e.conv3Bias)
	return nil
}

// groupNorm normalises all values together, then scales each channel.
func (e *encoder) groupNorm(x []float32) {
	mean, inv := moments(x)
	for len(x) >= width {
		for c := range width {
			x[c] = (x[c]-mean)*inv*e.groupScale[c] + e.groupBias[c]
		}
		x = x[width:]
	}
}

// attendToAll adds to every frame what it draws from all frames.
func (m *Model) attendToAll(k kernel.Kernel, s *Scratch, l *encoderLayer, x []float32, n int) {
	defer s.release(s.at)
	normed := s.take(n * width)
	for t := range n {
		layerNorm(normed[t*width:][:width], x[t*width:][:width], l.inputNorm)
	}
	qkv := s.take(n * 3 * width)
	l.qkv.mul(k, qkv, normed, n)
	queries, c := s.zeros(heads*n*headStride), s.newCache(n)
	for t := range n {
		row := qkv[t*3*width:][:3*width]
		m.rotate(row[:width], t)
		m.rotate(row[width:2*width], t)
		splitQueries(queries, row[:width], t, n)
		c.put(t, row[width:2*width], row[2*width:])
	}
	s.attend(k, normed, queries, n, c, n)
	drawn := qkv[:n*width]
	l.dense.mul(k, drawn, normed, n)
	add(x, drawn)
}

// feedForward adds to every frame what it makes of itself.
func (l *encoderLayer) feedForward(k kernel.Kernel, s *Scratch, x []float32, n int) {
	defer s.release(s.at)
	normed := s.take(n * width)
	for t := range n {
		layerNorm(normed[t*width:][:width], x[t*width:][:width], l.feedNorm)
	}
	wide := s.take(n * feed)
	l.fc1.mul(k, wide, normed, n)
	biasGELU(wide, l.fc1Bias)
	l.fc2.mul(k, normed, wide, n)
	for t := range n {
		row := x[t*width:][:width]
		add(row, normed[t*width:][:width])
		add(row, l.fc2Bias)
	}
}

func (m matrix) kernelRows() kernel.Rows { return kernel.Rows{Data: m.data, N: m.rows, Stride: m.n} }

// mul applies the matrix to n rows of x.
func (m matrix) mul(k kernel.Kernel, out, x []float32, n int) {
	k.Mul(kernel.Rows{Data: out, N: n, Stride: m.rows}, kernel.Rows{Data: x, N: n, Stride: m.n}, m.kernelRows(), m.n)
}

// biasGELU applies GELU to every row of x plus bias.
func biasGELU(x, bias []float32) {
	for len(x) >= len(bias) {
		for i, b := range bias {
			x[i] = gelu(x[i] + b)
		}
		x = x[len(bias):]
	}
}
