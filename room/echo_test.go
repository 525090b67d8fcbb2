package room

import (
	"reflect"
	"testing"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/server-sdk-go/v2/signalling"
)

// signal has the SDK handle a leave as if the server had sent it.
func signal(t *testing.T, r *Room, action livekit.LeaveRequest_Action, reason livekit.DisconnectReason) {
	t.Helper()
	h := settable(reflect.ValueOf(r.engine).Elem().FieldByName("signalHandler")).Interface().(signalling.SignalHandler)
	leave := &livekit.LeaveRequest{Action: action, Reason: reason}
	if err := h.HandleMessage(&livekit.SignalResponse{Message: &livekit.SignalResponse_Leave{Leave: leave}}); err != nil {
		t.Fatal(err)
	}
}

func TestAnswerToOurLeaveDoesNotEndTheRoom(t *testing.T) {
	r := newTestRoom(t)
	signal(t, r, livekit.LeaveRequest_DISCONNECT, livekit.DisconnectReason_CLIENT_INITIATED)
	if reason := r.DisconnectReason(); reason != "" {
		t.Fatalf("the room ended: %s", reason)
	}
	signal(t, r, livekit.LeaveRequest_DISCONNECT, livekit.DisconnectReason_ROOM_DELETED)
	if reason := r.DisconnectReason(); reason != "ROOM_DELETED" {
		t.Errorf("reason %q, want ROOM_DELETED", reason)
	}
}

func TestAnswerToLeavingForGoodEndsTheRoom(t *testing.T) {
	r := newTestRoom(t)
	r.joined.Store(true)
	r.SDK().Disconnect()
	signal(t, r, livekit.LeaveRequest_DISCONNECT, livekit.DisconnectReason_CLIENT_INITIATED)
	if reason := r.DisconnectReason(); reason != "CLIENT_INITIATED" {
		t.Errorf("reason %q, want CLIENT_INITIATED", reason)
	}
}
