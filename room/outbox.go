package room

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/session"
)

const (
	// maxTranscripts is how many updates may wait for the writer. Updates that are not final are
	// lost then.
	maxTranscripts = 256
	// maxSegments is how many segments of the agent may be unfinished at a time. The oldest is
	// ended then.
	maxSegments = 16
)

// sender is what an outbox needs of a room.
type sender interface {
	// send sends packets in order, or not at all while there is no connection. It blocks.
	send(ctx context.Context, packets ...packet) error
	// setAttribute sets an attribute of ours.
	setAttribute(key, value string)
}

// voice is whom a transcript is from: an identity and the track with the speech.
type voice struct{ identity, track string }

// outbox publishes transcripts and the agent's state from one goroutine, the writer, so that what a
// session shows never makes it wait. While updates wait, a newer one of the same segment melts into
// them: nothing the agent said is lost, and a slow network sees fewer packets, not older ones.
type outbox struct {
	to   sender
	log  *slog.Logger
	wake chan struct{} // 1 token: there is work. Full means that the writer will look anyway.
	done chan struct{} // closed when the writer ended

	mu     sync.Mutex
	queue  []update
	state  agent.State // to be published, "" if it is
	last   agent.State // published
	closed bool

	// The writer's own.
	segments []*segment // unfinished segments of the agent, the oldest first
}

type update struct {
	session.Transcript
	from voice
}

type segment struct {
	id     string
	from   voice
	stream *textStream
	text   string
}

// newOutbox starts the writer. It ends after close, or when ctx ends.
func newOutbox(ctx context.Context, to sender, log *slog.Logger) *outbox {
	o := &outbox{to: to, log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go o.run(ctx)
	return o
}

// write queues a transcript. It returns at once.
func (o *outbox) write(t session.Transcript, from voice) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	if o.melt(t) || !o.makeRoom(t.Final) {
		return
	}
	o.queue = append(o.queue, update{t, from})
	o.kick()
}

// melt adds t to an update of its segment that still waits.
func (o *outbox) melt(t session.Transcript) bool {
	for i := range slices.Backward(o.queue) {
		u := &o.queue[i]
		if u.SegmentID != t.SegmentID || u.User != t.User || u.Final {
			continue
		}
		if t.User {
			u.Text = t.Text
		} else {
			u.Text += t.Text
		}
		u.Final = t.Final
		return true
	}
	return false
}

// makeRoom reports whether there is room for an update. A final one takes the place of the oldest
// that is not final.
func (o *outbox) makeRoom(final bool) bool {
	if len(o.queue) < maxTranscripts {
		return true
	}
	if !final {
		return false
	}
	oldest := max(0, slices.IndexFunc(o.queue, func(u update) bool { return !u.Final }))
	o.queue = slices.Delete(o.queue, oldest, oldest+1)
	o.log.Warn("dropped a transcript: the connection is too slow")
	return true
}

// setState has s published, unless a later state comes first. It returns at once.
func (o *outbox) setState(s agent.State) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state = s
	o.kick()
}

// repeatState publishes the last state again, as updates are lost without a connection.
func (o *outbox) repeatState() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == "" {
		o.state = o.last
	}
	o.kick()
}

func (o *outbox) kick() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// close lets the writer end after what is queued, and waits for it until ctx ends.
func (o *outbox) close(ctx context.Context) {
	o.mu.Lock()
	o.closed = true
	o.kick()
	o.mu.Unlock()
	select {
	case <-o.done:
	case <-ctx.Done():
	}
}

func (o *outbox) run(ctx context.Context) {
	defer close(o.done)
	for {
		o.mu.Lock()
		queue, state, closed := o.queue, o.state, o.closed
		o.queue, o.state = nil, ""
		if state != "" {
			o.last = state
		}
		o.mu.Unlock()
		if state != "" {
			o.to.setAttribute(attrAgentState, string(state))
		}
		for _, u := range queue {
			if err := o.to.send(ctx, o.packets(u)...); err != nil {
				o.log.Warn("could not publish a transcript", "error", err)
			}
		}
		if len(queue) > 0 || state != "" {
			continue
		}
		if closed {
			o.endAll(ctx)
			return
		}
		select {
		case <-o.wake:
		case <-ctx.Done():
			return
		}
	}
}

// packets are what an update looks like on the wire: for the user a stream of its own, for the agent
// a piece of the stream of its segment; and the older form beside it.
func (o *outbox) packets(u update) []packet {
	if u.User {
		s := newTextStream(u.from.identity)
		p := []packet{s.header(topicTranscription, transcriptAttributes(u.SegmentID, u.from, u.Final))}
		p = append(p, s.chunks(u.Text)...)
		p = append(p, s.trailer(nil))
		return append(p, transcriptionPacket(u.from.identity, u.from.track, u.SegmentID, u.Text, u.Final))
	}
	var p []packet
	i := slices.IndexFunc(o.segments, func(s *segment) bool { return s.id == u.SegmentID })
	if i < 0 {
		if len(o.segments) == maxSegments {
			p = append(p, o.end(0)...)
		}
		i = len(o.segments)
		s := &segment{id: u.SegmentID, from: u.from, stream: newTextStream(u.from.identity)}
		o.segments = append(o.segments, s)
		p = append(p, s.stream.header(topicTranscription, transcriptAttributes(s.id, s.from, false)))
	}
	s := o.segments[i]
	s.text += u.Text
	p = append(p, s.stream.chunks(u.Text)...)
	if u.Final {
		return append(p, o.end(i)...)
	}
	return append(p, transcriptionPacket(s.from.identity, s.from.track, s.id, s.text, false))
}

// end finishes the stream of the i-th segment. "final" is told by the trailer, since the header went
// out before anybody knew.
func (o *outbox) end(i int) []packet {
	s := o.segments[i]
	o.segments = slices.Delete(o.segments, i, i+1)
	return []packet{
		s.stream.trailer(transcriptAttributes(s.id, s.from, true)),
		transcriptionPacket(s.from.identity, s.from.track, s.id, s.text, true),
	}
}

// endAll finishes the streams that the session left open.
func (o *outbox) endAll(ctx context.Context) {
	for len(o.segments) > 0 {
		if err := o.to.send(ctx, o.end(0)...); err != nil {
			return
		}
	}
}

func transcriptAttributes(segment string, from voice, final bool) map[string]string {
	a := map[string]string{attrSegment: segment, attrFinal: strconv.FormatBool(final)}
	if from.track != "" {
		a[attrTrack] = from.track
	}
	return a
}
