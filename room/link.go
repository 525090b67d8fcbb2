package room

import (
	"slices"

	"github.com/parley-go/parley/session"
)

// linker decides which participant a session talks to. It belongs to the dispatcher.
type linker struct {
	self   string   // our own identity
	want   string   // the identity to link, "" for the first that fits
	kinds  []string // accepted kinds, used while want is ""
	linked *member
}

// fits says whether m may be linked: it is the wanted one or of an accepted kind, and does not speak
// for us, as the worker of an avatar does.
func (l *linker) fits(m *member) bool {
	if l.self != "" && m.Attributes[attrPublishOnBehalf] == l.self {
		return false
	}
	if l.want != "" {
		return m.Identity == l.want && m.Kind != kindAgent
	}
	return slices.Contains(l.kinds, m.Kind)
}

// next links the first of the present who fits, unless somebody is linked. It returns who was linked
// by this call, or nil.
func (l *linker) next(present []*member) *member {
	if l.linked != nil {
		return nil
	}
	for _, m := range present {
		if l.fits(m) {
			l.linked = m
			return m
		}
	}
	return nil
}

const (
	kindAgent           = "agent"
	attrPublishOnBehalf = "lk.publish_on_behalf"
)

// defaultKinds are the kinds of participants that are people.
var defaultKinds = []string{"connector", "sip", "standard"}

// closeReasons are the reasons to leave that mean that the user will not be back.
var closeReasons = []string{"CLIENT_INITIATED", "ROOM_DELETED", "USER_REJECTED"}

// mic is a microphone track that we are subscribed to. The last of the list is the newest.
type mic struct {
	identity string
	sid      string
	track    rtpTrack
}

// newestSight is the newest video of a participant, nil if there is none.
func newestSight(sights []*sight, identity string) *sight {
	for _, s := range slices.Backward(sights) {
		if s.identity == identity {
			return s
		}
	}
	return nil
}

// newestMic is the newest microphone of a participant, nil if there is none.
func newestMic(mics []*mic, p session.Participant) *mic {
	for _, m := range slices.Backward(mics) {
		if m.identity == p.Identity {
			return m
		}
	}
	return nil
}
