package lkserver_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/parley-go/parley/internal/lkserver"
)

func TestParticipantsJoinWithTokens(t *testing.T) {
	token, err := server.Token("ann", t.Name(), lkserver.Agent(), lkserver.Attributes(map[string]string{"k": "v"}))
	if err != nil {
		t.Fatal(err)
	}
	room, err := lksdk.ConnectToRoomWithToken(server.URL(), token, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer room.Disconnect()
	api := lksdk.NewRoomServiceClient(strings.Replace(server.URL(), "ws", "http", 1), server.APIKey(), server.APISecret())
	res, err := api.ListParticipants(t.Context(), &livekit.ListParticipantsRequest{Room: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(res.Participants); n != 1 {
		t.Fatalf("%d participants, want 1", n)
	}
	p := res.Participants[0]
	if p.Identity != "ann" || p.Kind != livekit.ParticipantInfo_AGENT || p.Attributes["k"] != "v" {
		t.Fatalf("joined as %v", p)
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	if _, err := lkserver.Start(t.Context(), lkserver.Options{}); !errors.Is(err, lkserver.ErrStarted) {
		t.Fatalf("error %v, want ErrStarted", err)
	}
}

func TestPortInUseIsRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = lkserver.Start(t.Context(), lkserver.Options{Port: l.Addr().(*net.TCPAddr).Port})
	if !errors.Is(err, lkserver.ErrPortInUse) {
		t.Fatalf("error %v, want ErrPortInUse", err)
	}
}

func TestShortSecretIsRefused(t *testing.T) {
	_, err := lkserver.Start(t.Context(), lkserver.Options{APISecret: "short"})
	if err == nil || strings.Contains(err.Error(), `"short"`) {
		t.Fatalf("error %v, want one that does not tell the secret", err)
	}
}

func TestWrongTokenIsRefused(t *testing.T) {
	_, err := lksdk.ConnectToRoomWithToken(server.URL(), "rubbish", nil, lksdk.WithConnectTimeout(5*time.Second))
	if err == nil || !strings.Contains(err.Error(), "unauthorized") {
		t.Fatalf("error %v, want unauthorized", err)
	}
}
