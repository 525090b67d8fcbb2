package audio

// ring is a queue of samples with a fixed capacity.
type ring struct {
	buf  []int16
	head int // place of the oldest sample
	n    int // samples in the queue
}

func newRing(capacity int) ring { return ring{buf: make([]int16, capacity)} }

// push appends the samples; the caller has seen that there is room.
func (r *ring) push(pcm []int16) {
	tail := (r.head + r.n) % len(r.buf)
	k := copy(r.buf[tail:], pcm)
	copy(r.buf, pcm[k:])
	r.n += len(pcm)
}

// take moves the oldest samples into dst and returns how many there were.
func (r *ring) take(dst []int16) int {
	k := min(r.n, len(dst))
	c := copy(dst[:k], r.buf[r.head:])
	copy(dst[c:k], r.buf)
	r.head = (r.head + k) % len(r.buf)
	r.n -= k
	return k
}

func (r *ring) clear() { r.head, r.n = 0, 0 }
