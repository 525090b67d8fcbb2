package room

import (
	"slices"
	"sync/atomic"

	"github.com/parley-go/parley/session"
)

// Event is something that happened in a room: one of the types of this file.
type Event interface{ roomEvent() }

type (
	// ParticipantJoined says that somebody is in the room.
	ParticipantJoined struct{ Participant session.Participant }
	// ParticipantLeft says that somebody left, and LiveKit's reason, e.g. "CLIENT_INITIATED".
	ParticipantLeft struct {
		Participant session.Participant
		Reason      string
	}
	// AttributesChanged says that attributes of somebody else have new values; "" means removed.
	AttributesChanged struct {
		Participant session.Participant
		Changed     map[string]string
	}
	// ActiveSpeakers says who is speaking, the loudest first.
	ActiveSpeakers struct{ Identities []string }
	// TextReceived is a text that somebody sent to the topic lk.chat.
	TextReceived struct {
		Participant session.Participant
		Text        string
	}
	// DataReceived is a packet of a user's own data.
	DataReceived struct {
		Sender  string // identity; "" when a server sent it
		Topic   string
		Payload []byte
	}
	// DigitReceived is a key that was pressed on a telephone.
	DigitReceived struct {
		Sender string
		Code   uint32
		Digit  string
	}
	// Reconnecting says that the connection was lost and is being repaired.
	Reconnecting struct{}
	// Reconnected says that the connection works again.
	Reconnected struct{}
	// Disconnected says that the connection is over, and why. It is the last event.
	Disconnected struct{ Reason string }
)

func (ParticipantJoined) roomEvent() {}
func (ParticipantLeft) roomEvent()   {}
func (AttributesChanged) roomEvent() {}
func (ActiveSpeakers) roomEvent()    {}
func (TextReceived) roomEvent()      {}
func (DataReceived) roomEvent()      {}
func (DigitReceived) roomEvent()     {}
func (Reconnecting) roomEvent()      {}
func (Reconnected) roomEvent()       {}
func (Disconnected) roomEvent()      {}

// On calls f for every event of type E, in order, on a goroutine of the room, until cancel is called
// or the room is disconnected. f should return soon, as the other events wait for it. A listener to
// ParticipantJoined first hears of everybody who is present. A call of f may be under way when cancel
// returns. On and cancel may be called from any goroutine.
func On[E Event](r *Room, f func(E)) (cancel func()) {
	l := &listener{call: func(e Event) {
		if e, ok := e.(E); ok {
			f(e)
		}
	}}
	r.hub.post(func() {
		r.listeners = append(r.listeners, l)
		for _, m := range r.presence.members {
			r.hub.call(func() { l.tell(ParticipantJoined{m.Participant}) })
		}
	})
	return func() {
		if l.off.CompareAndSwap(false, true) {
			r.hub.post(func() {
				r.listeners = slices.DeleteFunc(r.listeners, func(x *listener) bool { return x == l })
			})
		}
	}
}

// listener is a handle on a function. Functions cannot be compared, so the handle is what is removed.
type listener struct {
	call func(Event)
	off  atomic.Bool
}

func (l *listener) tell(e Event) {
	if !l.off.Load() {
		l.call(e)
	}
}

// emit tells the listeners. Only the dispatcher calls it.
func (r *Room) emit(e Event) {
	for _, l := range slices.Clone(r.listeners) {
		r.hub.call(func() { l.tell(e) })
	}
}
