package silero

// The shape of one step: a window of new samples after the last contextLen of the one before.
const (
	windowLen  = 512
	contextLen = 64
	rate       = 16000 // of the model's input, in Hz
	frames     = 4     // of the spectrum, half a frame apart
)

// state is what one stream carries from window to window, with the scratch of a step.
type state struct {
	context [contextLen]float32
	h, c    [cells]float32

	row      [contextLen + windowLen + contextLen]float32
	z        complexes
	spectrum [frames * bins]float32
	wide     [frames * cells]float32
	narrow   [frames * cells]float32
	gates    [4 * cells]float32
}

// reset makes the next window the first one.
func (s *state) reset() {
	clear(s.context[:])
	clear(s.h[:])
	clear(s.c[:])
}

// step returns the probability of speech in the window, windowLen samples in [-1, 1).
func (n *network) step(s *state, window []float32) float32 {
	n.transform(s, window[:windowLen])
	x, y, steps := s.wide[:], s.narrow[:], frames
	steps = n.encoder[0].apply(x, s.spectrum[:], steps)
	for i := 1; i < len(n.encoder); i++ {
		steps = n.encoder[i].apply(y, x, steps)
		x, y = y, x
	}
	n.cell(s, x[:cells])
	sum := n.bias
	for i, h := range s.h {
		sum += n.output[i] * max(h, 0)
	}
	return sigmoid(sum)
}

// transform fills the spectrum. The window is reflected at its end, without its last sample.
func (n *network) transform(s *state, window []float32) {
	copy(s.row[:], s.context[:])
	copy(s.row[contextLen:], window)
	const end = contextLen + windowLen
	for i := range contextLen {
		s.row[end+i] = s.row[end-2-i]
	}
	copy(s.context[:], window[windowLen-contextLen:])
	for t := range frames {
		dst, frame := s.spectrum[t*bins:(t+1)*bins], s.row[t*half:t*half+frameLen]
		if n.fft != nil {
			n.fft.magnitudes(dst, frame, &s.z)
		} else {
			basisMagnitudes(dst, frame, n.basis)
		}
	}
}

// cell is one step of the LSTM.
func (n *network) cell(s *state, x []float32) {
	copy(s.gates[:], n.gates)
	addProduct(s.gates[:], n.input, x)
	addProduct(s.gates[:], n.hidden, s.h[:])
	for i := range cells {
		in, forget := sigmoid(s.gates[i]), sigmoid(s.gates[cells+i])
		cell, out := tanh(s.gates[2*cells+i]), sigmoid(s.gates[3*cells+i])
		s.c[i] = forget*s.c[i] + in*cell
		s.h[i] = out * tanh(s.c[i])
	}
}
