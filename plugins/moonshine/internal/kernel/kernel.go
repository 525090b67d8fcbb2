// Package kernel has the inner loops of the network: products of matrices of floats and of bytes.
//
// On amd64 with AVX2 and FMA they run in assembly, elsewhere and with the build tag purego in Go.
// Both give the same results within rounding.
package kernel

import "sync"

// Lanes is what the length of every row must be a multiple of.
const Lanes = 8

// Kernel says how products are computed. The zero value is the portable code on one goroutine.
// It is a plain value; any number of goroutines may use it.
type Kernel struct {
	avx2    bool
	workers int
}

// Best is the fastest kernel of this machine, on up to workers goroutines for large products.
func Best(workers int) Kernel { return Kernel{avx2: hasAVX2, workers: workers} }

// Portable is the kernel that runs everywhere, on one goroutine.
func Portable() Kernel { return Kernel{} }

// Accelerated reports whether k uses instructions beyond the portable ones.
func (k Kernel) Accelerated() bool { return k.avx2 }

// Rows is a matrix of N rows; row i starts at Data[i*Stride]. Rows may overlap, which makes a
// convolution over time a plain product.
type Rows struct {
	Data      []float32
	N, Stride int
}

// from is the matrix without its first i rows and with n of the others.
func (m Rows) from(i, n int) Rows {
	return Rows{Data: m.Data[i*m.Stride:], N: n, Stride: m.Stride}
}

// last is the slice of n values of the last row. It fails when Data is too short, so that the
// assembly never sees a pointer beyond its slice.
func (m Rows) last(n int) []float32 {
	at := (m.N - 1) * m.Stride
	return m.Data[at : at+n]
}

const (
	// parallelWork is the number of products from which a second goroutine pays.
	parallelWork = 1 << 21
	// tileFloats is the part of x that one pass over w reads: it stays in a 32 KB first-level cache.
	tileFloats = 6144
)

// Mul computes out[t][r] = the dot product of the first n values of x[t] and w[r]. The number of
// rows of out is that of x. n is a multiple of Lanes.
func (k Kernel) Mul(out, x, w Rows, n int) {
	if x.N <= 0 || w.N <= 0 {
		return
	}
	_, _, _ = x.last(n), w.last(n), out.from(0, x.N).last(w.N)
	if k.workers < 2 || x.N < 8 || x.N*w.N*n < parallelWork {
		k.mul(out, x, w, n)
		return
	}
	part := max((x.N/k.workers+3)&^3, 4)
	inParallel(x.N, part, func(from, to int) {
		k.mul(out.from(from, to-from), x.from(from, to-from), w, n)
	})
}

// mul goes over w once for every tile of x, two rows of w and four of x at a time.
func (k Kernel) mul(out, x, w Rows, n int) {
	tile := min(max(tileFloats/max(x.Stride, 1), 4)&^3, 32)
	for from := 0; from < x.N; from += tile {
		to := min(from+tile, x.N)
		r := 0
		for ; r+2 <= w.N; r += 2 {
			t := from
			for ; t+4 <= to; t += 4 {
				k.block(out.Data[t*out.Stride+r:], out.Stride, x.Data[t*x.Stride:], x.Stride, w.Data[r*w.Stride:], w.Stride, n)
			}
			for ; t < to; t++ {
				row := x.Data[t*x.Stride:][:n]
				out.Data[t*out.Stride+r] = k.Dot(row, w.Data[r*w.Stride:][:n])
				out.Data[t*out.Stride+r+1] = k.Dot(row, w.Data[(r+1)*w.Stride:][:n])
			}
		}
		if r < w.N {
			for t := from; t < to; t++ {
				out.Data[t*out.Stride+r] = k.Dot(x.Data[t*x.Stride:][:n], w.Data[r*w.Stride:][:n])
			}
		}
	}
}

// block computes two values in each of four rows of out.
func (k Kernel) block(out []float32, outStride int, x []float32, xStride int, w []float32, wStride, n int) {
	var b [8]float32
	if k.avx2 {
		blockAVX2(&w[0], &x[0], wStride, xStride, n, &b)
	} else {
		blockGo(w, x, wStride, xStride, n, &b)
	}
	for t := range 4 {
		out[t*outStride] = b[t]
		out[t*outStride+1] = b[4+t]
	}
}

// Dot is the dot product of a and b, which have the same length, a multiple of Lanes.
func (k Kernel) Dot(a, b []float32) float32 {
	b = b[:len(a)]
	if k.avx2 && len(a) > 0 {
		return dotAVX2(&a[0], &b[0], len(a))
	}
	return dotGo(a, b)
}

// MulBytes computes out[r] = the dot product of x and row r of q. Rows of q are as long as x,
// a multiple of Lanes, and follow each other without gaps.
func (k Kernel) MulBytes(out []float32, q []byte, x []float32) {
	n := len(x)
	q = q[:len(out)*n]
	if k.workers < 2 || len(q) < parallelWork {
		k.mulBytes(out, q, x)
		return
	}
	part := (len(out) + k.workers - 1) / k.workers
	inParallel(len(out), part, func(from, to int) {
		k.mulBytes(out[from:to], q[from*n:to*n], x)
	})
}

func (k Kernel) mulBytes(out []float32, q []byte, x []float32) {
	if k.avx2 && len(out) > 0 && len(x) > 0 {
		mulBytesAVX2(&q[0], &x[0], len(x), &out[0], len(out))
		return
	}
	mulBytesGo(out, q, x)
}

// inParallel calls f for every part of [0, n), the first part on this goroutine, and returns when
// all are done.
func inParallel(n, part int, f func(from, to int)) {
	var wg sync.WaitGroup
	for from := part; from < n; from += part {
		wg.Go(func() { f(from, min(from+part, n)) })
	}
	f(0, min(part, n))
	wg.Wait()
}
