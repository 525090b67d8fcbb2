package room

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/audio/opus"
	"github.com/parley-go/parley/session"
)

// trackName is the name of the agent's track, as LiveKit's clients know it.
const trackName = "roomio_audio"

// output is a track of ours and the player that feeds it: the agent's voice, for which it implements
// session.AudioOutput, or a Track. Until somebody has subscribed to its track, it holds playback as if
// paused: nobody would hear the first words.
type output struct {
	*audio.Player
	track  *lksdk.LocalTrack
	name   string
	source livekit.TrackSource
	sid    atomic.Pointer[string] // of the publication; another one after a full reconnect

	mu      sync.Mutex
	started bool // somebody can hear us
	paused  bool // the session paused us
}

// newVoice makes the output for the agent's voice.
func newVoice(rate int) (*output, error) {
	return newOutput(TrackOptions{Name: trackName, SampleRate: rate}, livekit.TrackSource_MICROPHONE)
}

func newOutput(o TrackOptions, source livekit.TrackSource) (*output, error) {
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{
		MimeType:  webrtc.MimeTypeOpus,
		ClockRate: 48_000,
		Channels:  2, // Opus is always announced as stereo; the packets are mono
	})
	if err != nil {
		return nil, fmt.Errorf("audio track: %w", err)
	}
	player, err := audio.NewPlayer(trackWriter{track}, &audio.PlayerOptions{
		SampleRate: o.SampleRate,
		Queue:      o.Queue,
		Encoder:    opus.EncoderConfig{Application: opus.Synthesis},
	})
	if err != nil {
		return nil, err
	}
	player.Pause()
	return &output{Player: player, track: track, name: o.Name, source: source}, nil
}

// trackWriter sends the packets of a player over a track.
type trackWriter struct{ track *lksdk.LocalTrack }

// WritePacket implements audio.PacketWriter. The level makes us an active speaker. Until the track
// is negotiated the SDK drops packets without a word, but nothing is played before that.
func (w trackWriter) WritePacket(p audio.Packet) error {
	return w.track.WriteSample(
		media.Sample{Data: p.Data, Duration: p.Duration, Timestamp: p.At},
		&lksdk.SampleWriteOptions{AudioLevel: &p.Level},
	)
}

// Write implements session.AudioOutput.
func (o *output) Write(ctx context.Context, f audio.Frame) error {
	err := o.Player.Write(ctx, f)
	if errors.Is(err, audio.ErrCleared) {
		return session.ErrCleared
	}
	return err
}

// Notify implements session.AudioOutput.
func (o *output) Notify(f func(session.PlaybackEvent)) {
	o.Player.Notify(func(e audio.PlaybackEvent) { f(session.PlaybackEvent(e)) })
}

// Pause implements session.AudioOutput.
func (o *output) Pause() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.paused = true
	o.Player.Pause()
}

// Resume implements session.AudioOutput.
func (o *output) Resume() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.paused = false
	if o.started {
		o.Player.Resume()
	}
}

// start lets playback begin.
func (o *output) start() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.started = true
	if !o.paused {
		o.Player.Resume()
	}
}

// local is the track that is published.
func (o *output) local() webrtc.TrackLocal { return o.track }

// trackSID is LiveKit's id of the published track, "" before.
func (o *output) trackSID() string {
	if sid := o.sid.Load(); sid != nil {
		return *sid
	}
	return ""
}

// publish publishes the track.
func (o *output) publish(ctx context.Context, p *lksdk.LocalParticipant) error {
	type result struct {
		pub *lksdk.LocalTrackPublication
		err error
	}
	published := make(chan result, 1)
	go func() { // ends within the SDK's own timeout of 10 s
		pub, err := p.PublishTrack(o.track, &lksdk.TrackPublicationOptions{
			Name:       o.name,
			Source:     o.source,
			DisableDTX: true, // silence is not sent at all
		})
		if err == nil && ctx.Err() != nil { // nobody waits any more
			_ = p.UnpublishTrack(pub.SID())
		}
		published <- result{pub, err}
	}()
	select {
	case r := <-published:
		if r.err != nil {
			return fmt.Errorf("publish audio track: %w", r.err)
		}
		sid := r.pub.SID()
		o.sid.Store(&sid)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("publish audio track: %w", context.Cause(ctx))
	}
}

// close ends the player and takes the track out of the room. An open segment finishes as
// interrupted.
func (o *output) close(ctx context.Context, p *lksdk.LocalParticipant) {
	_ = o.Player.Close() // never fails
	o.unpublish(ctx, p)
}

// unpublish takes the track out of the room.
func (o *output) unpublish(ctx context.Context, p *lksdk.LocalParticipant) {
	sid := o.trackSID()
	if sid == "" {
		return
	}
	done := make(chan struct{})
	go func() { // sends one message
		defer close(done)
		_ = p.UnpublishTrack(sid) // fails when the room is over, and the track with it
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
