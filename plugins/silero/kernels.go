package silero

import "math"

// dot is the inner product of a and the first len(a) values of b. Four sums run side by side,
// because one sum would wait for each addition.
func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	for len(a) >= 4 && len(b) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	for i := range min(len(a), len(b)) {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

// conv is a 1-D convolution over time with kernel 3, zero padding of one step on both sides, and
// ReLU. Its weights are laid out as [tap][out][in], its activations as [time][channel], so that
// every product runs over contiguous memory.
type conv struct {
	in, out, stride int
	weight          []float32
	bias            []float32
}

// apply writes the output steps to dst and returns how many there are.
func (c *conv) apply(dst, src []float32, steps int) int {
	n := (steps-1)/c.stride + 1
	for t := range n {
		row := dst[t*c.out : (t+1)*c.out]
		copy(row, c.bias)
		for tap := range 3 {
			from := t*c.stride + tap - 1
			if from < 0 || from >= steps {
				continue // the padding is zero
			}
			x := src[from*c.in : (from+1)*c.in]
			addProduct(row, c.weight[tap*c.out*c.in:(tap+1)*c.out*c.in], x)
		}
		for i, v := range row {
			row[i] = max(v, 0)
		}
	}
	return n
}

// addProduct adds the product of the matrix w, rows of len(x), and the vector x to dst.
func addProduct(dst, w, x []float32) {
	for i := range dst {
		dst[i] += dot(x, w[i*len(x):])
	}
}

func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

func tanh(x float32) float32 { return float32(1 - 2/(1+math.Exp(2*float64(x)))) }
