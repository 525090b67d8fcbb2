package session

// lines is a text that is still being written, in segments. Each segment is synthesised and played on
// its own; none of them is empty unless begin made it. It has one writer.
type lines struct {
	segments *pipe[*pipe[string]]
	open     *pipe[string] // the segment that is being written; nil between segments
}

func newLines() *lines { return &lines{segments: newPipe[*pipe[string]]()} }

func (l *lines) write(text string) {
	if text == "" {
		return
	}
	l.begin()
	l.open.put(text)
}

// begin opens a segment if none is open.
func (l *lines) begin() {
	if l.open == nil {
		l.open = newPipe[string]()
		l.segments.put(l.open)
	}
}

// flush ends the segment: what follows is another one.
func (l *lines) flush() {
	if l.open != nil {
		l.open.close()
		l.open = nil
	}
}

func (l *lines) close() {
	l.flush()
	l.segments.close()
}
