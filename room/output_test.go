package room

import (
	"testing"
	"testing/synctest"

	"github.com/livekit/protocol/livekit"

	"github.com/parley-go/parley/session/sessiontest"
)

func TestC120OutputKeepsItsContract(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, err := newOutput(TrackOptions{SampleRate: 24000}, livekit.TrackSource_MICROPHONE)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Player.Close()
		o.start()
		sessiontest.CheckOutput(t, o)
	})
}
