package session

import (
	"errors"
	"io"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
)

// VideoRate is how many pictures of the user's video a realtime model gets in a second.
type VideoRate struct {
	Speaking opt.Value[float64] // while the user speaks: default 1; off: none
	Quiet    opt.Value[float64] // while he does not: default 0.3; off: none
}

const (
	defaultSpeakingRate = 1
	defaultQuietRate    = 0.3
	// videoTick is how exactly a picture is on time.
	videoTick = 100 * time.Millisecond
)

// showVideo hands pictures of what the user shows to the realtime model, until the end of the video or of the session.
func (r *run) showVideo() {
	o := r.opt.Video
	sampler := realtime.NewSampler(o.Speaking.Default(defaultSpeakingRate), o.Quiet.Default(defaultQuietRate))
	t := time.NewTicker(videoTick)
	defer t.Stop()
	var blind *converser // cannot see
	for {
		select {
		case <-t.C:
		case <-r.ctx.Done():
			return
		}
		if c := r.conv.Load(); c == nil || c == blind || !sampler.Keep(r.s.UserState() == agent.UserSpeaking) {
			continue
		}
		img, err := r.io.VideoIn.Picture(r.ctx)
		if err != nil {
			if r.ctx.Err() == nil && !errors.Is(err, io.EOF) {
				r.log.Warn("the realtime model sees the user no more", "err", err)
			}
			return
		}
		c := r.conv.Load()
		if c == nil {
			continue
		}
		if err := c.s.PushImage(img); errors.Is(err, realtime.ErrUnsupported) {
			blind = c
			r.log.Warn("the realtime model cannot see: it does not get the user's video", "model", c.s.Info().Model)
		}
	}
}
