package silero

import (
	"math"
	"math/bits"
)

// frameLen is the length of one frame of the spectrum, bins its number of magnitudes.
const (
	frameLen = 256
	bins     = frameLen/2 + 1
	half     = frameLen / 2
)

// fft computes magnitudes of real frames of frameLen samples. It packs a frame into a complex
// transform of half the length. It is immutable.
type fft struct {
	window   [frameLen]float32
	reversed [half]uint8
	cos, sin [half]float32 // of 2 pi k / frameLen
}

// newFFT returns a transform with the given window.
func newFFT(window []float32) *fft {
	f := &fft{}
	copy(f.window[:], window)
	for i := range half {
		f.reversed[i] = bits.Reverse8(uint8(i)) >> 1
		s, c := math.Sincos(2 * math.Pi * float64(i) / frameLen)
		f.cos[i], f.sin[i] = float32(c), float32(s)
	}
	return f
}

// complexes is the scratch of one transform.
type complexes struct{ re, im [half]float32 }

// magnitudes writes the bins magnitudes of frame to dst.
func (f *fft) magnitudes(dst, frame []float32, z *complexes) {
	frame = frame[:frameLen]
	for i := range half {
		j := f.reversed[i] & (half - 1)
		z.re[j] = frame[2*i] * f.window[2*i]
		z.im[j] = frame[2*i+1] * f.window[2*i+1]
	}
	f.transform(z)
	f.split(dst[:bins], z)
}

// transform is the complex transform of half points in place, its input in bit-reversed order.
func (f *fft) transform(z *complexes) {
	for size := 2; size <= half; size *= 2 {
		step := frameLen / size // in the tables of frameLen
		for start := 0; start < half; start += size {
			for k := range size / 2 {
				c, s := f.cos[(k*step)&(half-1)], f.sin[(k*step)&(half-1)]
				a, b := (start+k)&(half-1), (start+k+size/2)&(half-1)
				re := z.re[b]*c + z.im[b]*s
				im := z.im[b]*c - z.re[b]*s
				z.re[b], z.im[b] = z.re[a]-re, z.im[a]-im
				z.re[a], z.im[a] = z.re[a]+re, z.im[a]+im
			}
		}
	}
}

// split takes the spectra of the even and the odd samples apart, joins them to the spectrum of
// the frame and writes its magnitudes.
func (f *fft) split(dst []float32, z *complexes) {
	for k := range bins {
		a, b := k&(half-1), (half-k)&(half-1)
		evenRe, evenIm := (z.re[a]+z.re[b])/2, (z.im[a]-z.im[b])/2
		oddRe, oddIm := (z.im[a]+z.im[b])/2, (z.re[b]-z.re[a])/2
		c, s := float32(-1), float32(0) // k = half
		if k < half {
			c, s = f.cos[k], f.sin[k]
		}
		re := evenRe + oddRe*c + oddIm*s
		im := evenIm + oddIm*c - oddRe*s
		dst[k] = sqrt(re*re + im*im)
	}
}

// isDFT reports whether every row of basis, bins cosine rows and then bins sine rows, is the
// window times that wave within float error. The sign of a sine row does not matter.
func isDFT(basis, window []float32) bool {
	const tolerance = 2e-5
	for k := range bins {
		cosine := basis[k*frameLen : (k+1)*frameLen]
		sine := basis[(bins+k)*frameLen : (bins+k+1)*frameLen]
		plus, minus := true, true
		for n, w := range window {
			s, c := math.Sincos(2 * math.Pi * float64(k*n%frameLen) / frameLen)
			if math.Abs(float64(cosine[n])-float64(w)*c) > tolerance {
				return false
			}
			plus = plus && math.Abs(float64(sine[n])-float64(w)*s) <= tolerance
			minus = minus && math.Abs(float64(sine[n])+float64(w)*s) <= tolerance
		}
		if !plus && !minus {
			return false
		}
	}
	return true
}

// basisMagnitudes writes the magnitudes of frame by the plain products with the basis. It is the
// way for a model whose basis is not a windowed DFT.
func basisMagnitudes(dst, frame, basis []float32) {
	frame = frame[:frameLen]
	for k := range bins {
		re := dot(frame, basis[k*frameLen:])
		im := dot(frame, basis[(bins+k)*frameLen:])
		dst[k] = sqrt(re*re + im*im)
	}
}

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }
