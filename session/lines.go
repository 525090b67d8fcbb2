package session

import (
	"iter"

	"github.com/parley-go/parley/audio"
)

// lines is a text that is still being written, in segments. Each segment is synthesised and played on
// its own; none of them is empty unless begin made it. It has one writer.
type lines struct {
	segments *pipe[*line]
	open     *line // the segment that is being written; nil between segments
}

// line is one segment.
type line struct {
	*pipe[string]
	audio iter.Seq2[audio.Frame, error] // is played instead of what a TTS makes of the text; nil for none
	item  string                        // id of the message of a realtime model that it is; "" for none
}

func newLines() *lines { return &lines{segments: newPipe[*line]()} }

func (l *lines) write(text string) {
	if text == "" {
		return
	}
	if l.open == nil {
		l.begin(&line{})
	}
	l.open.put(text)
}

// begin opens a segment, which x says more about, and ends the one before.
func (l *lines) begin(x *line) {
	l.flush()
	x.pipe = newPipe[string]()
	l.open = x
	l.segments.put(x)
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
