// Package pcm has what fronts share that take audio from a microphone to a provider: audio that may have to
// be sent again, and the change to another format.
package pcm

// Backlog keeps the audio that may have to be sent or sent again: mono samples, addressed by their
// position since the start of the stream. It is a ring that grows up to Limit; then the oldest
// samples are forgotten. It belongs to one goroutine, or to its user's lock.
type Backlog struct {
	Base  int64 // position of the oldest sample kept
	Head  int64 // position after the newest
	Limit int   // samples kept at most
	ring  []int16
}

// Add appends p; without room for it the oldest samples are forgotten.
func (b *Backlog) Add(p []int16) {
	if over := len(p) - b.Limit; over > 0 {
		b.Head += int64(over)
		b.Base = b.Head
		p = p[over:]
	}
	if kept := int(b.Head-b.Base) + len(p); kept > b.Limit {
		b.Forget(b.Base + int64(kept-b.Limit))
	}
	b.grow(int(b.Head-b.Base) + len(p))
	for len(p) > 0 {
		at := int(b.Head % int64(len(b.ring)))
		n := copy(b.ring[at:], p)
		p, b.Head = p[n:], b.Head+int64(n)
	}
}

// Forget drops everything before pos.
func (b *Backlog) Forget(pos int64) { b.Base = min(max(pos, b.Base), b.Head) }

// Read copies samples from pos on, which must be kept, into dst and returns how many.
func (b *Backlog) Read(dst []int16, pos int64) int {
	n := min(len(dst), int(b.Head-pos))
	for done := 0; done < n; {
		at := int((pos + int64(done)) % int64(len(b.ring)))
		done += copy(dst[done:n], b.ring[at:])
	}
	return n
}

// grow makes room for n samples.
func (b *Backlog) grow(n int) {
	if n <= len(b.ring) {
		return
	}
	size := max(len(b.ring), min(b.Limit, 4096))
	for size < n {
		size = min(2*size, b.Limit)
	}
	ring := make([]int16, size)
	for pos := b.Base; pos < b.Head; pos++ {
		ring[pos%int64(size)] = b.ring[pos%int64(len(b.ring))]
	}
	b.ring = ring
}
