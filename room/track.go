package room

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/parley-go/parley/audio"
)

// TrackOptions are the settings of PublishTrack.
type TrackOptions struct {
	Name       string        // of the track; required
	SampleRate int           // of what is written, in Hz; default 24000
	Queue      time.Duration // how much audio may wait to be sent; default 200 ms, at least 40 ms
}

// extraSource is the source of extra tracks. It is the only one for audio that is no microphone and that
// the SDK lets through; clients and telephone lines play it, nobody takes it for the agent's voice, and the
// server makes nobody an active speaker for it.
const extraSource = livekit.TrackSource_SCREEN_SHARE_AUDIO

// Track is an audio track of ours beside the agent's voice, such as sounds in the background. Its source
// is SCREEN_SHARE_AUDIO, and it makes nobody an active speaker. It ends by Close or with the room; a full
// reconnect publishes it again. The methods may be called from any goroutine.
type Track struct {
	room *Room
	out  *output
	stop func() bool // forgets to end it with the room
}

// PublishTrack publishes an audio track. ctx bounds that. The caller closes the track.
func (r *Room) PublishTrack(ctx context.Context, o TrackOptions) (*Track, error) {
	if o.Name == "" {
		return nil, errors.New("publish track: it has no name")
	}
	out, err := newOutput(o, extraSource)
	if err != nil {
		return nil, fmt.Errorf("publish track %q: %w", o.Name, err)
	}
	t := &Track{room: r, out: out}
	t.stop = context.AfterFunc(r.ctx, func() { _ = out.Player.Close() }) // never fails
	err = r.do(ctx, func() { r.tracks = append(r.tracks, t) })
	if err == nil {
		err = out.publish(ctx, r.sdk.LocalParticipant)
	}
	if err != nil {
		_ = t.Close(ctx) // the other error says more
		return nil, fmt.Errorf("publish track %q: %w", o.Name, err)
	}
	return t, nil
}

// SampleRate is the rate, in Hz and one channel, that Write wants.
func (t *Track) SampleRate() int { return t.out.SampleRate() }

// Write queues audio (borrowed). It waits while the queue is full, and as long as nobody has subscribed
// to the track nothing of it is sent. It fails when ctx ends, and with audio.ErrClosed when the track or
// the room is over.
func (t *Track) Write(ctx context.Context, f audio.Frame) error { return t.out.Player.Write(ctx, f) }

// Close drops what is queued and takes the track out of the room. When ctx ends before, it returns its
// error, and the rest is done by the end of the room. It may be called more than once.
func (t *Track) Close(ctx context.Context) error {
	t.stop()
	forget := func() { t.room.tracks = slices.DeleteFunc(t.room.tracks, func(x *Track) bool { return x == t }) }
	_ = t.room.do(ctx, forget) // fails when the room is over: then nobody looks at them any more
	t.out.close(ctx, t.room.sdk.LocalParticipant)
	return context.Cause(ctx)
}

// startIf lets playback begin if somebody can hear it. It runs on the dispatcher.
func (t *Track) startIf(heard bool) {
	if heard {
		t.out.start()
	}
}
