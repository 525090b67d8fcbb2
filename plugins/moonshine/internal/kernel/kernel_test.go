package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func random(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = rng.Float32()*2 - 1
	}
	return v
}

// exact is the dot product in float64 with the sum of the magnitudes, against which errors count.
func exact(a, b []float32) (sum, scale float64) {
	for i := range a {
		p := float64(a[i]) * float64(b[i])
		sum += p
		scale += math.Abs(p)
	}
	return sum, scale
}

func near(got float32, want, scale float64) bool {
	return math.Abs(float64(got)-want) <= 1e-5*math.Max(scale, 1e-6)
}

func kernels() map[string]Kernel {
	ks := map[string]Kernel{"portable": Portable(), "portable two workers": {workers: 2}, "portable many workers": {workers: 1000}}
	if Best(1).Accelerated() {
		ks["avx2"] = Best(1)
		ks["avx2 two workers"] = Best(2)
	}
	return ks
}

func TestDotEqualsFloat64(t *testing.T) {
	for name, k := range kernels() {
		rng := rand.New(rand.NewPCG(1, 2))
		for n := 0; n <= 320; n += Lanes {
			a, b := random(rng, n), random(rng, n)
			want, scale := exact(a, b)
			if got := k.Dot(a, b); !near(got, want, scale) {
				t.Errorf("%s: %d values give %v, want %v", name, n, got, want)
			}
		}
	}
}

func TestMulEqualsFloat64(t *testing.T) {
	for _, c := range []struct{ frames, rows, n, stride int }{
		{1, 1, 8, 8}, {1, 36, 144, 144}, {3, 5, 40, 40}, {4, 2, 8, 8}, {7, 7, 40, 48},
		{37, 20, 288, 288},
		{21, 10, 128, 64},    // overlapping rows, as in a convolution
		{70, 288, 128, 64},   // large enough for two workers
		{100, 96, 288, 1152}, // a stride that makes small tiles
	} {
		rng := rand.New(rand.NewPCG(3, uint64(c.frames)))
		x := random(rng, (c.frames-1)*c.stride+c.n)
		w := random(rng, c.rows*c.n)
		for name, k := range kernels() {
			out := make([]float32, c.frames*(c.rows+3))
			k.Mul(Rows{out, c.frames, c.rows + 3}, Rows{x, c.frames, c.stride}, Rows{w, c.rows, c.n}, c.n)
			for f := range c.frames {
				for r := range c.rows {
					want, scale := exact(x[f*c.stride:][:c.n], w[r*c.n:][:c.n])
					if got := out[f*(c.rows+3)+r]; !near(got, want, scale) {
						t.Fatalf("%s %+v: frame %d row %d is %v, want %v", name, c, f, r, got, want)
					}
				}
				for _, v := range out[f*(c.rows+3)+c.rows:][:3] {
					if v != 0 {
						t.Fatalf("%s %+v: wrote beyond the rows of frame %d", name, c, f)
					}
				}
			}
		}
	}
}

func TestMulBytesEqualsFloat64AndTakesBytesAsUnsigned(t *testing.T) {
	for _, c := range []struct{ rows, n int }{{1, 8}, {3, 40}, {5, 288}, {2, 1152}, {7500, 288}} {
		rng := rand.New(rand.NewPCG(5, uint64(c.n)))
		x := random(rng, c.n)
		q := make([]byte, c.rows*c.n)
		for i := range q {
			q[i] = byte(rng.Uint32())
		}
		q[0], q[len(q)-1] = 255, 255
		for name, k := range kernels() {
			out := make([]float32, c.rows)
			k.MulBytes(out, q, x)
			for r := range c.rows {
				row := make([]float32, c.n)
				for i := range row {
					row[i] = float32(q[r*c.n+i])
				}
				want, scale := exact(row, x)
				if !near(out[r], want, scale) {
					t.Fatalf("%s %+v: row %d is %v, want %v", name, c, r, out[r], want)
				}
			}
		}
	}
}

func TestMulOfNothingWritesNothing(t *testing.T) {
	for name, k := range kernels() {
		out := []float32{7}
		k.Mul(Rows{out, 0, 1}, Rows{nil, 0, 8}, Rows{make([]float32, 8), 1, 8}, 8)
		k.MulBytes(nil, nil, make([]float32, 8))
		if out[0] != 7 {
			t.Errorf("%s: wrote %v", name, out[0])
		}
	}
}

func BenchmarkMul(b *testing.B) {
	for _, c := range []struct{ frames, rows, n, stride int }{{142, 288, 288, 288}, {142, 1152, 288, 288}, {142, 288, 1152, 1152}, {285, 576, 2016, 864}} {
		rng := rand.New(rand.NewPCG(3, 4))
		x, w := random(rng, c.frames*c.stride+c.n), random(rng, c.rows*c.n)
		out := make([]float32, c.frames*c.rows)
		for name, k := range kernels() {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", name, c.frames, c.rows, c.n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					k.Mul(Rows{out, c.frames, c.rows}, Rows{x, c.frames, c.stride}, Rows{w, c.rows, c.n}, c.n)
				}
				b.ReportMetric(float64(c.frames*c.rows*c.n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
			})
		}
	}
}

func BenchmarkMulBytes(b *testing.B) {
	q, x, out := make([]byte, 32768*288), make([]float32, 288), make([]float32, 32768)
	for name, k := range kernels() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k.MulBytes(out, q, x)
			}
			b.ReportMetric(float64(len(q))*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
		})
	}
}
