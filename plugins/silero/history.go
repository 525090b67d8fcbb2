package silero

// history holds the last audio of a stream: the padding before speech, and speech. It grows when
// needed and keeps its memory.
type history struct {
	buf   []int16
	start int // buf[start:] is what is held
}

// add appends x up to limit samples in all, and reports whether all of x found room.
func (h *history) add(x []int16, limit int) bool {
	room := max(0, limit-len(h.held()))
	fits := len(x) <= room
	if !fits {
		x = x[:room]
	}
	// Moving what is held to the front costs as much as it frees, so it waits until half is free.
	if len(h.buf)+len(x) > cap(h.buf) && h.start >= len(h.buf)/2 {
		h.buf = h.buf[:copy(h.buf, h.held())]
		h.start = 0
	}
	h.buf = append(h.buf, x...)
	return fits
}

// keepLast drops all but the last n samples.
func (h *history) keepLast(n int) { h.start = max(h.start, len(h.buf)-n) }

// held is what the history holds, borrowed until the next add.
func (h *history) held() []int16 { return h.buf[h.start:] }
