package capacity

import (
	"context"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"github.com/parley-go/parley/audio/opus"
)

// A caller speaks for so long, and is silent until the next round.
const (
	speaks = 2 * time.Second
	round  = 8 * time.Second
	packet = 20 * time.Millisecond
)

// utterance are the packets of a round, made once: callers are many, and are to cost little.
func utterance() ([][]byte, error) {
	e, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	const rate = 48000
	pcm := make([]int16, rate/50)
	var out [][]byte
	for at := time.Duration(0); at < round; at += packet {
		for i := range pcm {
			pcm[i] = 0
			if at < speaks {
				n := int(at/packet)*len(pcm) + i
				pcm[i] = int16(12000 * math.Sin(2*math.Pi*300*float64(n)/rate))
			}
		}
		buf := make([]byte, 1500)
		n, err := e.Encode(buf, pcm)
		if err != nil {
			return nil, err
		}
		out = append(out, buf[:n])
	}
	return out, nil
}

// caller is one who calls: his packets are ready, and those of the agent are counted.
type caller struct {
	room  *lksdk.Room
	heard atomic.Int64 // packets
	lost  atomic.Int64
}

func dial(url, token string) (*caller, error) {
	c := &caller{}
	cb := lksdk.NewRoomCallback()
	cb.OnTrackSubscribed = func(t *webrtc.TrackRemote, _ *lksdk.RemoteTrackPublication, _ *lksdk.RemoteParticipant) {
		go c.listen(t) // ends with the track
	}
	r, err := lksdk.ConnectToRoomWithToken(url, token, cb)
	c.room = r
	return c, err
}

func (c *caller) listen(t *webrtc.TrackRemote) {
	last, any := uint16(0), false
	for {
		p, _, err := t.ReadRTP()
		if err != nil {
			return
		}
		c.heard.Add(1)
		if gap := p.SequenceNumber - last - 1; any && gap < 1000 {
			c.lost.Add(int64(gap))
		}
		last, any = p.SequenceNumber, true
	}
}

// speak sends packets over and over until ctx ends.
func (c *caller) speak(ctx context.Context, packets [][]byte) error {
	track, err := lksdk.NewLocalSampleTrack(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2})
	if err != nil {
		return err
	}
	if _, err := c.room.LocalParticipant.PublishTrack(track, &lksdk.TrackPublicationOptions{Name: "mic"}); err != nil {
		return err
	}
	tick := time.NewTicker(packet)
	defer tick.Stop()
	for i := rand.IntN(len(packets)); ; i++ { // callers do not speak in chorus
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := track.WriteSample(media.Sample{Data: packets[i%len(packets)], Duration: packet}, nil); err != nil {
			return err
		}
	}
}
