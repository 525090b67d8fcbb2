package audio

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/parley-go/parley/audio/opus"
)

// track makes the RTP packets of mono audio at 48 kHz.
func track(t testing.TB, pcm []int16, cfg opus.EncoderConfig) []*rtp.Packet {
	t.Helper()
	enc, err := opus.NewEncoder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	buf := make([]byte, opus.MaxBytes)
	var out []*rtp.Packet
	for i := 0; (i+1)*opus.FrameSamples <= len(pcm); i++ {
		n, err := enc.Encode(buf, pcm[i*opus.FrameSamples:][:opus.FrameSamples])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rtpPacket(i, bytes.Clone(buf[:n])))
	}
	return out
}

// rtpPacket is packet i of a track of packets of 20 ms, whose numbers wrap soon.
func rtpPacket(i int, payload []byte) *rtp.Packet {
	return &rtp.Packet{
		Header: rtp.Header{
			Version: 2, PayloadType: 111, SSRC: 7,
			SequenceNumber: uint16(65500 + i),
			Timestamp:      uint32(math.MaxUint32 - 20000 + i*opus.FrameSamples),
		},
		Payload: payload,
	}
}

func newTestReceiver(t testing.TB, opts *ReceiverOptions) *Receiver {
	t.Helper()
	r, err := NewReceiver(opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// heard reads frames in a goroutine until the receiver is closed.
type heard struct {
	pcm  []int16
	at   []time.Time // of each frame
	done chan struct{}
	err  error
}

func listen(t *testing.T, r *Receiver) *heard {
	h := &heard{done: make(chan struct{})}
	go func() {
		defer close(h.done)
		for {
			f, err := r.ReadFrame(t.Context())
			if err != nil {
				h.err = err
				return
			}
			if f.Channels != 1 || f.Duration() != frameDuration {
				h.err = errors.New("a frame is not 20 ms of mono")
				return
			}
			h.pcm = append(h.pcm, f.Data...)
			h.at = append(h.at, time.Now())
		}
	}()
	return h
}

// end closes the receiver and returns when the reader has seen it.
func (h *heard) end(t *testing.T, r *Receiver) {
	t.Helper()
	r.Close()
	<-h.done
	if !errors.Is(h.err, io.EOF) {
		t.Errorf("the reader ended with %v, want io.EOF", h.err)
	}
}

// likeness finds want in got near the place it should be, and is how many dB the difference is below it.
func likeness(want, got []int16, from, to int) (best float64, at int) {
	best = math.Inf(-1)
	for shift := from; shift <= to && shift+len(want) <= len(got); shift++ {
		var signal, noise float64
		for i, s := range want {
			d := float64(s) - float64(got[i+shift])
			signal += float64(s) * float64(s)
			noise += d * d
		}
		if db := 10 * math.Log10(signal/(noise+1)); db > best {
			best, at = db, shift
		}
	}
	return best, at
}
