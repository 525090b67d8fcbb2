package stt

// backlog keeps the audio that may have to be sent or sent again: mono samples, addressed by their
// position since the start of the stream. It is a ring that grows up to a limit; then the oldest
// samples are forgotten.
type backlog struct {
	ring  []int16
	base  int64 // position of the oldest sample kept
	head  int64 // position after the newest
	limit int   // samples kept at most
}

// add appends p; without room for it the oldest samples are forgotten.
func (b *backlog) add(p []int16) {
	if over := len(p) - b.limit; over > 0 {
		b.head += int64(over)
		b.base = b.head
		p = p[over:]
	}
	if kept := int(b.head-b.base) + len(p); kept > b.limit {
		b.forget(b.base + int64(kept-b.limit))
	}
	b.grow(int(b.head-b.base) + len(p))
	for len(p) > 0 {
		at := int(b.head % int64(len(b.ring)))
		n := copy(b.ring[at:], p)
		p, b.head = p[n:], b.head+int64(n)
	}
}

// forget drops everything before pos.
func (b *backlog) forget(pos int64) { b.base = min(max(pos, b.base), b.head) }

// read copies samples from pos on, which must be kept, into dst and returns how many.
func (b *backlog) read(dst []int16, pos int64) int {
	n := min(len(dst), int(b.head-pos))
	for done := 0; done < n; {
		at := int((pos + int64(done)) % int64(len(b.ring)))
		done += copy(dst[done:n], b.ring[at:])
	}
	return n
}

// grow makes room for n samples.
func (b *backlog) grow(n int) {
	if n <= len(b.ring) {
		return
	}
	size := max(len(b.ring), min(b.limit, 4096))
	for size < n {
		size = min(2*size, b.limit)
	}
	ring := make([]int16, size)
	for pos := b.base; pos < b.head; pos++ {
		ring[pos%int64(size)] = b.ring[pos%int64(len(b.ring))]
	}
	b.ring = ring
}
