package room

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"
	"unsafe"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
)

// guard stands between the SDK's engine and the SDK's room: the engine reports to it, and it passes
// on to the room what cannot do harm.
//
// Why: when a stream ends, lksdk.Room.OnStreamTrailer writes the trailer's attributes into the map of
// the header, on the SDK's own goroutine, with nothing to recover. When the header had no attributes,
// that map is nil; when it had some, the handler of the stream may be reading them at that moment.
// Both end the process, and any participant who may send data can bring it about as soon as a handler
// for the topic is registered. One process runs hundreds of sessions, so this has to be impossible,
// also for importers of this module, where a replace directive of ours would have no effect. What was
// weighed:
//
//   - not registering any handler protects us but not users of Room.SDK, and leaves no text input,
//     since the SDK shows streams to nobody else;
//   - mending the nil map at the start of our own handler comes too late: the SDK starts handlers with
//     go, and reads the trailer meanwhile;
//   - a copy of the SDK's room is 1500 lines that touch its unexported parts all over.
//
// The engine calls the room through an interface held in a field. Reflection puts the guard there,
// before Join, when none of the SDK's goroutines exists yet. Each step is checked, and embedding
// *lksdk.Room keeps the rest of the interface as it is, so a version of the SDK that differs gives an
// error from installGuard and nothing worse. It brings the packets of streams in the order in which
// they were sent, too, which the SDK's handlers do not.
type guard struct {
	*lksdk.Room
	streams    streamSink
	subscribed func(sid string) // somebody subscribed to a track of ours; returns at once
	resumed    func()           // the connection was resumed and the SDK is done with it; returns at once
	panicked   func(where string, v any)

	// participants is held while the SDK updates or removes participants, which it does on two goroutines at a
	// time, without a lock of its own, when news of one comes as a full reconnect begins.
	participants sync.Mutex
	restarting   bool // a full reconnect is under way
}

// streamSink takes the packets of streams, on the SDK's goroutine, and returns at once. The packets
// are shared with the SDK and not to be changed.
type streamSink interface {
	header(h *livekit.DataStream_Header, sender string)
	chunk(c *livekit.DataStream_Chunk)
	trailer(t *livekit.DataStream_Trailer)
}

var errNoGuard = errors.New("this version of the LiveKit SDK is built differently")

// installGuard puts g between the engine of g.Room and g.Room itself, and returns the engine. It must
// be called before Join.
func installGuard(g *guard) (*lksdk.RTCEngine, error) {
	engine, err := engineOf(g.Room)
	if err != nil {
		return nil, err
	}
	field := reflect.ValueOf(engine).Elem().FieldByName("engineHandler")
	handler := reflect.ValueOf(g)
	switch {
	case !field.IsValid() || field.Kind() != reflect.Interface || field.IsNil():
		return nil, fmt.Errorf("%w: the engine has no handler", errNoGuard)
	case field.Elem().Type() != reflect.TypeFor[*lksdk.Room]() || field.Elem().Pointer() != reflect.ValueOf(g.Room).Pointer():
		return nil, fmt.Errorf("%w: the handler is not the room", errNoGuard)
	case !handler.Type().Implements(field.Type()):
		return nil, fmt.Errorf("%w: the handler has other methods", errNoGuard)
	}
	settable(field).Set(handler)
	return engine, nil
}

func engineOf(room *lksdk.Room) (*lksdk.RTCEngine, error) {
	field := reflect.ValueOf(room).Elem().FieldByName("engine")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*lksdk.RTCEngine]() || field.IsNil() {
		return nil, fmt.Errorf("%w: the room has no engine", errNoGuard)
	}
	return settable(field).Interface().(*lksdk.RTCEngine), nil
}

// settable is the field without the mark that it is not exported. Type and address are those that
// reflection found, so nothing is assumed about the layout.
func settable(field reflect.Value) reflect.Value {
	return reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
}

func (g *guard) recover(where string) {
	if v := recover(); v != nil {
		g.panicked(where, v)
	}
}

// OnStreamHeader implements the SDK's engine handler.
func (g *guard) OnStreamHeader(h *livekit.DataStream_Header, sender string) {
	defer g.recover("stream header")
	if h == nil {
		return
	}
	g.streams.header(h, sender)
	g.Room.OnStreamHeader(h, sender)
}

// OnStreamChunk implements the SDK's engine handler.
func (g *guard) OnStreamChunk(c *livekit.DataStream_Chunk) {
	defer g.recover("stream chunk")
	if c == nil {
		return
	}
	g.streams.chunk(c)
	g.Room.OnStreamChunk(c)
}

// OnStreamTrailer implements the SDK's engine handler. The room gets the trailer without its
// attributes: see guard.
func (g *guard) OnStreamTrailer(t *livekit.DataStream_Trailer) {
	defer g.recover("stream trailer")
	if t == nil {
		return
	}
	g.streams.trailer(t)
	g.Room.OnStreamTrailer(&livekit.DataStream_Trailer{StreamId: t.StreamId, Reason: t.Reason})
}

// OnResumed implements the SDK's engine handler. While resuming, the SDK tells the server which tracks
// it does not get, and the server takes that for a wish, also for tracks that were only under way.
func (g *guard) OnResumed() {
	defer g.recover("resume")
	g.Room.OnResumed()
	g.resumed()
}

// OnRestarting implements the SDK's engine handler.
func (g *guard) OnRestarting() {
	defer g.recover("reconnect")
	g.participants.Lock()
	defer g.participants.Unlock()
	g.restarting = true
	g.Room.OnRestarting()
}

// OnRoomJoined implements the SDK's engine handler. After a full reconnect the SDK keeps participants who left meanwhile, and
// reads the list of the server only when it already reads later news of them; here it does not yet.
func (g *guard) OnRoomJoined(room *livekit.Room, local *livekit.ParticipantInfo, others []*livekit.ParticipantInfo, server *livekit.ServerInfo, trailer []byte) {
	defer g.recover("join")
	g.participants.Lock()
	defer g.participants.Unlock()
	if !g.restarting {
		g.Room.OnRoomJoined(room, local, others, server, trailer)
		return
	}
	present := make(map[string]bool, len(others))
	for _, p := range others {
		present[p.Identity] = true
	}
	for _, p := range g.GetRemoteParticipants() {
		if !present[p.Identity()] {
			g.OnParticipantDisconnect(p, livekit.DisconnectReason_UNKNOWN_REASON)
		}
	}
	g.Room.OnRoomJoined(room, local, others, server, trailer)
	g.Room.OnParticipantUpdate(others)
}

// OnRestarted implements the SDK's engine handler. The others are known from OnRoomJoined.
func (g *guard) OnRestarted(room *livekit.Room, local *livekit.ParticipantInfo, _ []*livekit.ParticipantInfo) {
	defer g.recover("reconnect")
	g.participants.Lock()
	g.restarting = false
	g.participants.Unlock()
	g.Room.OnRestarted(room, local, nil)
}

// OnRoomMoved implements the SDK's engine handler.
func (g *guard) OnRoomMoved(moved *livekit.RoomMovedResponse) {
	defer g.recover("move")
	g.participants.Lock()
	defer g.participants.Unlock()
	g.Room.OnRoomMoved(moved)
}

// OnLocalTrackSubscribed implements the SDK's engine handler. The SDK drops the news when it comes
// before its own PublishTrack has returned; the agent would wait for its listener for ever.
func (g *guard) OnLocalTrackSubscribed(t *livekit.TrackSubscribed) {
	defer g.recover("track subscribed")
	g.subscribed(t.GetTrackSid())
	g.Room.OnLocalTrackSubscribed(t)
}

// The rest run callbacks of users, or read what a peer sent, on goroutines of the SDK.

// OnDataPacket implements the SDK's engine handler.
func (g *guard) OnDataPacket(sender string, p lksdk.DataPacket) {
	defer g.recover("data packet")
	g.Room.OnDataPacket(sender, p)
}

// OnTranscription implements the SDK's engine handler.
func (g *guard) OnTranscription(t *livekit.Transcription) {
	defer g.recover("transcription")
	g.Room.OnTranscription(t)
}

// OnRpcRequest implements the SDK's engine handler.
func (g *guard) OnRpcRequest(caller, id, method, payload string, timeout time.Duration, version uint32) {
	defer g.recover("RPC request")
	g.Room.OnRpcRequest(caller, id, method, payload, timeout, version)
}

// OnMediaTrack implements the SDK's engine handler.
func (g *guard) OnMediaTrack(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
	defer g.recover("media track")
	g.Room.OnMediaTrack(t, r)
}

// OnParticipantUpdate implements the SDK's engine handler.
func (g *guard) OnParticipantUpdate(p []*livekit.ParticipantInfo) {
	defer g.recover("participant update")
	g.participants.Lock()
	defer g.participants.Unlock()
	g.Room.OnParticipantUpdate(p)
}

// OnSpeakersChanged implements the SDK's engine handler.
func (g *guard) OnSpeakersChanged(s []*livekit.SpeakerInfo) {
	defer g.recover("speakers")
	g.Room.OnSpeakersChanged(s)
}
