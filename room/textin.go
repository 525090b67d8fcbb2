package room

import (
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/livekit/protocol/livekit"
)

// Limits on what others send us.
const (
	// MaxText is the longest text that is taken or sent, in bytes.
	MaxText = 64 << 10

	maxOpenTexts  = 256              // streams of all senders together
	maxOpenTexts1 = 16               // streams of one sender
	textTimeout   = 30 * time.Second // from the header to the trailer
)

// textReader puts the packets of text streams on one topic together. It is called on the SDK's
// goroutine. A stream that is too long, broken or unfinished after textTimeout is dropped with a line
// in the log, and harms no other.
type textReader struct {
	topic string
	done  func(sender, text string) // called in the order in which the streams end
	log   *slog.Logger
	now   func() time.Time

	mu   sync.Mutex
	open map[string]*openText // by stream id; at most maxOpenTexts
}

type openText struct {
	sender string
	next   uint64 // index of the next chunk
	text   []byte
	end    time.Time
}

func newTextReader(topic string, log *slog.Logger, done func(sender, text string)) *textReader {
	return &textReader{topic: topic, done: done, log: log, now: time.Now, open: make(map[string]*openText)}
}

func (r *textReader) header(h *livekit.DataStream_Header, sender string) {
	if h.Topic != r.topic || h.GetTextHeader() == nil {
		return
	}
	switch {
	case h.Compression != livekit.DataStream_NONE:
		r.drop(sender, "it is compressed")
		return
	case h.GetTotalLength() > MaxText || len(h.InlineContent) > MaxText:
		r.drop(sender, "it is too long")
		return
	case h.InlineContent != nil: // the whole stream in one packet
		r.finish(sender, h.InlineContent)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire()
	if r.open[h.StreamId] != nil {
		delete(r.open, h.StreamId)
		r.drop(sender, "another stream has the same id")
		return
	}
	mine := 0
	for _, t := range r.open {
		if t.sender == sender {
			mine++
		}
	}
	if len(r.open) >= maxOpenTexts || mine >= maxOpenTexts1 {
		r.drop(sender, "too many are open")
		return
	}
	r.open[h.StreamId] = &openText{sender: sender, end: r.now().Add(textTimeout)}
}

func (r *textReader) chunk(c *livekit.DataStream_Chunk) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.open[c.StreamId]
	if t == nil {
		return
	}
	why := ""
	switch {
	case c.ChunkIndex != t.next || c.Version != 0:
		why = "a chunk is out of order"
	case len(t.text)+len(c.Content) > MaxText:
		why = "it is too long"
	default:
		t.next++
		t.text = append(t.text, c.Content...)
		return
	}
	delete(r.open, c.StreamId)
	r.drop(t.sender, why)
}

func (r *textReader) trailer(tr *livekit.DataStream_Trailer) {
	r.mu.Lock()
	t := r.open[tr.StreamId]
	delete(r.open, tr.StreamId)
	r.mu.Unlock()
	switch {
	case t == nil:
	case tr.Reason != "":
		r.drop(t.sender, "the sender broke it off")
	case r.now().After(t.end):
		r.drop(t.sender, "it took too long")
	default:
		r.finish(t.sender, t.text)
	}
}

func (r *textReader) finish(sender string, text []byte) {
	switch {
	case len(text) == 0:
	case !utf8.Valid(text):
		r.drop(sender, "it is not UTF-8")
	default:
		r.done(sender, string(text))
	}
}

// left forgets the unfinished streams of a sender.
func (r *textReader) left(sender string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, t := range r.open {
		if t.sender == sender {
			delete(r.open, id)
		}
	}
}

func (r *textReader) expire() {
	now := r.now()
	for id, t := range r.open {
		if now.After(t.end) {
			delete(r.open, id)
			r.drop(t.sender, "it took too long")
		}
	}
}

func (r *textReader) drop(sender, why string) {
	r.log.Warn("dropped a text stream: "+why, "topic", r.topic, "sender", sender)
}
