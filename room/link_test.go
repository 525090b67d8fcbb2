package room

import (
	"testing"

	"github.com/parley-go/parley/session"
)

func person(identity, kind string, attributes ...string) *member {
	m := &member{Participant: session.Participant{Identity: identity, Kind: kind, Attributes: map[string]string{}}}
	for i := 0; i+1 < len(attributes); i += 2 {
		m.Attributes[attributes[i]] = attributes[i+1]
	}
	return m
}

func TestLinkerTakesTheFirstWhoFits(t *testing.T) {
	agent, egress := person("agent-2", "agent"), person("rec", "egress")
	avatar := person("avatar", "standard", attrPublishOnBehalf, "me")
	other := person("other", "standard", attrPublishOnBehalf, "somebody")
	ann, sip, wa := person("ann", "standard"), person("sip_1", "sip"), person("wa", "connector")
	tests := map[string]struct {
		want    string
		present []*member
		linked  *member
	}{
		"nobody":                       {"", nil, nil},
		"no people":                    {"", []*member{agent, egress, avatar}, nil},
		"first of two":                 {"", []*member{agent, sip, ann}, sip},
		"connector":                    {"", []*member{wa}, wa},
		"avatar of somebody else":      {"", []*member{other}, other},
		"wanted":                       {"ann", []*member{sip, ann}, ann},
		"wanted is not there":          {"zoe", []*member{sip, ann}, nil},
		"wanted of an unusual kind":    {"rec", []*member{egress}, egress},
		"wanted, but it is an agent":   {"agent-2", []*member{agent}, nil},
		"wanted, but it speaks for us": {"avatar", []*member{avatar}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := linker{self: "me", want: tt.want, kinds: defaultKinds}
			if got := l.next(tt.present); got != tt.linked || l.linked != tt.linked {
				t.Errorf("linked %v, want %v", got, tt.linked)
			}
			if got := l.next([]*member{ann}); tt.linked != nil && got != nil {
				t.Errorf("linked %v although somebody is", got)
			}
		})
	}
}

func TestNewestMicrophoneWins(t *testing.T) {
	mics := []*mic{{identity: "ann", sid: "1"}, {identity: "bob", sid: "2"}, {identity: "ann", sid: "3"}, {identity: "bob", sid: "4"}}
	if m := newestMic(mics, session.Participant{Identity: "ann"}); m == nil || m.sid != "3" {
		t.Errorf("newest is %v, want 3", m)
	}
	if m := newestMic(mics, session.Participant{Identity: "zoe"}); m != nil {
		t.Errorf("newest is %v, want none", m)
	}
}
