package roomtest

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/room"
	"github.com/parley-go/parley/session"
)

// film publishes a camera that shows the same picture ten times a second, until the end of the test.
func film(t *testing.T, r *lksdk.Room, source livekit.TrackSource) {
	t.Helper()
	frame, err := os.ReadFile("../../../room/testdata/red-blue.vp8")
	if err != nil {
		t.Fatal(err)
	}
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.LocalParticipant.PublishTrack(track, &lksdk.TrackPublicationOptions{Name: "camera", Source: source, VideoWidth: 320, VideoHeight: 240})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = track.WriteSample(media.Sample{Data: frame, Duration: 100 * time.Millisecond}, nil) // lost until somebody looks
			case <-ctx.Done():
				return
			}
		}
	}()
}

func picture(t *testing.T, in session.VideoInput) *chat.Image {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	img, err := in.Picture(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestVideoOfThePersonIsSeen(t *testing.T) {
	if raced {
		t.Skip("the LiveKit server races with itself over the layers of a video")
	}
	for name, subscribe := range map[string]room.Subscribe{"subscribed by the server": room.SubscribeAll, "subscribed by the room": room.SubscribeNone} {
		t.Run(name, func(t *testing.T) {
			r := joinAgent(t, subscribe)
			h := newHost()
			io := open(t, r.With(room.IOOptions{NoAudioInput: true, NoAudioOutput: true, VideoInput: true}), h)
			ann := joinUser(t, "ann", nil)
			h.expect(t, "linked ann")
			film(t, ann, livekit.TrackSource_CAMERA)
			for range 2 {
				if img := picture(t, io.VideoIn); !strings.HasPrefix(img.URL, "data:image/jpeg;base64,") {
					t.Errorf("picture %.40q", img.URL)
				}
			}
		})
	}
}

func TestVideoIsOffByDefault(t *testing.T) {
	r := joinAgent(t)
	io := open(t, r, newHost())
	if io.VideoIn != nil {
		t.Error("a room without VideoInput shows video")
	}
}
