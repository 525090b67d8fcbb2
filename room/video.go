package room

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/samplebuilder"
	"golang.org/x/image/draw"
	"golang.org/x/image/vp8"

	"github.com/parley-go/parley/llm/chat"
)

const (
	// maxSide is how many pixels wide and high pictures are at most; larger ones are made smaller.
	maxSide = 1024
	// maxPixels is the size of a video that is decoded at most: what the peer states costs memory.
	maxPixels = 3840 * 2160
	// askAgain is how long a key frame may take before it is asked for again.
	askAgain = time.Second
	// latePackets and lateTime are how long a packet is waited for that others have overtaken.
	latePackets = 256
	lateTime    = 200 * time.Millisecond
	videoRate   = 90_000
	quality     = 75 // of JPEG
)

// sight is a video track of somebody else.
type sight struct {
	identity string
	sid      string
	codec    string
	track    rtpTrack
	shrink   func() // has the server send it no larger than is of use
	refresh  func() // asks for a key frame
}

// video makes pictures of what is attached. It implements session.VideoInput.
//
// Nothing but key frames is decoded, which needs no state, and they are asked for when a picture is wanted.
type video struct {
	log *slog.Logger

	mu      sync.Mutex
	from    *watch        // nil while nothing is attached
	changed chan struct{} // closed when from changes
	closed  bool

	decoder *vp8.Decoder // of who calls Picture
}

func newVideo(log *slog.Logger) *video {
	return &video{log: log, changed: make(chan struct{}), decoder: vp8.NewDecoder()}
}

// attach looks at s from now on; nil is nothing.
func (v *video) attach(s *sight) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.from != nil {
		v.from.close()
		v.from = nil
	}
	switch {
	case s == nil || v.closed:
	case s.codec != webrtc.MimeTypeVP8:
		v.log.Warn("a video cannot be shown to the model: it is not VP8", "codec", s.codec, "track", s.sid)
	default:
		v.from = newWatch(s, v.log)
	}
	close(v.changed)
	v.changed = make(chan struct{})
}

// close ends the input: Picture returns io.EOF from now on.
func (v *video) close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.attach(nil)
}

// Picture implements session.VideoInput. It is a JPEG of at most 1024 pixels in width and height.
func (v *video) Picture(ctx context.Context) (*chat.Image, error) {
	for {
		v.mu.Lock()
		from, changed, closed := v.from, v.changed, v.closed
		v.mu.Unlock()
		if closed {
			return nil, io.EOF
		}
		frame, err := from.next(ctx, changed)
		if err != nil {
			return nil, err
		}
		if frame == nil { // another track
			continue
		}
		img, err := v.decode(frame)
		if err != nil {
			v.log.Warn("a picture of the video is left out", "err", err)
			continue
		}
		return img, nil
	}
}

func (v *video) decode(frame []byte) (_ *chat.Image, err error) {
	defer func() {
		if p := recover(); p != nil { // what a peer sent must not end the process
			err = fmt.Errorf("decode video: panic: %v", p)
		}
	}()
	v.decoder.Init(bytes.NewReader(frame), len(frame))
	head, err := v.decoder.DecodeFrameHeader()
	if err != nil {
		return nil, fmt.Errorf("decode video: %w", err)
	}
	if head.Width*head.Height > maxPixels || head.Width*head.Height == 0 {
		return nil, fmt.Errorf("decode video: %d x %d pixels", head.Width, head.Height)
	}
	picture, err := v.decoder.DecodeFrame()
	if err != nil {
		return nil, fmt.Errorf("decode video: %w", err)
	}
	var out bytes.Buffer
	out.WriteString("data:image/jpeg;base64,")
	text := base64.NewEncoder(base64.StdEncoding, &out)
	if err := jpeg.Encode(text, fit(picture), &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("encode picture: %w", err)
	}
	_ = text.Close() // a buffer takes everything
	return &chat.Image{URL: out.String(), MIMEType: "image/jpeg"}, nil
}

// fit makes a picture as small as it has to be.
func fit(m image.Image) image.Image {
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	if w <= maxSide && h <= maxSide {
		return m
	}
	if w > h {
		w, h = maxSide, max(h*maxSide/w, 1)
	} else {
		w, h = max(w*maxSide/h, 1), maxSide
	}
	small := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.ApproxBiLinear.Scale(small, small.Bounds(), m, m.Bounds(), draw.Src, nil)
	return small
}

// watch reads a video track, since nobody else does, and picks key frames when they are wanted.
type watch struct {
	of     *sight
	wanted atomic.Bool
	frames chan []byte // size 1: one is wanted at a time; a second one is dropped
	stop   atomic.Bool
	done   chan struct{} // closed when the track is not read any more
}

// newWatch starts to read s. It ends with its track or by close.
func newWatch(s *sight, log *slog.Logger) *watch {
	w := &watch{of: s, frames: make(chan []byte, 1), done: make(chan struct{})}
	go w.run(log)
	return w
}

// next waits for the next key frame; nil when changed is closed first. A nil watch has none.
func (w *watch) next(ctx context.Context, changed <-chan struct{}) ([]byte, error) {
	var frames chan []byte
	var again <-chan time.Time
	if w != nil {
		select {
		case <-w.frames: // came after the one before
		default:
		}
		w.wanted.Store(true)
		w.of.refresh()
		t := time.NewTicker(askAgain)
		defer t.Stop()
		frames, again = w.frames, t.C
	}
	for {
		select {
		case f := <-frames:
			return f, nil
		case <-again:
			w.of.refresh()
		case <-changed:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (w *watch) run(log *slog.Logger) {
	defer close(w.done)
	defer func() {
		if v := recover(); v != nil { // what a peer sent must not end the process
			log.Error("panic while receiving video", "panic", v)
		}
	}()
	var frames *samplebuilder.SampleBuilder // nil while none is wanted
	buf := make([]byte, maxPacket)
	for {
		n, _, err := w.of.track.Read(buf)
		if err != nil || w.stop.Load() {
			return
		}
		if !w.wanted.Load() {
			frames = nil
			continue
		}
		if frames == nil {
			frames = samplebuilder.New(latePackets, &codecs.VP8Packet{}, videoRate, samplebuilder.WithMaxTimeDelay(lateTime))
		}
		pkt := &rtp.Packet{}
		if pkt.Unmarshal(bytes.Clone(buf[:n])) != nil {
			continue
		}
		frames.Push(pkt)
		for s := frames.Pop(); s != nil; s = frames.Pop() {
			if isKeyFrame(s.Data) && w.wanted.Swap(false) {
				select {
				case w.frames <- s.Data:
				default: // nobody took the last one
				}
			}
		}
	}
}

// isKeyFrame: RFC 6386, 9.1.
func isKeyFrame(vp8 []byte) bool { return len(vp8) > 0 && vp8[0]&1 == 0 }

// close stops reading and waits until it has.
func (w *watch) close() {
	w.stop.Store(true)
	_ = w.of.track.SetReadDeadline(time.Now()) // wakes it
	<-w.done
	_ = w.of.track.SetReadDeadline(time.Time{})
}
