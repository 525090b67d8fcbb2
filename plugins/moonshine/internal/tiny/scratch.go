package tiny

// Scratch is the working memory of one run at a time, used again by the next. The zero value is
// ready. It is not safe for concurrent use.
//
// It works as a stack: take adds a slice on top, release goes back to a mark.
type Scratch struct {
	blocks [][]float32
	at     mark
}

// mark is a height of the stack.
type mark struct{ block, used int }

const (
	// blockFloats is the smallest block: 4 MB.
	blockFloats = 1 << 20
	// keptFloats is what a Scratch holds on to between runs, 24 MB: an utterance of 12 s.
	keptFloats = 6 << 20
)

// take returns n floats with anything in them.
func (s *Scratch) take(n int) []float32 {
	for s.at.block < len(s.blocks) && s.at.used+n > len(s.blocks[s.at.block]) {
		s.at = mark{s.at.block + 1, 0}
	}
	if s.at.block == len(s.blocks) {
		s.blocks = append(s.blocks, make([]float32, max(n, blockFloats)))
	}
	v := s.blocks[s.at.block][s.at.used:][:n:n]
	s.at.used += (n + 15) &^ 15 // whole cache lines
	return v
}

// zeros returns n zeros.
func (s *Scratch) zeros(n int) []float32 {
	v := s.take(n)
	clear(v)
	return v
}

// release frees everything taken since mk was s.at.
func (s *Scratch) release(mk mark) { s.at = mk }

// reset frees everything, and the memory itself where a long utterance needed much.
func (s *Scratch) reset() {
	s.at = mark{}
	kept := 0
	for i, b := range s.blocks {
		if kept += len(b); kept > keptFloats {
			clear(s.blocks[i:])
			s.blocks = s.blocks[:i]
			return
		}
	}
}
