package lkserver

import (
	"fmt"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
)

// tokenTTL is how long tokens are valid: longer than any test or demo.
const tokenTTL = 6 * time.Hour

// Grant adds to what a token allows.
type Grant func(*auth.AccessToken, *auth.VideoGrant)

// Agent makes the holder of the token a participant of kind agent.
func Agent() Grant {
	return func(t *auth.AccessToken, g *auth.VideoGrant) {
		g.Agent = true
		t.SetKind(livekit.ParticipantInfo_AGENT)
	}
}

// Kind sets the kind of the participant, e.g. livekit.ParticipantInfo_SIP.
func Kind(k livekit.ParticipantInfo_Kind) Grant {
	return func(t *auth.AccessToken, _ *auth.VideoGrant) { t.SetKind(k) }
}

// Attributes gives the participant its first attributes.
func Attributes(a map[string]string) Grant {
	return func(t *auth.AccessToken, _ *auth.VideoGrant) { t.SetAttributes(a) }
}

// Dispatch sends the agent with this name ("" is every unnamed one) to the room when it is created.
func Dispatch(agent, metadata string) Grant {
	return func(t *auth.AccessToken, _ *auth.VideoGrant) {
		t.SetRoomConfig(&livekit.RoomConfiguration{
			Agents: []*livekit.RoomAgentDispatch{{AgentName: agent, Metadata: metadata}},
		})
	}
}

// Token is a token to join a room, publish, subscribe, send data and set one's own attributes.
func (s *Server) Token(identity, room string, grants ...Grant) (string, error) {
	yes := true
	g := &auth.VideoGrant{RoomJoin: true, Room: room, CanUpdateOwnMetadata: &yes}
	t := auth.NewAccessToken(s.key, s.secret).SetIdentity(identity).SetValidFor(tokenTTL)
	for _, grant := range grants {
		grant(t, g)
	}
	jwt, err := t.SetVideoGrant(g).ToJWT()
	if err != nil {
		return "", fmt.Errorf("token for %q: %w", identity, err)
	}
	return jwt, nil
}
