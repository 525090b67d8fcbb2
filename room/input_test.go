package room

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/audio/opus"
)

// fakeTrack sends a tone in packets of 20 ms until its read deadline, or forever.
type fakeTrack struct {
	hz   float64
	ssrc uint32

	enc opus.Encoder
	seq uint16
	buf [opus.MaxBytes]byte

	mu   sync.Mutex
	wake chan struct{} // closed by a deadline in the past
}

func newFakeTrack(t *testing.T, hz float64, ssrc uint32) *fakeTrack {
	t.Helper()
	enc, err := opus.NewEncoder(opus.EncoderConfig{Application: opus.Synthesis})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(enc.Close)
	return &fakeTrack{hz: hz, ssrc: ssrc, enc: enc, wake: make(chan struct{})}
}

func (f *fakeTrack) Read(b []byte) (int, interceptor.Attributes, error) {
	f.mu.Lock()
	wake := f.wake
	f.mu.Unlock()
	select {
	case <-time.After(20 * time.Millisecond):
	case <-wake:
		return 0, nil, os.ErrDeadlineExceeded
	}
	var pcm [opus.FrameSamples]int16
	for i := range pcm {
		pcm[i] = int16(16384 * math.Sin(2*math.Pi*f.hz*float64(int(f.seq)*opus.FrameSamples+i)/opus.Rate))
	}
	n, err := f.enc.Encode(f.buf[:], pcm[:])
	if err != nil {
		return 0, nil, err
	}
	p := rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: f.seq, Timestamp: uint32(f.seq) * opus.FrameSamples, SSRC: f.ssrc}, Payload: f.buf[:n]}
	f.seq++
	n, err = p.MarshalTo(b)
	return n, nil, err
}

func (f *fakeTrack) SetReadDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.IsZero() {
		f.wake = make(chan struct{})
	} else {
		close(f.wake)
	}
	return nil
}

// TestInputIsAClock listens to nobody, to one track, to another one and to nobody again.
func TestInputIsAClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, err := newInput(24000, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		one, two := newFakeTrack(t, 400, 1), newFakeTrack(t, 600, 2)
		start := time.Now()
		go func() {
			time.Sleep(1010 * time.Millisecond)
			in.attach(one)
			time.Sleep(time.Second)
			in.attach(two)
			time.Sleep(time.Second)
			in.detach()
			time.Sleep(time.Second)
			in.close()
		}()
		var heard, loud time.Duration
		for {
			f, err := in.ReadFrame(t.Context())
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			heard += f.Duration()
			if audio.RMS(f.Data) > 0.1 {
				loud += f.Duration()
			}
			if d := time.Since(start) - heard; d < -200*time.Millisecond || d > 200*time.Millisecond {
				t.Fatalf("after %v, %v were heard", time.Since(start), heard)
			}
		}
		if loud < 1800*time.Millisecond || loud > 2200*time.Millisecond {
			t.Errorf("the two tracks of a second each are heard for %v", loud)
		}
	})
}

func TestReadFrameEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, err := newInput(24000, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := in.ReadFrame(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the end of the context", err)
		}
		in.close()
		in.close()
		in.attach(newFakeTrack(t, 400, 1))
		if _, err := in.ReadFrame(t.Context()); err != io.EOF {
			t.Errorf("error %v, want io.EOF", err)
		}
	})
}

// rubbish sends what is no RTP, and then ends.
type rubbish struct{ n int }

func (r *rubbish) Read(b []byte) (int, interceptor.Attributes, error) {
	if r.n++; r.n > 100 {
		return 0, nil, io.EOF
	}
	for i := range b[:r.n] {
		b[i] = byte(i * r.n)
	}
	return r.n, nil, nil
}

func (*rubbish) SetReadDeadline(time.Time) error { return nil }

func TestInputGoesOnAfterRubbish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, err := newInput(24000, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer in.close()
		in.attach(&rubbish{})
		time.Sleep(time.Second)
		in.attach(newFakeTrack(t, 440, 7))
		heard := 0
		for range 300 {
			f, err := in.ReadFrame(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if audio.RMS(f.Data) > 0.3 {
				heard++
			}
		}
		if heard < 150 {
			t.Errorf("the track after the rubbish is heard in %d of 300 frames", heard)
		}
	})
}

func BenchmarkReceivePacket(b *testing.B) {
	b.ReportAllocs()
	in, err := newInput(24000, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer in.close()
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer enc.Close()
	var buf [opus.MaxBytes]byte
	n, err := enc.Encode(buf[:], make([]int16, opus.FrameSamples))
	if err != nil {
		b.Fatal(err)
	}
	raw, err := (&rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 1}, Payload: buf[:n]}).Marshal()
	if err != nil {
		b.Fatal(err)
	}
	var pkt rtp.Packet
	seq := uint16(0)
	for b.Loop() {
		raw[2], raw[3] = byte(seq>>8), byte(seq)
		ts := uint32(seq) * opus.FrameSamples
		raw[4], raw[5], raw[6], raw[7] = byte(ts>>24), byte(ts>>16), byte(ts>>8), byte(ts)
		seq++
		if err := pkt.Unmarshal(raw); err != nil {
			b.Fatal(err)
		}
		in.Push(&pkt, time.Now())
		if _, err := in.ReadFrame(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
