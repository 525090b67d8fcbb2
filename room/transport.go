package room

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/parley-go/parley/session"
)

// IOOptions are what a session hears and shows in a room. The zero value is audio and text both ways
// with the first person who comes.
type IOOptions struct {
	Participant string   // identity to link; "" links the first participant of Kinds
	Kinds       []string // default standard, sip, connector
	// KeepOpen keeps the session when its participant hangs up; the next who comes is linked. Without
	// it the session closes when the participant leaves by choice, is turned away or the room is deleted.
	KeepOpen bool

	NoAudioInput  bool
	NoAudioOutput bool
	NoTextInput   bool // texts on lk.chat
	NoTranscripts bool // on lk.transcription

	// VideoInput shows realtime models what the participant shows: his newest camera or screen, if it is VP8, which is
	// what LiveKit's clients send unless told otherwise. session.Options.Video says how often.
	VideoInput bool

	InputRate  int // sample rate of the frames that are heard, in Hz; default 24000
	OutputRate int // sample rate of the audio that is played, in Hz; default 24000
}

const defaultRate = 24_000

func (o IOOptions) withDefaults() IOOptions {
	if len(o.Kinds) == 0 {
		o.Kinds = defaultKinds
	}
	if o.InputRate == 0 {
		o.InputRate = defaultRate
	}
	if o.OutputRate == 0 {
		o.OutputRate = defaultRate
	}
	return o
}

// With is the room as a transport with other settings than the defaults.
func (r *Room) With(opts IOOptions) session.Transport { return &transport{room: r, opts: opts} }

// Open implements session.Transport with default settings. It publishes the agent's track and links
// a participant. One session at a time can use a room: the second gets ErrInUse.
func (r *Room) Open(ctx context.Context, h session.Host) (session.IO, error) {
	return r.defaults.Open(ctx, h)
}

// Close implements session.Transport. The room stays joined.
func (r *Room) Close(ctx context.Context) error { return r.defaults.Close(ctx) }

// Link makes the session that uses the room talk to another participant, present or to come. With ""
// nobody is linked until the next one joins.
func (r *Room) Link(identity string) {
	r.hub.post(func() {
		if r.bound != nil {
			r.bound.linkTo(identity)
		}
	})
}

type transport struct {
	room *Room
	opts IOOptions

	mu   sync.Mutex
	open *binding
}

var (
	_ session.Transport = (*transport)(nil)
	_ session.Transport = (*Room)(nil)
)

// Open implements session.Transport.
func (t *transport) Open(ctx context.Context, h session.Host) (session.IO, error) {
	b, err := t.room.bind(ctx, h, t.opts.withDefaults())
	if err != nil {
		return session.IO{}, fmt.Errorf("open room: %w", err)
	}
	t.mu.Lock()
	t.open = b
	t.mu.Unlock()
	return b.io(), nil
}

// Close implements session.Transport.
func (t *transport) Close(ctx context.Context) error {
	t.mu.Lock()
	b := t.open
	t.open = nil
	t.mu.Unlock()
	if b == nil {
		return nil
	}
	return b.close(ctx)
}

// binding is a session's use of a room, from Open to Close.
type binding struct {
	room *Room
	host session.Host
	opts IOOptions
	in   *input  // nil without audio input
	out  *output // nil without audio output
	eyes *video  // nil without video input
	box  *outbox
	user atomic.Pointer[voice] // who is linked; nil for nobody

	// What the dispatcher owns.
	link    linker
	current *mic   // what in listens to
	seen    *sight // what eyes look at
	heard   bool   // the host knows that somebody can hear us
}

// bind makes h the session of the room.
func (r *Room) bind(ctx context.Context, h session.Host, opts IOOptions) (_ *binding, err error) {
	b := &binding{
		room: r, host: h, opts: opts,
		link: linker{self: r.LocalIdentity(), want: opts.Participant, kinds: opts.Kinds},
	}
	if !opts.NoAudioInput {
		if b.in, err = newInput(opts.InputRate, r.log); err != nil {
			return nil, err
		}
	}
	if !opts.NoAudioOutput {
		if b.out, err = newVoice(opts.OutputRate); err != nil {
			if b.in != nil {
				b.in.close()
			}
			return nil, err
		}
	}
	if opts.VideoInput {
		b.eyes = newVideo(r.log)
	}
	b.box = newOutbox(r.ctx, r, r.log)
	defer func() {
		if err != nil {
			_ = b.close(ctx)
		}
	}()
	inUse := false
	err = r.do(ctx, func() {
		if inUse = r.bound != nil; !inUse {
			r.bound = b
		}
	})
	switch {
	case err != nil:
		return nil, err
	case inUse:
		return nil, ErrInUse
	}
	if b.out != nil {
		if err := b.out.publish(ctx, r.sdk.LocalParticipant); err != nil {
			return nil, err
		}
	}
	return b, r.do(ctx, b.relink)
}

// do runs f on the dispatcher and waits for it.
func (r *Room) do(ctx context.Context, f func()) error {
	ran := make(chan struct{})
	if !r.hub.post(func() { defer close(ran); f() }) {
		return ErrDisconnected
	}
	select {
	case <-ran:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *binding) io() session.IO {
	io := session.IO{AgentState: b.box.setState}
	if b.in != nil {
		io.AudioIn = b.in
	}
	if b.out != nil {
		io.AudioOut = b.out
	}
	if b.eyes != nil {
		io.VideoIn = b.eyes
	}
	if !b.opts.NoTranscripts {
		io.Transcripts = b
	}
	return io
}

// WriteTranscript implements session.TranscriptOutput.
func (b *binding) WriteTranscript(t session.Transcript) {
	from := voice{identity: b.room.LocalIdentity()}
	if t.User {
		user := b.user.Load()
		if user == nil {
			return
		}
		from = *user
	} else if b.out != nil {
		from.track = b.out.trackSID()
	}
	b.box.write(t, from)
}

// close releases the ends. What it cannot finish before ctx ends, it leaves to goroutines that end
// with the room.
func (b *binding) close(ctx context.Context) error {
	r := b.room
	unbind := func() {
		if r.bound == b {
			r.bound = nil
		}
	}
	_ = r.do(ctx, unbind) // fails when the room is over: then nobody looks at bound any more
	if b.in != nil {
		b.in.close()
	}
	if b.eyes != nil {
		b.eyes.close()
	}
	b.box.close(ctx)
	if b.out != nil {
		b.out.close(ctx, r.sdk.LocalParticipant)
	}
	return context.Cause(ctx)
}

// From here on, everything runs on the dispatcher.

// hearable tells the host, once, that somebody can hear us.
func (b *binding) hearable() {
	if b.heard {
		return
	}
	b.heard = true
	b.out.start()
	b.host.OutputReady()
}

// assumeHearable starts playback without the news that somebody can hear us, when there was
// a reconnect that it may have been lost in. Words into the void are better than silence for ever.
func (b *binding) assumeHearable() {
	if b.out != nil && b.link.linked != nil && b.room.reconnects > 0 {
		b.hearable()
	}
}

// wants says whether the session listens to, or looks at, this track.
func (b *binding) wants(pub lksdk.TrackPublication) bool {
	return b.in != nil && isMic(pub) || b.eyes != nil && isVideo(pub)
}

// links says whether the session talks to this participant.
func (b *binding) links(identity string) bool {
	return b.link.linked != nil && b.link.linked.Identity == identity
}

// relink links somebody if nobody is linked.
func (b *binding) relink() {
	m := b.link.next(b.room.presence.members)
	if m == nil {
		return
	}
	b.user.Store(&voice{identity: m.Identity})
	b.host.ParticipantLinked(m.Participant)
	b.assumeHearable()
	b.subscribe()
	b.listen()
	b.look()
}

// subscribe has the server send what the session wants of the linked participant.
func (b *binding) subscribe() {
	if b.link.linked == nil {
		return
	}
	p, ok := b.link.linked.key.(*lksdk.RemoteParticipant)
	if !ok {
		return
	}
	for _, pub := range p.TrackPublications() {
		if pub, ok := pub.(*lksdk.RemoteTrackPublication); ok && b.wants(pub) {
			b.room.subscribe(pub) // also when it is there: the server may be about to take it away
		}
	}
}

func (b *binding) unlink() {
	b.link.linked = nil
	b.user.Store(nil)
	b.listen()
	b.look()
}

func (b *binding) linkTo(identity string) {
	b.link.want = identity
	if l := b.link.linked; l != nil && (identity == "" || l.Identity != identity) {
		b.unlink()
	}
	if identity != "" {
		b.relink()
	}
}

func (b *binding) left(m *member, reason string) {
	if b.link.linked != m {
		return
	}
	b.unlink()
	closes := !b.opts.KeepOpen && slices.Contains(closeReasons, reason)
	b.host.ParticipantLeft(m.Participant, reason, closes)
	if !closes {
		b.relink()
	}
}

// listen turns to the newest microphone of the linked participant.
func (b *binding) listen() {
	var m *mic
	if b.link.linked != nil {
		m = newestMic(b.room.mics, b.link.linked.Participant)
	}
	if m == b.current {
		return
	}
	b.current = m
	if m != nil {
		b.user.Store(&voice{identity: m.identity, track: m.sid})
	}
	switch {
	case b.in == nil:
	case m == nil:
		b.in.detach()
	default:
		b.in.attach(m.track)
	}
}

// look turns to the newest video of the linked participant.
func (b *binding) look() {
	if b.eyes == nil {
		return
	}
	var s *sight
	if b.link.linked != nil {
		s = newestSight(b.room.sights, b.link.linked.Identity)
	}
	if s != b.seen {
		b.seen = s
		if s != nil {
			s.shrink()
		}
		b.eyes.attach(s)
	}
}
