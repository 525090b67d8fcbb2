package room

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"

	"github.com/parley-go/parley/session"
)

// joinTimeout bounds Join when its context does not.
const joinTimeout = 20 * time.Second

// hangUpDelay is how long the line stays open after we said that we leave.
const hangUpDelay = 100 * time.Millisecond

// Subscribe says which tracks of others arrive.
type Subscribe int

// The choices of tracks. The microphone of the linked participant arrives with each of them.
const (
	SubscribeAll Subscribe = iota
	SubscribeNone
	SubscribeAudio
	SubscribeVideo
)

// Options are the settings of Join.
type Options struct {
	URL       string       // of the LiveKit server, e.g. "wss://example.livekit.cloud"; required
	Token     string       // JWT that lets us join; required
	Name      string       // of the room, as far as known before joining; used for logs and Room.Name
	Subscribe Subscribe    // default SubscribeAll
	Logger    *slog.Logger // default slog.Default()
	// SDK is passed to LiveKit's SDK, e.g. for encryption or a proxy.
	SDK []lksdk.ConnectOption
}

// Room is a connection to a LiveKit room. It is made by Join and ended by Leave, by the server, or
// when reconnecting fails. Its methods may be called from any goroutine.
type Room struct {
	opts     Options
	log      *slog.Logger
	sdk      *lksdk.Room
	engine   *lksdk.RTCEngine // nil when the guard does not fit
	texts    *textReader      // nil when the guard does not fit
	hub      *hub
	joined   atomic.Bool
	leaving  atomic.Bool
	defaults *transport // what Open and Close of the room itself use

	ctx    context.Context // ends with the connection
	cancel context.CancelFunc

	once         sync.Once
	disconnected chan struct{}
	reason       string // read after disconnected

	mu     sync.Mutex
	online chan struct{} // closed while connected, open while reconnecting

	// What the dispatcher owns.
	listeners  []*listener
	presence   *presence
	mics       []*mic
	sights     []*sight
	early      []earlyText // of people who have not arrived yet, at most maxEarlyTexts
	reconnects int
	subscribed map[string]bool // SIDs of own tracks that somebody subscribed to
	bound      *binding        // nil while no session uses the room
	tracks     []*Track        // published beside the agent's voice
}

// Join connects to a room. It returns when we are in it, or with ErrURL, ErrToken, ErrUnreachable or
// the end of ctx; it gives up after 20 seconds in any case. A server that answers, but to which no media
// connection comes about in time (5 seconds, unless Options.SDK says otherwise), is asked again. The caller ends the room with Leave.
func Join(ctx context.Context, opts Options) (_ *Room, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("join room: %w", err)
		}
	}()
	if err := checkURL(opts.URL); err != nil {
		return nil, err
	}
	if opts.Token == "" {
		return nil, fmt.Errorf("%w: it is empty", ErrToken)
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, joinTimeout, ErrUnreachable)
	defer cancel()
	var late error // of the attempt before
	for {
		r := newRoom(opts)
		err := r.join(ctx)
		if err == nil {
			return r, nil
		}
		r.finish("JOIN_FAILURE")
		if late != nil && errors.Is(context.Cause(ctx), ErrUnreachable) {
			return nil, late // says more than that the time is up
		}
		if !errors.Is(err, lksdk.ErrConnectionTimeout) {
			return nil, err
		}
		late = err
		r.log.Warn("joining the room takes too long, trying again", "error", err)
	}
}

// newRoom makes a room that is not joined yet.
func newRoom(opts Options) *Room {
	r := &Room{
		opts:         opts,
		log:          opts.Logger,
		hub:          newHub(opts.Logger),
		disconnected: make(chan struct{}),
		online:       make(chan struct{}),
		subscribed:   make(map[string]bool),
	}
	close(r.online)
	r.defaults = &transport{room: r}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.presence = newPresence(r.onJoined, r.onLeft)
	r.sdk = lksdk.NewRoom(r.callbacks())
	r.sdk.SetLogger(newSDKLog(r.log, r.inside))
	r.guard()
	return r
}

// guard puts the guard in its place. Without it there is no text input, as a handler for text streams
// would let any participant end the process.
func (r *Room) guard() {
	texts := newTextReader(topicChat, r.log, r.onText)
	engine, err := installGuard(&guard{
		Room:       r.sdk,
		streams:    texts,
		subscribed: func(sid string) { r.hub.post(func() { r.onSubscribed(sid) }) },
		resumed:    func() { r.hub.post(r.onResumed) },
		panicked: func(where string, v any) {
			r.log.Error("panic while handling what the server sent", "where", where, "panic", v)
		},
	})
	if err != nil {
		r.log.Error("text input is off, and handlers for streams are not safe to register", "error", err)
		return
	}
	r.engine, r.texts = engine, texts
	// Before we are in, the SDK is disconnected between two attempts, too.
	left := func() bool { return r.joined.Load() && r.sdk.ConnectionState() == lksdk.ConnectionStateDisconnected }
	if err := installEchoFilter(engine, left); err != nil {
		r.log.Error("reconnecting may end the call", "error", err)
	}
	// The SDK says that we leave and hangs up at once, and now and then the server loses the word with
	// the line: we would stay in the room for half a minute. So hanging up waits a little. The
	// function runs on a goroutine of the SDK that nobody waits for.
	engine.OnClose(func() { time.Sleep(hangUpDelay) })
}

func (r *Room) join(ctx context.Context) error {
	opts := append([]lksdk.ConnectOption{
		lksdk.WithAutoSubscribe(r.opts.Subscribe == SubscribeAll),
		lksdk.WithLogger(newSDKLog(r.log, r.inside)),
	}, r.opts.SDK...)
	// The SDK keeps the context that it joins with and uses it for each reconnect, so it gets the
	// room's own, which ends with ctx only until we are in.
	stop := context.AfterFunc(ctx, r.cancel)
	failed := make(chan error, 1)
	go func() { failed <- r.sdk.JoinWithContextAndToken(r.ctx, r.opts.URL, r.opts.Token, opts...) }()
	select {
	case err := <-failed:
		if err == nil && stop() {
			break
		}
		r.sdk.Disconnect()
		if err == nil {
			return context.Cause(ctx)
		}
		return joinError(ctx, err)
	case <-ctx.Done():
		go func() { // the SDK notices the end of its context within its own timeout of 5 s
			<-failed
			r.sdk.Disconnect()
		}()
		return context.Cause(ctx)
	}
	r.joined.Store(true)
	r.hub.post(func() {
		for _, m := range r.present() {
			r.presence.arrive(m)
		}
	})
	return nil
}

// Leave leaves the room and returns when that is done, or with the error of ctx when it ends first;
// the room is over then, too. It may be called more than once.
func (r *Room) Leave(ctx context.Context) error {
	r.leaving.Store(true)
	left := make(chan struct{})
	go func() {
		defer close(left)
		r.sdk.Disconnect() // which fires no callback
		r.finish(livekit.DisconnectReason_CLIENT_INITIATED.String())
		<-r.hub.done
	}()
	select {
	case <-left:
		return nil
	case <-ctx.Done():
		r.finish(livekit.DisconnectReason_CLIENT_INITIATED.String())
		return fmt.Errorf("leave room: %w", context.Cause(ctx))
	}
}

// inside reports whether the room is joined, and nobody leaves it.
func (r *Room) inside() bool { return r.joined.Load() && !r.leaving.Load() }

// finish marks the end of the connection, once.
func (r *Room) finish(reason string) {
	r.leaving.Store(true)
	r.once.Do(func() {
		r.reason = reason
		close(r.disconnected)
		r.hub.post(func() {
			if r.bound != nil {
				r.bound.host.Disconnected(reason)
			}
			r.emit(Disconnected{reason})
		})
		r.hub.close()
		r.cancel()
	})
}

// Disconnected is closed when the connection is over.
func (r *Room) Disconnected() <-chan struct{} { return r.disconnected }

// DisconnectReason says why the connection is over, in LiveKit's words, e.g. "ROOM_DELETED". It is
// empty until Disconnected is closed.
func (r *Room) DisconnectReason() string {
	select {
	case <-r.disconnected:
		return r.reason
	default:
		return ""
	}
}

// LocalIdentity is our identity in the room.
func (r *Room) LocalIdentity() string { return r.sdk.LocalParticipant.Identity() }

// Name is the name of the room.
func (r *Room) Name() string {
	if name := r.sdk.Name(); name != "" {
		return name
	}
	return r.opts.Name
}

// SDK is LiveKit's own object for the room, for everything that has no method here. Its callbacks are
// taken; use On. Handlers for streams may be registered on it, and see no attributes of trailers. Do
// not call its Disconnect; use Leave.
func (r *Room) SDK() *lksdk.Room { return r.sdk }

// Participants are the others in the room, in no particular order.
func (r *Room) Participants() []session.Participant {
	var out []session.Participant
	for _, p := range r.sdk.GetRemoteParticipants() {
		out = append(out, participantOf(p))
	}
	return out
}

// WaitForParticipant returns somebody who is in the room or comes: the one with the given identity,
// or with "" the first of the given kinds, which are standard, sip and connector by default. It fails
// when ctx ends, and with ErrDisconnected.
func (r *Room) WaitForParticipant(ctx context.Context, identity string, kinds ...string) (session.Participant, error) {
	if len(kinds) == 0 {
		kinds = defaultKinds
	}
	want := linker{self: r.LocalIdentity(), want: identity, kinds: kinds}
	found := make(chan session.Participant, 1) // the first is enough; more are dropped
	cancel := On(r, func(e ParticipantJoined) {
		if identity != e.Participant.Identity && (identity != "" || !want.fits(&member{Participant: e.Participant})) {
			return
		}
		select {
		case found <- e.Participant:
		default:
		}
	})
	defer cancel()
	select {
	case p := <-found:
		return p, nil
	case <-ctx.Done():
		return session.Participant{}, fmt.Errorf("wait for participant: %w", context.Cause(ctx))
	case <-r.disconnected:
		return session.Participant{}, fmt.Errorf("wait for participant: %w", ErrDisconnected)
	}
}

// present are the others as the SDK knows them.
func (r *Room) present() []*member {
	var out []*member
	for _, p := range r.sdk.GetRemoteParticipants() {
		out = append(out, &member{Participant: participantOf(p), key: p})
	}
	return out
}

// isMic says whether a publication is a microphone.
func isMic(pub lksdk.TrackPublication) bool {
	return pub.Kind() == lksdk.TrackKindAudio && pub.Source() == livekit.TrackSource_MICROPHONE
}

// isVideo says whether a publication is a camera or a screen.
func isVideo(pub lksdk.TrackPublication) bool { return pub.Kind() == lksdk.TrackKindVideo }

var _ rtpTrack = (*webrtc.TrackRemote)(nil)
