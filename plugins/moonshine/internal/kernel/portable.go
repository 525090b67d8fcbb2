package kernel

// dotGo has four sums, so that no addition waits for the one before it.
func dotGo(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	for len(a) >= 4 && len(b) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	return s0 + s1 + (s2 + s3)
}

// blockGo computes the products of two rows of w with four of x.
func blockGo(w, x []float32, wStride, xStride, n int, out *[8]float32) {
	w0, w1 := w[:n], w[wStride:][:n]
	x0, x1, x2, x3 := x[:n], x[xStride:][:n], x[2*xStride:][:n], x[3*xStride:][:n]
	var s00, s01, s02, s03, s10, s11, s12, s13 float32
	for i := range n {
		a, b := w0[i], w1[i]
		v := x0[i]
		s00 += a * v
		s10 += b * v
		v = x1[i]
		s01 += a * v
		s11 += b * v
		v = x2[i]
		s02 += a * v
		s12 += b * v
		v = x3[i]
		s03 += a * v
		s13 += b * v
	}
	*out = [8]float32{s00, s01, s02, s03, s10, s11, s12, s13}
}

func mulBytesGo(out []float32, q []byte, x []float32) {
	n := len(x)
	for r := range out {
		row := q[r*n:][:n]
		var s0, s1, s2, s3 float32
		for i := 0; i+4 <= n; i += 4 {
			s0 += float32(row[i]) * x[i]
			s1 += float32(row[i+1]) * x[i+1]
			s2 += float32(row[i+2]) * x[i+2]
			s3 += float32(row[i+3]) * x[i+3]
		}
		out[r] = s0 + s1 + (s2 + s3)
	}
}
