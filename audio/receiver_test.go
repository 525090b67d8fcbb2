package audio

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/thesyncim/gopus"
	"pgregory.net/rapid"

	"github.com/parley-go/parley/audio/internal/testaudio"
	"github.com/parley-go/parley/audio/opus"
)

// feed pushes packets at their real pace; order may leave some out, or change their order.
func feed(r *Receiver, packets []*rtp.Packet, order func(i int) []int) {
	for i := range packets {
		for _, k := range order(i) {
			r.Push(packets[k], time.Now())
		}
		time.Sleep(frameDuration)
	}
}

func inOrder(i int) []int { return []int{i} }

func TestReceiverGivesTheVoice(t *testing.T) {
	for _, rate := range []int{16000, 24000, 48000} {
		synctest.Test(t, func(t *testing.T) {
			pcm := testaudio.Speech48(t)
			packets := track(t, pcm, opus.EncoderConfig{})
			r := newTestReceiver(t, &ReceiverOptions{SampleRate: rate})
			h := listen(t, r)
			feed(r, packets, inOrder)
			h.end(t, r)
			want := newTestResampler(t, 48000, rate, 1, Fast).Process(nil, pcm[:len(pcm)-48000])
			db, at := likeness(want, h.pcm, 0, rate/20)
			if db < 20 {
				t.Errorf("%d Hz: the voice is there to %.1f dB at %d, want 20", rate, db, at)
			}
			if len(h.at) != len(packets) {
				t.Errorf("%d Hz: %d frames for %d packets", rate, len(h.at), len(packets))
			}
			if got, want := r.Stats(), (ReceiverStats{Received: int64(len(packets))}); got != want {
				t.Errorf("stats %+v, want %+v", got, want)
			}
		})
	}
}

func TestReceiverDoesNotDelayAStreamWithoutGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		packets := track(t, make([]int16, 48000), opus.EncoderConfig{})
		r := newTestReceiver(t, nil)
		h := listen(t, r)
		start := time.Now()
		feed(r, packets, inOrder)
		h.end(t, r)
		for i, at := range h.at {
			if d := at.Sub(start) - time.Duration(i)*frameDuration; d != 0 {
				t.Fatalf("frame %d was given %v after its packet", i, d)
			}
		}
	})
}

// TestReceiverDoesNotDelayAStreamAfterAGap has gaps that are no whole frames, noticed as silence or not, and
// with packets lost or not. A rest in the receiver would be the delay of everything that comes later.
func TestReceiverDoesNotDelayAStreamAfterAGap(t *testing.T) {
	for _, gap := range []time.Duration{33 * time.Millisecond, 7 * time.Millisecond, 47 * time.Millisecond, 133 * time.Millisecond} {
		for _, lost := range []int{0, 1} {
			synctest.Test(t, func(t *testing.T) {
				packets := track(t, make([]int16, 2*48000), opus.EncoderConfig{})
				r := newTestReceiver(t, nil)
				h := listen(t, r)
				feed(r, packets[:20], inOrder)
				time.Sleep(gap + time.Duration(lost)*frameDuration)
				packets = packets[20+lost:]
				for _, p := range packets {
					p.Timestamp += uint32(SamplesIn(gap, opus.Rate))
				}
				feed(r, packets, inOrder)
				h.end(t, r)
				if rest := len(r.out) - r.head; rest != 0 {
					t.Errorf("gap of %v, %d lost: %v wait for the next packet", gap, lost, Samples(rest).At(16000))
				}
			})
		}
	}
}

func TestReceiverPutsPacketsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		packets := track(t, testaudio.Speech48(t), opus.EncoderConfig{})
		hear := func(order func(i int) []int) ([]int16, ReceiverStats) {
			r := newTestReceiver(t, nil)
			h := listen(t, r)
			feed(r, packets, order)
			h.end(t, r)
			return h.pcm, r.Stats()
		}
		want, _ := hear(inOrder)
		got, stats := hear(func(i int) []int {
			switch {
			case i%10 == 3: // two packets late
				return nil
			case i%10 == 5 && i > 2:
				return []int{i, i - 2}
			case i%10 == 8: // twice
				return []int{i, i}
			}
			return []int{i}
		})
		if !slices.Equal(got, want) {
			t.Error("packets in another order sound different")
		}
		if stats.Lost != 0 || stats.Late != int64(len(packets)/10) {
			t.Errorf("stats %+v", stats)
		}
	})
}

func TestReceiverRecoversLostPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pcm := testaudio.Speech48(t)
		hear := func(cfg opus.EncoderConfig, order func(i int) []int) ([]int16, ReceiverStats) {
			r := newTestReceiver(t, &ReceiverOptions{SampleRate: 48000})
			h := listen(t, r)
			feed(r, track(t, pcm, cfg), order)
			time.Sleep(30 * time.Millisecond)
			h.end(t, r)
			return h.pcm, r.Stats()
		}
		lossy := func(i int) []int {
			if i%10 == 5 {
				return nil
			}
			return []int{i}
		}
		for _, c := range []struct {
			cfg  opus.EncoderConfig
			want float64 // dB
		}{{opus.EncoderConfig{Application: opus.Speech}, 15}, {opus.EncoderConfig{}, 5}} {
			whole, _ := hear(c.cfg, inOrder)
			got, stats := hear(c.cfg, lossy)
			db, at := likeness(whole[:3*48000], got, 0, 0)
			t.Logf("10%% loss: %.1f dB, stats %+v", db, stats)
			if db < c.want || at != 0 {
				t.Errorf("with 10%% loss the voice is there to %.1f dB, want %.0f", db, c.want)
			}
			if stats.Lost != 20 || stats.Recovered+stats.Concealed != 20 {
				t.Errorf("stats %+v, want 20 lost and each of them replaced", stats)
			}
			if hasCopies := stats.Recovered > 10; hasCopies != (c.cfg.Application == opus.Speech) {
				t.Errorf("application %d: %d packets recovered", c.cfg.Application, stats.Recovered)
			}
		}
	})
}

func TestReceiverWaitsForAMissingPacketNoLongerThanLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		packets := track(t, testaudio.Tone(300, 48000, 48000), opus.EncoderConfig{})
		r := newTestReceiver(t, nil)
		h := listen(t, r)
		start := time.Now()
		feed(r, packets, func(i int) []int {
			switch i {
			case 10:
				return nil
			case 25: // far too late
				return []int{25, 10}
			}
			return []int{i}
		})
		h.end(t, r)
		// Packet 11 shows the gap at 220 ms; the frame of packet 10 is made up 60 ms later.
		if d := h.at[10].Sub(start); d != 280*time.Millisecond {
			t.Errorf("the frame of the missing packet was given after %v", d)
		}
		if d := h.at[30].Sub(start); d != 600*time.Millisecond {
			t.Errorf("frame 30 was given after %v: the delay stayed", d)
		}
		if s := r.Stats(); s.Lost != 1 || s.Late != 1 || s.Concealed != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestReceiverKeepsTheClockInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		packets := track(t, testaudio.Tone(300, 48000, 3*48000), opus.EncoderConfig{})
		r := newTestReceiver(t, nil)
		h := listen(t, r)
		start := time.Now()
		time.Sleep(time.Second) // nobody speaks yet
		feed(r, packets[:50], inOrder)
		time.Sleep(10 * time.Second) // muted: the numbers go on, the timestamps jump
		for _, p := range packets[50:] {
			p.Timestamp += 10 * opus.Rate
		}
		feed(r, packets[50:], inOrder)
		time.Sleep(time.Second)
		h.end(t, r)
		elapsed := time.Since(start)
		if d := elapsed - Samples(len(h.pcm)).At(16000); d < 0 || d > 2*frameDuration {
			t.Errorf("in %v the frames lasted %v less", elapsed, d)
		}
		for i, at := range h.at {
			if d := at.Sub(start) - time.Duration(i)*frameDuration; d < 0 || d > 80*time.Millisecond {
				t.Fatalf("frame %d was given %v after its time began", i, d)
			}
		}
		second := h.pcm[5*16000 : 6*16000]
		if slices.ContainsFunc(second, func(s int16) bool { return s != 0 }) {
			t.Error("the silence is not silent")
		}
		if s := r.Stats(); s.Lost != 0 || s.Concealed != 0 || s.Silent < 590 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestReceiverGivesLateAudioAndMakesUpForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		packets := track(t, testaudio.Tone(300, 48000, 2*48000), opus.EncoderConfig{})
		r := newTestReceiver(t, nil)
		h := listen(t, r)
		start := time.Now()
		feed(r, packets, func(i int) []int {
			switch {
			case i >= 20 && i < 45: // the network stands still for half a second
				return nil
			case i == 45:
				return []int{20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45}
			}
			return []int{i}
		})
		time.Sleep(2 * time.Second)
		h.end(t, r)
		if s := r.Stats(); s.Lost != 0 || s.Dropped != 0 {
			t.Errorf("stats %+v: late audio was lost", s)
		}
		if d := time.Since(start) - Samples(len(h.pcm)).At(16000); d < 0 || d > 2*frameDuration {
			t.Errorf("the frames lasted %v less than the time that passed", d)
		}
	})
}

func TestReceiverTakesLongAndStereoPackets(t *testing.T) {
	for _, c := range []struct {
		frames   int // of 20 ms, per packet
		channels int
	}{{2, 1}, {3, 1}, {6, 1}, {1, 2}, {3, 2}} {
		synctest.Test(t, func(t *testing.T) {
			pcm := testaudio.Speech48(t)
			r := newTestReceiver(t, nil)
			h := listen(t, r)
			payloads := longPackets(t, pcm, c.frames, c.channels)
			for i, payload := range payloads {
				p := rtpPacket(i, payload)
				p.Timestamp = uint32(i * c.frames * opus.FrameSamples)
				r.Push(p, time.Now())
				time.Sleep(time.Duration(c.frames) * frameDuration)
			}
			h.end(t, r)
			want := newTestResampler(t, 48000, 16000, 1, Fast).Process(nil, pcm[:48000])
			db, _ := likeness(want, h.pcm, 100, 3500)
			if db < 15 {
				t.Errorf("packets of %d ms and %d channels: the voice is there to %.1f dB", c.frames*20, c.channels, db)
			}
			if s := r.Stats(); s.Bad != 0 || s.Lost != 0 || s.Concealed != 0 {
				t.Errorf("stats %+v", s)
			}
			if s := r.Stats(); s.Silent > 8 { // before the first packet was there
				t.Errorf("packets of %d ms: %d pieces of silence between packets", c.frames*20, s.Silent)
			}
		})
	}
}

// longPackets encodes packets longer than our own encoder makes.
func longPackets(t *testing.T, pcm []int16, frames, channels int) [][]byte {
	t.Helper()
	enc, err := gopus.NewEncoder(gopus.EncoderConfig{SampleRate: 48000, Channels: channels, Application: gopus.ApplicationAudio})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{enc.SetBitrate(96000), enc.SetFrameSize(frames * opus.FrameSamples)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var out [][]byte
	for c := range slices.Chunk(pcm, frames*opus.FrameSamples) {
		if len(c) < frames*opus.FrameSamples {
			break
		}
		in := c
		if channels == 2 {
			in = nil
			for _, s := range c {
				in = append(in, s, s)
			}
		}
		packet, err := enc.EncodeInt16Slice(in)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, packet)
	}
	return out
}

func TestReceiverSurvivesBadPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pcm := testaudio.Tone(300, 48000, 2*48000)
		packets := track(t, pcm, opus.EncoderConfig{})
		for i, p := range packets {
			switch i % 10 {
			case 4:
				p.Payload = []byte{0xff, 0xff, 0xff}
			case 7:
				p.Payload = make([]byte, 9000)
			}
		}
		r := newTestReceiver(t, nil)
		h := listen(t, r)
		feed(r, packets, inOrder)
		h.end(t, r)
		if s := r.Stats(); s.Bad != 20 || s.Concealed < 15 {
			t.Errorf("stats %+v, want 20 bad packets", s)
		}
		if got := Samples(len(h.pcm)).At(16000); got < 1900*time.Millisecond {
			t.Errorf("%v of audio: the stream stopped", got)
		}
		if rms := RMS(h.pcm[16000 : 16000+8000]); rms < 0.1 {
			t.Errorf("the level between bad packets is %v", rms)
		}
	})
}

func TestReceiverGoesOnWithAnotherSource(t *testing.T) {
	for name, change := range map[string]func(p *rtp.Packet){
		"ssrc":      func(p *rtp.Packet) { p.SSRC, p.SequenceNumber, p.Timestamp = 99, p.SequenceNumber+12345, p.Timestamp*3 },
		"forward":   func(p *rtp.Packet) { p.SequenceNumber += 20000 },
		"backward":  func(p *rtp.Packet) { p.SequenceNumber -= 20000 },
		"near":      func(p *rtp.Packet) { p.SequenceNumber -= 200 },
		"timestamp": func(p *rtp.Packet) { p.Timestamp -= 1 << 30 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				packets := track(t, testaudio.Tone(300, 48000, 4*48000), opus.EncoderConfig{})
				for _, p := range packets[100:] {
					change(p)
				}
				r := newTestReceiver(t, nil)
				h := listen(t, r)
				feed(r, packets, inOrder)
				h.end(t, r)
				late := int64(0)
				if name == "near" {
					late = maxLateRun - 1
				}
				if s := r.Stats(); s.Lost != 0 || s.Dropped != 0 || s.Late != late {
					t.Errorf("stats %+v, want %d late", s, late)
				}
				if rms := RMS(h.pcm[len(h.pcm)-16000:]); rms < 0.15 {
					t.Errorf("the level after the change is %v", rms)
				}
			})
		})
	}
}

func TestReceiverDropsTheOldestForASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		packets := track(t, testaudio.Tone(300, 48000, 10*48000), opus.EncoderConfig{})
		r := newTestReceiver(t, nil)
		defer r.Close()
		start := time.Now()
		if _, err := r.ReadFrame(t.Context()); err != nil { // starts the clock
			t.Fatal(err)
		}
		feed(r, packets, inOrder) // ten seconds, and nobody reads
		if s := r.Stats(); s.Dropped != int64(len(packets)-100) {
			t.Errorf("stats %+v, want all but 2 s dropped", s)
		}
		frames := 0
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for {
			f, err := r.ReadFrame(ctx)
			if err != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				break
			}
			if frames++; frames == 50 && RMS(f.Data) < 0.1 {
				t.Error("the latest audio is not there")
			}
		}
		// 2 s that were kept, and 5 s of the clock; what was dropped is not given as silence.
		if want := 7 * 50; frames < want-5 || frames > want+5 {
			t.Errorf("%d frames after %v, want about %d", frames, time.Since(start), want)
		}
	})
}

func TestReceiverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestReceiver(t, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := r.ReadFrame(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want that the context ended", err)
		}
		h := listen(t, r)
		time.Sleep(time.Second)
		if _, err := r.ReadFrame(t.Context()); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a second reader: got %v", err)
		}
		h.end(t, r)
		r.Close()
		r.Push(rtpPacket(0, []byte{0xf8, 1}), time.Now())
		if _, err := r.ReadFrame(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("after Close: got %v, want io.EOF", err)
		}
		if s := r.Stats(); s.Received != 0 {
			t.Errorf("stats %+v: a packet was taken in after Close", s)
		}
	})
	for _, o := range []ReceiverOptions{{SampleRate: 11025}, {SampleRate: 500}, {Latency: -1}, {Buffer: -1}} {
		if _, err := NewReceiver(&o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// Whatever the network does to the packets, the clock holds and every packet is accounted for.
func TestReceiverHoldsTheClockInAnyWeather(t *testing.T) {
	packets := track(t, testaudio.Tone(300, 48000, 48000), opus.EncoderConfig{})
	rapid.Check(t, func(rt *rapid.T) {
		// How late each packet comes; -1 is never.
		delays := rapid.SliceOfN(rapid.IntRange(-1, 200), len(packets), len(packets)).Draw(rt, "delays")
		synctest.Test(t, func(t *testing.T) {
			r := newTestReceiver(t, nil)
			h := listen(t, r)
			start := time.Now()
			sent := int64(0)
			for ms := range 1300 {
				for i, p := range packets {
					if d := delays[i]; d >= 0 && i*20+d == ms {
						r.Push(p, time.Now())
						sent++
					}
				}
				time.Sleep(time.Millisecond)
			}
			time.Sleep(2 * time.Second)
			h.end(t, r)
			s := r.Stats()
			if d := time.Since(start) - Samples(len(h.pcm)).At(16000); d < 0 || d > 2*frameDuration {
				rt.Errorf("the frames lasted %v less than the time that passed; stats %+v", d, s)
			}
			if s.Received != sent || s.Bad != 0 || s.Dropped != 0 || s.Lost-s.Late > int64(len(packets))-sent {
				rt.Errorf("stats %+v after %d packets", s, sent)
			}
		})
	})
}

func FuzzReceiver(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 0xf8, 1, 1, 20, 0, 1, 0xf8})
	f.Add([]byte{200, 1, 3, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		synctest.Test(t, func(t *testing.T) {
			r := newTestReceiver(t, nil)
			h := listen(t, r)
			start := time.Now()
			for i := 0; len(script) >= 4 && i < 300; i++ {
				p := rtpPacket(int(int8(script[0]))*7, nil)
				p.SSRC = uint32(script[1] & 1)
				p.Timestamp = uint32(script[2]) << 24
				n := min(int(script[3]), len(script)-4)
				p.Payload = script[4 : 4+n]
				script = script[4+n:]
				r.Push(p, time.Now())
				time.Sleep(time.Duration(p.Timestamp>>24) * time.Millisecond)
			}
			time.Sleep(time.Second)
			h.end(t, r)
			if d := time.Since(start) - Samples(len(h.pcm)).At(16000); d > 2*frameDuration {
				t.Errorf("the frames lasted %v less than the time that passed", d)
			}
		})
	})
}

// One packet on its way through the receiver, without the waiting.
func BenchmarkReceiverFrame(b *testing.B) {
	r := newTestReceiver(b, nil)
	defer r.Close()
	packets := track(b, testaudio.Speech48(b), opus.EncoderConfig{Application: opus.Speech})
	ctx := b.Context()
	i := 0
	next := func() {
		p := packets[i%len(packets)]
		p.SequenceNumber = uint16(i)
		p.Timestamp = uint32(i * opus.FrameSamples)
		r.Push(p, time.Now())
		if _, err := r.ReadFrame(ctx); err != nil {
			b.Fatal(err)
		}
		i++
	}
	for range 300 {
		next()
	}
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
}
