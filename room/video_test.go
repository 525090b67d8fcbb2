package room

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"image"
	"image/color"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"github.com/parley-go/parley/llm/chat"
)

// film is a video track of 10 pictures a second. A key frame comes only when it is asked for.
type film struct {
	key   []byte // what it shows
	lose  int    // packets of key frames that get lost, of the first ones
	asked int

	mu   sync.Mutex
	due  bool // a key frame
	wake chan struct{}
	out  []*rtp.Packet
	rtp  rtp.Packetizer
}

func newFilm(key []byte) *film {
	return &film{key: key, wake: make(chan struct{}),
		rtp: rtp.NewPacketizer(200, 96, 1, &codecs.VP8Payloader{}, rtp.NewFixedSequencer(1), videoRate)}
}

func (f *film) sight() *sight {
	return &sight{identity: "ann", sid: "TR_1", codec: webrtc.MimeTypeVP8, track: f, refresh: func() {
		f.mu.Lock()
		f.due, f.asked = true, f.asked+1
		f.mu.Unlock()
	}}
}

func (f *film) Read(b []byte) (int, interceptor.Attributes, error) {
	f.mu.Lock()
	wake := f.wake
	f.mu.Unlock()
	for len(f.out) == 0 {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-wake:
			return 0, nil, os.ErrDeadlineExceeded
		}
		f.mu.Lock()
		frame := []byte{1, 2, 3} // not a key frame
		lost := false
		if f.due {
			frame, f.due = f.key, false
			lost = f.lose > 0
			f.lose--
		}
		f.out = f.rtp.Packetize(frame, videoRate/10)
		if lost {
			f.out = f.out[:len(f.out)-1]
		}
		f.mu.Unlock()
	}
	p := f.out[0]
	f.out = f.out[1:]
	n, err := p.MarshalTo(b)
	return n, nil, err
}

func (f *film) SetReadDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.IsZero() {
		f.wake = make(chan struct{})
	} else {
		close(f.wake)
	}
	return nil
}

// redBlue is a key frame of 320 x 240: the left half is red, the right one blue.
func redBlue(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/red-blue.vp8")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func seen(t *testing.T, img *chat.Image) image.Image {
	t.Helper()
	text, ok := strings.CutPrefix(img.URL, "data:image/jpeg;base64,")
	data, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil {
		t.Fatalf("picture %.40q: %v", img.URL, err)
	}
	m, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPicturesOfVideo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVideo(slog.New(slog.DiscardHandler))
		f := newFilm(redBlue(t))
		v.attach(f.sight())
		for n := 1; n <= 2; n++ {
			time.Sleep(time.Second) // what comes meanwhile is of no interest
			img, err := v.Picture(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			m := seen(t, img)
			r, _, b, _ := m.At(40, 120).RGBA()
			r2, _, b2, _ := m.At(280, 120).RGBA()
			if m.Bounds() != image.Rect(0, 0, 320, 240) || r < 2*b || b2 < 2*r2 {
				t.Errorf("picture %v: left %x %x, right %x %x", m.Bounds(), r, b, r2, b2)
			}
			if f.asked != n {
				t.Errorf("key frames were asked for %d times, want %d", f.asked, n)
			}
		}
		v.close()
		if _, err := v.Picture(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestKeyFrameThatIsLostIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVideo(slog.New(slog.DiscardHandler))
		defer v.close()
		f := newFilm(redBlue(t))
		f.lose = 2
		v.attach(f.sight())
		img, err := v.Picture(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if seen(t, img); f.asked != 3 {
			t.Errorf("asked %d times, want 3", f.asked)
		}
	})
}

func TestPictureWaitsForATrack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVideo(slog.New(slog.DiscardHandler))
		defer v.close()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := v.Picture(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a track: %v", err)
		}
		dark := newFilm(redBlue(t))
		dark.lose = 1 << 30
		h264 := newFilm(redBlue(t)).sight()
		h264.codec = webrtc.MimeTypeH264
		go func() {
			for _, s := range []*sight{h264, dark.sight(), nil, newFilm(redBlue(t)).sight()} {
				time.Sleep(time.Second)
				v.attach(s)
			}
		}()
		img, err := v.Picture(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen(t, img)
	})
}

func TestVideoThatIsRubbish(t *testing.T) {
	good := redBlue(t)
	huge := bytes.Clone(good)
	copy(huge[6:], []byte{0xff, 0x3f, 0xff, 0x3f}) // 16383 x 16383
	none := bytes.Clone(good)
	copy(none[6:], []byte{0, 0, 0, 0})
	v := newVideo(slog.New(slog.DiscardHandler))
	for name, frame := range map[string][]byte{"nothing": nil, "short": good[:8], "cut": good[:len(good)/2], "huge": huge, "empty": none, "zeros": make([]byte, 100)} {
		if img, err := v.decode(frame); err == nil {
			t.Errorf("%s is a picture of %d bytes", name, len(img.URL))
		}
	}
	for i := range good { // errors or pictures, no panics
		bad := bytes.Clone(good)
		bad[i] ^= 0xff
		_, err := v.decode(bad)
		if err != nil && strings.Contains(err.Error(), "panic") {
			t.Logf("byte %d: %v", i, err)
		}
	}
	if _, err := v.decode(good); err != nil {
		t.Errorf("the next good one: %v", err)
	}
}

func TestLargePicturesAreMadeSmaller(t *testing.T) {
	for _, tt := range []struct{ w, h, toW, toH int }{
		{1024, 1024, 1024, 1024}, {1920, 1080, 1024, 576}, {1080, 1920, 576, 1024}, {4000, 1, 1024, 1}, {1, 4000, 1, 1024},
	} {
		m := image.NewYCbCr(image.Rect(0, 0, tt.w, tt.h), image.YCbCrSubsampleRatio420)
		got := fit(m)
		if got.Bounds() != image.Rect(0, 0, tt.toW, tt.toH) {
			t.Errorf("%d x %d becomes %v", tt.w, tt.h, got.Bounds())
		}
		if c := color.GrayModel.Convert(got.At(0, 0)).(color.Gray); c.Y > 140 {
			t.Errorf("%d x %d becomes bright: %v", tt.w, tt.h, c)
		}
	}
}
