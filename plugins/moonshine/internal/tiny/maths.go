package tiny

import "math"

// exp is e^x with a relative error below 3e-7; results below the smallest normal float are 0 and
// results above 1e38 are cut there.
func exp(x float32) float32 {
	const (
		log2e = 1.4426950408889634
		ln2Hi = 0.693359375
		ln2Lo = -2.12194440e-4
		magic = 3 << 22 // adding it rounds a float to an integer
	)
	if x < -87 {
		return 0
	}
	if x > 87 {
		x = 87
	}
	n := float32(x*log2e+magic) - magic
	r := x - n*ln2Hi
	r -= n * ln2Lo
	p := float32(1.9875691500e-4)
	p = p*r + 1.3981999507e-3
	p = p*r + 8.3334519073e-3
	p = p*r + 4.1665795894e-2
	p = p*r + 1.6666665459e-1
	p = p*r + 5.0000001201e-1
	p = p*r*r + r + 1
	return p * math.Float32frombits(uint32(int32(n)+127)<<23)
}

// tanh has a relative error below 1e-6, also for very small x: quiet audio is amplified after it.
func tanh(x float32) float32 {
	a := max(x, -x)
	if a < 0.625 {
		z := x * x
		p := float32(-5.70498872745e-3)
		p = p*z + 2.06390887954e-2
		p = p*z - 5.37397155531e-2
		p = p*z + 1.33314422036e-1
		p = p*z - 3.33332819422e-1
		return p*z*x + x
	}
	y := 1 - 2/(exp(2*a)+1)
	if x < 0 {
		return -y
	}
	return y
}

// gelu is x times the normal distribution at x, with an error below 1e-6.
func gelu(x float32) float32 {
	const invSqrt2 = 0.7071067811865476
	z := max(x, -x) * invSqrt2
	// The complementary error function by Hastings' rational approximation.
	t := 1 / (1 + 0.3275911*z)
	p := float32(1.061405429)
	p = p*t - 1.453152027
	p = p*t + 1.421413741
	p = p*t - 0.284496736
	p = p*t + 0.254829592
	tail := 0.5 * x * p * t * exp(-z*z)
	if x < 0 {
		return tail
	}
	return x - tail
}

func sigmoid(x float32) float32 { return 1 / (1 + exp(-x)) }

// rotationTable has cosine and sine of position x frequency for every position.
func rotationTable(frequencies []float32) []float32 {
	table := make([]float32, 0, maxFrames*2*len(frequencies))
	for p := range maxFrames {
		for _, f := range frequencies {
			sin, cos := math.Sincos(float64(float32(p) * f))
			table = append(table, float32(cos), float32(sin))
		}
	}
	return table
}

// softmax turns the scores into weights that sum up to 1.
func softmax(v []float32) {
	top := v[0]
	for _, x := range v {
		top = max(top, x)
	}
	var sum float32
	for i, x := range v {
		x = exp(x - top)
		v[i] = x
		sum += x
	}
	inv := 1 / sum
	for i := range v {
		v[i] *= inv
	}
}

// layerNorm writes x with mean 0 and variance 1, times weight, to out.
func layerNorm(out, x, weight []float32) {
	out, weight = out[:len(x)], weight[:len(x)]
	mean, inv := moments(x)
	for i, v := range x {
		out[i] = (v - mean) * inv * weight[i]
	}
}

// moments are the mean and the inverse standard deviation of x. Sums are in float64.
func moments(x []float32) (mean, inv float32) {
	const eps = 1e-5
	var s0, s1 float64
	for i := 0; i+2 <= len(x); i += 2 {
		s0 += float64(x[i])
		s1 += float64(x[i+1])
	}
	m := (s0 + s1) / float64(len(x))
	s0, s1 = 0, 0
	for i := 0; i+2 <= len(x); i += 2 {
		a, b := float64(x[i])-m, float64(x[i+1])-m
		s0 += a * a
		s1 += b * b
	}
	return float32(m), float32(1 / math.Sqrt((s0+s1)/float64(len(x))+eps))
}

// add adds b to a.
func add(a, b []float32) {
	b = b[:len(a)]
	for i := range a {
		a[i] += b[i]
	}
}
