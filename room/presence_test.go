package room

import (
	"slices"
	"testing"

	"github.com/parley-go/parley/session"
)

type presenceLog struct {
	*presence
	got []string
}

func newPresenceLog() *presenceLog {
	l := &presenceLog{}
	l.presence = newPresence(
		func(m *member) { l.got = append(l.got, "+"+m.Identity) },
		func(m *member, reason string) { l.got = append(l.got, "-"+m.Identity+" "+reason) },
	)
	return l
}

func (l *presenceLog) in(identity string, key int) {
	l.arrive(&member{Participant: session.Participant{Identity: identity}, key: key})
}

func TestPresencePutsReportsInOrder(t *testing.T) {
	tests := map[string]struct {
		do   func(l *presenceLog)
		want []string
	}{
		"present and reported":      {func(l *presenceLog) { l.in("a", 1); l.in("a", 1) }, []string{"+a"}},
		"comes and goes":            {func(l *presenceLog) { l.in("a", 1); l.depart("a", 1, "X") }, []string{"+a", "-a X"}},
		"gone before he came":       {func(l *presenceLog) { l.depart("a", 1, "X"); l.in("a", 1) }, nil},
		"comes back, in order":      {func(l *presenceLog) { l.in("a", 1); l.depart("a", 1, "X"); l.in("a", 2) }, []string{"+a", "-a X", "+a"}},
		"comes back, out of order":  {func(l *presenceLog) { l.in("a", 1); l.in("a", 2); l.depart("a", 1, "X") }, []string{"+a", "-a X", "+a"}},
		"second gone before first":  {func(l *presenceLog) { l.in("a", 1); l.in("a", 2); l.depart("a", 2, "X"); l.depart("a", 1, "Y") }, []string{"+a", "-a Y"}},
		"reconnect, still there":    {reconnect(2), []string{"+a", "+b"}},
		"reconnect, one is missing": {reconnect(1), []string{"+a", "+b", "-b UNKNOWN_REASON"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newPresenceLog()
			tt.do(l)
			if !slices.Equal(l.got, tt.want) {
				t.Errorf("reported %q, want %q", l.got, tt.want)
			}
			if len(l.gone) > 0 || len(l.waiting) > 0 {
				t.Errorf("left over: gone %v, waiting %v", l.gone, l.waiting)
			}
		})
	}
}

// reconnect drops two participants and brings the first n back.
func reconnect(n int) func(l *presenceLog) {
	return func(l *presenceLog) {
		l.in("a", 1)
		l.in("b", 2)
		l.reconnecting = true
		l.depart("b", 2, unknownReason)
		l.depart("a", 1, unknownReason)
		present := []*member{
			{Participant: session.Participant{Identity: "a"}, key: 3},
			{Participant: session.Participant{Identity: "b"}, key: 4},
		}
		l.presence.reconnected(present[:n])
		l.in("a", 3) // the SDK's own report comes late
	}
}

func TestReconnectKeepsTheLinkedMember(t *testing.T) {
	l := newPresenceLog()
	l.in("a", 1)
	before := l.find("a")
	l.reconnecting = true
	l.depart("a", 1, unknownReason)
	l.presence.reconnected([]*member{{Participant: session.Participant{Identity: "a"}, key: 2}})
	if l.find("a") != before || before.key != 2 || before.lost {
		t.Errorf("member is %+v, want the same with the new key", l.find("a"))
	}
}
