package session_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime/scripted"
	"github.com/parley-go/parley/session"
)

// camera shows the same picture, until it is off.
type camera struct{ shown, last int }

func (c *camera) Picture(context.Context) (*chat.Image, error) {
	if c.shown == c.last {
		return nil, io.EOF
	}
	c.shown++
	return &chat.Image{URL: "data:image/jpeg;base64,AAAA"}, nil
}

func TestRealtimeModelSeesTheUser(t *testing.T) {
	for name, tt := range map[string]struct {
		rate          session.VideoRate
		last          int
		blind         bool
		shown, images int
	}{
		// 10 s, of which he speaks 4. The first picture is always taken.
		"as LiveKit":          {last: 100, shown: 6, images: 6},
		"only while he talks": {rate: session.VideoRate{Quiet: opt.Off[float64]()}, last: 100, shown: 6, images: 6},
		"never":               {rate: session.VideoRate{Speaking: opt.Off[float64](), Quiet: opt.Off[float64]()}, last: 100},
		"camera goes off":     {last: 2, shown: 2, images: 2},
		"model is blind":      {last: 100, blind: true, shown: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, m := newRealtimeCall(t, scripted.Options{NoImages: tt.blind, Texts: []string{strings.Repeat("look ", 8)}, Replies: []scripted.Reply{{Text: "I see."}}})
				eye := &camera{last: tt.last}
				c.room.Video, c.opt.Video = eye, tt.rate
				c.start(nil)
				c.room.In.Speak(c.at(3.05), c.at(7.05))
				c.until(10)
				c.close()
				if got := m.Ledger().Images; got != tt.images || eye.shown != tt.shown {
					t.Errorf("the model got %d pictures of %d, want %d of %d", got, eye.shown, tt.images, tt.shown)
				}
			})
		})
	}
}
