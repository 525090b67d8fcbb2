package tiny

import (
	"context"

	"github.com/parley-go/parley/plugins/moonshine/internal/kernel"
)

// writer is the state of the decoder within one utterance.
type writer struct {
	m      *Model
	k      kernel.Kernel
	s      *Scratch
	cross  [layers]cache // what was heard
	self   [layers]cache // what was written
	frames int
	at     int // tokens read so far

	x, normed, row []float32 // width floats each
	key, value     []float32
	queries        []float32
	wide           []float32 // 2*feed
	logits         []float32 // tokens
}

// newWriter prepares the caches for up to limit tokens after n frames.
func (m *Model) newWriter(ctx context.Context, k kernel.Kernel, s *Scratch, frames []float32, n, limit int) (*writer, error) {
	w := &writer{
		m: m, k: k, s: s, frames: n,
		x: s.take(width), normed: s.take(width), row: s.take(width),
		key: s.take(width), value: s.take(width),
		queries: s.zeros(heads * headStride),
		wide:    s.take(2 * feed),
		logits:  s.take(tokens),
	}
	for i := range w.cross {
		w.cross[i], w.self[i] = s.newCache(n), s.newCache(limit)
	}
	defer s.release(s.at)
	kv := s.take(n * 2 * width)
	for i := range w.cross {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m.dec.layers[i].crossKV.mul(k, kv, frames, n)
		for t := range n {
			w.cross[i].put(t, kv[t*2*width:][:width], kv[(t*2+1)*width:][:width])
		}
	}
	return w, nil
}

// step reads one token and returns the logits of the next, which are good until the next step.
func (w *writer) step(ctx context.Context, token int) ([]float32, error) {
	d := &w.m.dec
	d.embedding.row(w.x, token)
	for i := range d.layers {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		w.attendToWritten(&d.layers[i], w.self[i])
		w.attendToHeard(&d.layers[i], w.cross[i])
		w.feedForward(&d.layers[i])
	}
	w.at++
	layerNorm(w.normed, w.x, d.norm)
	d.embedding.mul(w.k, w.logits, w.normed)
	return w.logits, nil
}

func (w *writer) attendToWritten(l *decoderLayer, c cache) {
	layerNorm(w.normed, w.x, l.inputNorm)
	l.q.mul(w.k, w.row, w.normed)
	l.k.mul(w.k, w.key, w.normed)
	l.v.mul(w.k, w.value, w.normed)
	w.m.rotate(w.row, w.at)
	w.m.rotate(w.key, w.at)
	c.put(w.at, w.key, w.value)
	w.attend(c, w.at+1, l.dense)
}

// attendToHeard has no rotation: the frames know their order already.
func (w *writer) attendToHeard(l *decoderLayer, c cache) {
	layerNorm(w.normed, w.x, l.crossNorm)
	l.crossQ.mul(w.k, w.row, w.normed)
	w.attend(c, w.frames, l.crossDense)
}

// attend adds to x what the query in row draws from the first n positions of c.
func (w *writer) attend(c cache, n int, dense bytesMatrix) {
	splitQueries(w.queries, w.row, 0, 1)
	w.s.attend(w.k, w.normed, w.queries, 1, c, n)
	dense.mul(w.k, w.row, w.normed)
	add(w.x, w.row)
}

func (w *writer) feedForward(l *decoderLayer) {
	layerNorm(w.normed, w.x, l.feedNorm)
	l.up.mul(w.k, w.wide, w.normed)
	add(w.wide, l.upBias)
	value, gate := w.wide[:feed], w.wide[feed:]
	for i, g := range gate {
		value[i] *= g * sigmoid(g)
	}
	l.down.mul(w.k, w.row, value)
	add(w.x, w.row)
	add(w.x, l.downBias)
}

// mul applies the matrix to x: the sum of (q - zero) * x is that of q * x without zero times the
// sum of x.
func (m bytesMatrix) mul(k kernel.Kernel, out, x []float32) {
	out = out[:m.rows]
	k.MulBytes(out, m.q, x[:m.n])
	var sum float64
	for _, v := range x[:m.n] {
		sum += float64(v)
	}
	offset := float32(float64(m.zero) * sum)
	for i, v := range out {
		out[i] = (v - offset) * m.scale
	}
}

// row writes row i of the matrix to out.
func (m bytesMatrix) row(out []float32, i int) {
	for j, q := range m.q[i*m.n:][:m.n] {
		out[j] = (float32(q) - m.zero) * m.scale
	}
}
