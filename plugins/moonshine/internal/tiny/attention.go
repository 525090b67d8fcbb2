package tiny

import (
	"math"

	"github.com/parley-go/parley/plugins/moonshine/internal/kernel"
)

// cache holds keys and values, ready for the products of attention. Keys are rows of headStride
// floats, [head][position]; values are turned around, [head][headWidth][stride], so that a row is
// one channel over all positions. Unused places are zero.
type cache struct {
	size, stride int // positions, and positions up to a multiple of kernel.Lanes
	keys, values []float32
}

func (s *Scratch) newCache(size int) cache {
	stride := padded(size)
	return cache{
		size: size, stride: stride,
		keys:   s.zeros(heads * size * headStride),
		values: s.zeros(heads * headWidth * stride),
	}
}

// padded is n up to a multiple of kernel.Lanes.
func padded(n int) int { return (n + kernel.Lanes - 1) &^ (kernel.Lanes - 1) }

// put stores the key and the value of one position, each width floats with the heads side by side.
func (c cache) put(position int, key, value []float32) {
	for h := range heads {
		copy(c.keys[(h*c.size+position)*headStride:], key[h*headWidth:][:headWidth])
		for d, v := range value[h*headWidth:][:headWidth] {
			c.values[(h*headWidth+d)*c.stride+position] = v
		}
	}
}

// key is the key of head h at a position.
func (c cache) key(h, position int) []float32 {
	return c.keys[(h*c.size+position)*headStride:][:headWidth]
}

// value is channel d of the value of head h at a position.
func (c cache) value(h, position, d int) float32 {
	return c.values[(h*headWidth+d)*c.stride+position]
}

// queryScale is applied to queries, so that scores need none.
var queryScale = float32(1 / math.Sqrt(headWidth))

// rotate turns the first values of every head of x by the angles of a position.
func (m *Model) rotate(x []float32, position int) {
	angles := m.rotation[position*2*pairs:][:2*pairs]
	for h := range heads {
		v := x[h*headWidth:][:rotated]
		for j := 0; j < rotated; j += 2 {
			cos, sin := angles[j], angles[j+1]
			a, b := v[j], v[j+1]
			v[j], v[j+1] = a*cos-b*sin, b*cos+a*sin
		}
	}
}

// attend lets queries look at the first n positions of c. queries has a row of headStride floats,
// [head][row], already scaled; out gets rows of width floats.
func (s *Scratch) attend(k kernel.Kernel, out []float32, queries []float32, rows int, c cache, n int) {
	defer s.release(s.at)
	stride := padded(n)
	scores := s.take(rows * stride)
	for h := range heads {
		k.Mul(
			kernel.Rows{Data: scores, N: rows, Stride: stride},
			kernel.Rows{Data: queries[h*rows*headStride:], N: rows, Stride: headStride},
			kernel.Rows{Data: c.keys[h*c.size*headStride:], N: n, Stride: headStride},
			headStride)
		for r := range rows {
			row := scores[r*stride:][:stride]
			softmax(row[:n])
			clear(row[n:])
		}
		k.Mul(
			kernel.Rows{Data: out[h*headWidth:], N: rows, Stride: width},
			kernel.Rows{Data: scores, N: rows, Stride: stride},
			kernel.Rows{Data: c.values[h*headWidth*c.stride:], N: headWidth, Stride: c.stride},
			stride)
	}
}

// splitQueries copies a row of width floats, scaled, to the given row of queries.
func splitQueries(queries, row []float32, at, rows int) {
	for h := range heads {
		out := queries[(h*rows+at)*headStride:][:headStride]
		for d, v := range row[h*headWidth:][:headWidth] {
			out[d] = v * queryScale
		}
	}
}
