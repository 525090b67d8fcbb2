package room

import (
	"maps"
	"slices"
	"strings"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/parley-go/parley/session"
)

// member is somebody in the room. key is the SDK's object: who leaves and comes back under the same
// identity gets a new one.
type member struct {
	session.Participant
	key  any
	lost bool // the SDK dropped him while reconnecting; he may be there again afterwards
}

// presence knows who is in the room, in the order of arrival. The SDK reports each arrival and each
// departure once, but on goroutines of its own and so in any order; presence puts them right: of
// two members with one identity the first one must leave before the second can come, and who left
// before he came was never there. It belongs to the dispatcher.
type presence struct {
	members []*member
	waiting map[string]*member // arrived while one with the same identity has not left yet
	gone    map[any]bool       // left before the arrival was reported

	// reconnecting is set while the connection is repaired. The SDK then drops everybody without
	// a reason, and reports those who are still there anew: nobody has to hear of that.
	reconnecting bool

	joined func(m *member)
	left   func(m *member, reason string)
}

func newPresence(joined func(*member), left func(*member, string)) *presence {
	return &presence{waiting: map[string]*member{}, gone: map[any]bool{}, joined: joined, left: left}
}

func (p *presence) arrive(m *member) {
	if p.gone[m.key] {
		delete(p.gone, m.key)
		return
	}
	old := p.find(m.Identity)
	switch {
	case old == nil:
		p.members = append(p.members, m)
		p.joined(m)
	case old.key == m.key: // present at join, and reported as well
	case old.lost:
		old.Participant, old.key, old.lost = m.Participant, m.key, false
	default:
		p.waiting[m.Identity] = m
	}
}

// depart returns at once when it is early: the arrival is forgotten when it comes.
func (p *presence) depart(identity string, key any, reason string) {
	m := p.find(identity)
	if m == nil || m.key != key {
		if w := p.waiting[identity]; w != nil && w.key == key {
			delete(p.waiting, identity)
			return
		}
		p.gone[key] = true
		return
	}
	if p.reconnecting && reason == unknownReason {
		m.lost = true
	} else {
		p.remove(m, reason)
	}
	if w := p.waiting[identity]; w != nil {
		delete(p.waiting, identity)
		p.arrive(w)
	}
}

func (p *presence) remove(m *member, reason string) {
	p.members = slices.DeleteFunc(p.members, func(x *member) bool { return x == m })
	p.left(m, reason)
}

// reconnected takes who is there after a reconnect. Those who were lost and are not among them left.
func (p *presence) reconnected(present []*member) {
	p.reconnecting = false
	for _, m := range present {
		p.arrive(m)
	}
	for _, m := range slices.Clone(p.members) {
		if m.lost {
			p.remove(m, unknownReason)
		}
	}
}

func (p *presence) find(identity string) *member {
	for _, m := range p.members {
		if m.Identity == identity {
			return m
		}
	}
	return nil
}

// unknownReason is LiveKit's word for a departure that nobody explained.
const unknownReason = "UNKNOWN_REASON"

// participantOf describes a participant of the SDK.
func participantOf(p lksdk.Participant) session.Participant {
	return session.Participant{
		ID:         p.SID(),
		Identity:   p.Identity(),
		Name:       p.Name(),
		Kind:       strings.ToLower(livekit.ParticipantInfo_Kind(p.Kind()).String()),
		Attributes: maps.Clone(p.Attributes()),
	}
}
