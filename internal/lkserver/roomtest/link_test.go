package roomtest

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/parley-go/parley/internal/lkserver"
	"github.com/parley-go/parley/room"
)

func TestLinksPeopleAndRelinksWhenTheyLeave(t *testing.T) {
	r := joinAgent(t, room.SubscribeNone) // see joinQuiet
	joinUser(t, "robot", nil, lkserver.Agent())
	joinUser(t, "avatar", nil, lkserver.Attributes(map[string]string{"lk.publish_on_behalf": "agent"}))
	h := newHost()
	open(t, r.With(room.IOOptions{NoAudioInput: true, NoAudioOutput: true, KeepOpen: true}), h)
	sip := joinUser(t, "sip", nil, lkserver.Kind(livekit.ParticipantInfo_SIP))
	h.expect(t, "linked sip")
	ann := joinUser(t, "ann", nil)
	if _, err := r.WaitForParticipant(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	sip.Disconnect()
	h.expect(t, "left sip CLIENT_INITIATED")
	h.expect(t, "linked ann")
	ann.Disconnect()
	h.expect(t, "left ann CLIENT_INITIATED")
	joinUser(t, "bob", nil)
	h.expect(t, "linked bob")
	joinUser(t, "cat", nil)
	r.Link("cat")
	h.expect(t, "linked cat")
}

func TestLeavingClosesTheSession(t *testing.T) {
	r := joinAgent(t, room.SubscribeNone) // see joinQuiet
	h := newHost()
	open(t, r.With(textOnly), h)
	ann := joinUser(t, "ann", nil)
	h.expect(t, "linked ann")
	ann.Disconnect()
	h.expect(t, "left ann CLIENT_INITIATED closes")
}

func TestRemovedParticipantDoesNotCloseTheSession(t *testing.T) {
	r := joinAgent(t)
	h := newHost()
	open(t, r.With(textOnly), h)
	joinUser(t, "ann", nil)
	h.expect(t, "linked ann")
	if _, err := api().RemoveParticipant(t.Context(), &livekit.RoomParticipantIdentity{Room: roomName(t), Identity: "ann"}); err != nil {
		t.Fatal(err)
	}
	h.expect(t, "left ann PARTICIPANT_REMOVED")
}

func TestServerEndsTheRoom(t *testing.T) {
	tests := map[string]struct {
		end    func(ctx context.Context, room string) error
		reason string
	}{
		"deleted": {func(ctx context.Context, name string) error {
			_, err := api().DeleteRoom(ctx, &livekit.DeleteRoomRequest{Room: name})
			return err
		}, "ROOM_DELETED"},
		"removed": {func(ctx context.Context, name string) error {
			_, err := api().RemoveParticipant(ctx, &livekit.RoomParticipantIdentity{Room: name, Identity: "agent"})
			return err
		}, "PARTICIPANT_REMOVED"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := joinAgent(t)
			h := newHost()
			open(t, r.With(textOnly), h)
			if err := tt.end(t.Context(), roomName(t)); err != nil {
				t.Fatal(err)
			}
			next(t, r.Disconnected())
			if got := r.DisconnectReason(); got != tt.reason {
				t.Errorf("reason %q, want %q", got, tt.reason)
			}
			h.expect(t, "disconnected "+tt.reason)
			if _, err := r.Open(t.Context(), newHost()); !errors.Is(err, room.ErrDisconnected) {
				t.Errorf("error %v, want ErrDisconnected", err)
			}
		})
	}
}

func TestLeaveEndsEverything(t *testing.T) {
	r := joinAgent(t)
	h := newHost()
	open(t, r.With(textOnly), h)
	if _, err := r.Open(t.Context(), newHost()); !errors.Is(err, room.ErrInUse) {
		t.Errorf("error %v, want ErrInUse", err)
	}
	if err := r.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	next(t, r.Disconnected())
	h.expect(t, "disconnected CLIENT_INITIATED")
	if err := r.Leave(t.Context()); err != nil {
		t.Errorf("second Leave: %v", err)
	}
	if err := r.SendText(t.Context(), "lk.chat", "late"); !errors.Is(err, room.ErrDisconnected) {
		t.Errorf("error %v, want ErrDisconnected", err)
	}
}

func TestSecondSessionAfterTheFirst(t *testing.T) {
	r := joinAgent(t)
	joinUser(t, "ann", &lksdk.RoomCallback{}) // who listens
	for range 2 {
		h := newHost()
		tr := r.With(room.IOOptions{NoAudioInput: true})
		if _, err := tr.Open(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		h.expectAll(t, "linked ann", "ready")
		if err := tr.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJoinErrors(t *testing.T) {
	_, err := room.Join(t.Context(), room.Options{URL: server.URL(), Token: "rubbish", Logger: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, room.ErrToken) {
		t.Errorf("rubbish token: error %v, want ErrToken", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = room.Join(ctx, room.Options{URL: server.URL(), Token: token(t, "agent"), Logger: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v, want the end of the context", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = room.Join(ctx, room.Options{URL: "ws://192.0.2.1:7880", Token: token(t, "agent"), Logger: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, room.ErrUnreachable) {
		t.Errorf("nobody answers: error %v", err)
	}
}
