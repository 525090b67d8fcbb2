package audio

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio/internal/testaudio"
	"github.com/parley-go/parley/audio/opus"
)

func TestPlayerPlaysToTheLastSample(t *testing.T) {
	for _, rate := range []int{8000, 11025, 16000, 22050, 24000, 44100, 48000} {
		for _, d := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 1234567 * time.Microsecond} {
			synctest.Test(t, func(t *testing.T) {
				w := &wire{}
				p, ev := newTestPlayer(t, w, rate)
				defer p.Close()
				f := voice(d, rate)
				start := time.Now()
				mustWrite(t, p, f)
				p.Flush()
				time.Sleep(5 * time.Second)
				got := ev.all()
				if len(got) != 2 || got[0].Finished || !got[1].Finished {
					t.Fatalf("%d Hz, %v: events %+v", rate, d, got)
				}
				if got[1].Played != f.Duration() || got[1].Interrupted {
					t.Errorf("%d Hz, %v: finished %+v, want all of %v", rate, d, got[1], f.Duration())
				}
				if !got[0].At.Equal(start) {
					t.Errorf("%d Hz: started %v after the first write", rate, got[0].At.Sub(start))
				}
				// The encoder runs 6.5 ms behind; what is left of it goes into the last packet.
				packets := int((d + 6500*time.Microsecond + packetDuration - 1) / packetDuration)
				if w.sent() != packets {
					t.Errorf("%d Hz, %v: %d packets, want %d", rate, d, w.sent(), packets)
				}
				if want := time.Duration(packets) * packetDuration; got[1].At.Sub(start) != want {
					t.Errorf("%d Hz, %v: finished after %v, want %v", rate, d, got[1].At.Sub(start), want)
				}
				if p.Played() != 0 {
					t.Errorf("without a segment %v are played", p.Played())
				}
			})
		}
	}
}

func TestPlayerDoesNotDriftInTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Now and then the network holds the pacer up for longer than a packet.
		w := &wire{delay: func(i int) time.Duration {
			if i%500 == 250 {
				return 130 * time.Millisecond
			}
			return 0
		}}
		p, ev := newTestPlayer(t, w, 24000)
		defer p.Close()
		start := time.Now()
		f := voice(100*time.Millisecond, 24000)
		for range 10 * 60 * 10 {
			mustWrite(t, p, f)
		}
		p.Flush()
		time.Sleep(time.Second)
		got := ev.all()
		if len(got) != 2 || got[1].Played != 10*time.Minute {
			t.Fatalf("events %+v", got)
		}
		if took := got[1].At.Sub(start); took < 10*time.Minute || took > 10*time.Minute+2*packetDuration {
			t.Errorf("ten minutes took %v", took)
		}
		packets, times := w.log()
		for i, packet := range packets {
			if want := start.Add(time.Duration(i) * packetDuration); !packet.At.Equal(want) {
				t.Fatalf("packet %d is at %v, want %v", i, packet.At.Sub(start), want.Sub(start))
			}
			if early := packet.At.Sub(times[i]); early > 0 {
				t.Fatalf("packet %d was sent %v early", i, early)
			}
		}
		if s := p.Stats(); s.Stalls != 0 || s.Errors != 0 || s.Packets != int64(len(packets)) {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestPlayerGivesUpTheTimeOfALongStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{delay: func(i int) time.Duration {
			if i == 10 {
				return 3 * time.Second
			}
			return 0
		}}
		p, _ := newTestPlayer(t, w, 24000)
		defer p.Close()
		mustWrite(t, p, voice(time.Second, 24000))
		p.Flush()
		time.Sleep(10 * time.Second)
		if s := p.Stats(); s.Stalls != 1 {
			t.Errorf("stats %+v, want one stall", s)
		}
		_, times := w.log()
		for i := 12; i < len(times); i++ {
			if d := times[i].Sub(times[i-1]); d != packetDuration {
				t.Fatalf("packet %d came %v after the one before", i, d)
			}
		}
	})
}

func TestPlayerSendsNothingInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		p, _ := newTestPlayer(t, w, 24000)
		defer p.Close()
		start := time.Now()
		mustWrite(t, p, voice(60*time.Millisecond, 24000))
		time.Sleep(507 * time.Millisecond) // an underrun: the segment is not flushed
		if w.sent() != 2 {
			t.Fatalf("%d packets, want those that are full", w.sent())
		}
		mustWrite(t, p, voice(60*time.Millisecond, 24000))
		p.Flush()
		time.Sleep(time.Second)
		want := []time.Duration{0, 20 * time.Millisecond, 507 * time.Millisecond, 527 * time.Millisecond, 547 * time.Millisecond, 567 * time.Millisecond, 587 * time.Millisecond}
		packets, _ := w.log()
		for i, packet := range packets {
			if i >= len(want) || packet.At.Sub(start) != want[i] {
				t.Fatalf("packet %d is at %v, want %v", i, packet.At.Sub(start), want)
			}
			if packet.Duration != packetDuration {
				t.Errorf("packet %d lasts %v", i, packet.Duration)
			}
		}
		if first, last := packets[0].Level, packets[len(packets)-1].Level; last != 127 || first < 10 || first > 20 {
			t.Errorf("levels are %d and at the end %d", first, last)
		}
	})
}

func TestPlayerWriteWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ev := newTestPlayer(t, &wire{}, 24000)
		defer p.Close()
		p.Pause()
		mustWrite(t, p, voice(190*time.Millisecond, 24000))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Write(ctx, voice(100*time.Millisecond, 24000)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a full queue: got %v", err)
		}
		if err := p.Write(ctx, voice(time.Millisecond, 24000)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("an ended context: got %v", err)
		}
		p.Flush()
		p.Resume()
		time.Sleep(time.Second)
		got := ev.all()
		if len(got) != 2 || got[1].Played < 190*time.Millisecond || got[1].Played > 200*time.Millisecond {
			t.Errorf("events %+v, want what fits into 200 ms", got)
		}
	})
}

func TestPlayerPauseKeepsThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		p, ev := newTestPlayer(t, w, 24000)
		defer p.Close()
		start := time.Now()
		mustWrite(t, p, voice(200*time.Millisecond, 24000))
		p.Flush()
		time.Sleep(45 * time.Millisecond)
		p.Pause()
		p.Pause()
		at := p.Played()
		if at != 60*time.Millisecond {
			t.Errorf("played %v at the pause, want 60ms", at)
		}
		time.Sleep(10 * time.Second)
		if w.sent() != 3 || p.Played() != at {
			t.Errorf("while paused %d packets were sent and %v played", w.sent(), p.Played())
		}
		p.Resume()
		p.Resume()
		time.Sleep(time.Second)
		got := ev.all()
		if len(got) != 2 {
			t.Fatalf("events %+v: a pause must not repeat the start", got)
		}
		if got[1].Played != 200*time.Millisecond || got[1].Interrupted {
			t.Errorf("finished %+v", got[1])
		}
		packets, _ := w.log()
		if d := packets[3].At.Sub(start); d != 10*time.Second+45*time.Millisecond {
			t.Errorf("the packet after the pause is at %v", d)
		}
	})
}

func TestPlayerPauseHoldsForTheNextSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		p, ev := newTestPlayer(t, w, 24000)
		defer p.Close()
		p.Pause()
		mustWrite(t, p, voice(100*time.Millisecond, 24000))
		p.Flush()
		time.Sleep(time.Second)
		if w.sent() != 0 || len(ev.all()) != 0 {
			t.Fatalf("%d packets and events %+v while paused", w.sent(), ev.all())
		}
		p.Clear()
		synctest.Wait()
		got := ev.all()
		if len(got) != 1 || !got[0].Finished || !got[0].Interrupted || got[0].Played != 0 {
			t.Errorf("events %+v, want only that it finished", got)
		}
	})
}

func TestPlayerClearStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		p, ev := newTestPlayer(t, w, 24000)
		defer p.Close()
		result := make(chan error, 2)
		go func() { result <- p.Write(t.Context(), voice(10*time.Second, 24000)) }()
		time.Sleep(time.Millisecond)
		go func() { result <- p.Write(t.Context(), voice(time.Second, 24000)) }()
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		before := w.sent()
		p.Clear()
		p.Clear()
		for range 2 {
			if err := <-result; !errors.Is(err, ErrCleared) {
				t.Errorf("a blocked write: got %v, want ErrCleared", err)
			}
		}
		synctest.Wait()
		if w.sent() != before {
			t.Error("packets were sent after Clear")
		}
		got := ev.all()
		if len(got) != 2 || !got[1].Interrupted || got[1].Played != time.Duration(before)*packetDuration {
			t.Fatalf("events %+v after %d packets", got, before)
		}
		p.Clear() // without a segment
		mustWrite(t, p, voice(100*time.Millisecond, 24000))
		p.Flush()
		time.Sleep(time.Second)
		if got = ev.all(); len(got) != 4 || got[3].Interrupted || got[3].Played != 100*time.Millisecond {
			t.Errorf("events %+v, want a second segment as if nothing had been", got)
		}
	})
}

func TestPlayerWriteAfterFlushWaitsForTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ev := newTestPlayer(t, &wire{}, 24000)
		defer p.Close()
		mustWrite(t, p, voice(150*time.Millisecond, 24000))
		p.Flush()
		p.Flush()
		mustWrite(t, p, voice(150*time.Millisecond, 24000)) // waits for the first
		if got := ev.all(); len(got) < 2 || !got[1].Finished {
			t.Fatalf("events %+v: the second segment opened too early", got)
		}
		p.Flush()
		time.Sleep(time.Second)
		got := ev.all()
		if len(got) != 4 || got[2].Finished || got[1].Played != got[3].Played {
			t.Errorf("events %+v", got)
		}
		if gap := got[2].At.Sub(got[1].At); gap != 0 {
			t.Errorf("%v of silence between the segments", gap)
		}
	})
}

func TestPlayerFinishesAnEmptySegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		p, ev := newTestPlayer(t, w, 24000)
		defer p.Close()
		p.Flush() // without a segment
		mustWrite(t, p, Frame{Rate: 24000, Channels: 1})
		p.Flush()
		synctest.Wait()
		if got := ev.all(); len(got) != 1 || !got[0].Finished || got[0].Interrupted || got[0].Played != 0 {
			t.Errorf("events %+v", got)
		}
		if w.sent() != 0 {
			t.Errorf("%d packets without audio", w.sent())
		}
	})
}

func TestPlayerSurvivesItsWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{fail: func(i int) error {
			if i%2 == 0 {
				return errors.New("no route")
			}
			return nil
		}}
		p, ev := newTestPlayer(t, w, 24000)
		defer p.Close()
		start := time.Now()
		mustWrite(t, p, voice(190*time.Millisecond, 24000))
		p.Flush()
		time.Sleep(time.Second)
		got := ev.all()
		if len(got) != 2 || got[0].At.Sub(start) != packetDuration {
			t.Fatalf("events %+v, want the start at the first packet that was really sent", got)
		}
		if want := 4*packetDuration + 10*time.Millisecond; got[1].Played != want {
			t.Errorf("played %v, want %v: only what was sent", got[1].Played, want)
		}
		if s := p.Stats(); s.Errors != 5 || s.Packets != 5 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestPlayerCloseInterrupts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ev := newTestPlayer(t, &wire{}, 24000)
		result := make(chan error, 1)
		go func() { result <- p.Write(t.Context(), voice(time.Second, 24000)) }()
		time.Sleep(101 * time.Millisecond)
		p.Close()
		p.Close()
		if err := <-result; !errors.Is(err, ErrClosed) {
			t.Errorf("a blocked write: got %v, want ErrClosed", err)
		}
		if err := p.Write(t.Context(), voice(time.Second, 24000)); !errors.Is(err, ErrClosed) {
			t.Errorf("a write after Close: got %v, want ErrClosed", err)
		}
		if got := ev.all(); len(got) != 2 || !got[1].Interrupted || got[1].Played != 120*time.Millisecond {
			t.Errorf("events %+v", got)
		}
	})
}

func TestPlayerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ev := newTestPlayer(t, &wire{}, 24000)
		for _, f := range []Frame{voice(time.Second, 48000), {Rate: 24000, Channels: 2}, {}} {
			if err := p.Write(t.Context(), f); err == nil {
				t.Errorf("a frame of %d Hz and %d channels was accepted", f.Rate, f.Channels)
			}
		}
		p.Close()
		if got := ev.all(); len(got) != 0 {
			t.Errorf("events %+v", got)
		}
	})
	for _, o := range []PlayerOptions{{SampleRate: 12}, {Queue: time.Millisecond}, {Encoder: opus.EncoderConfig{Rate: 24000}}, {Encoder: opus.EncoderConfig{Channels: 2}}} {
		if p, err := NewPlayer(&wire{}, &o); err == nil {
			p.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
}

// The packets of every segment, decoded, are what was written.
func TestPlayerSoundsLikeWhatWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		p, err := NewPlayer(w, &PlayerOptions{SampleRate: 48000})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		pcm := testaudio.Speech48(t)[:48000]
		for segment := range 2 {
			w.forget()
			mustWrite(t, p, Frame{Data: pcm, Rate: 48000, Channels: 1})
			p.Flush()
			time.Sleep(2 * time.Second)
			d, err := opus.NewDecoder(1)
			if err != nil {
				t.Fatal(err)
			}
			var got []int16
			buf := make([]int16, opus.MaxSamples)
			packets, _ := w.log()
			for _, packet := range packets {
				n, err := d.Decode(buf, packet.Data)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, buf[:n]...)
			}
			d.Close()
			if len(got) < len(pcm)+312 {
				t.Fatalf("segment %d: %d samples heard of %d", segment, len(got), len(pcm))
			}
			var noise, signal float64
			for i, s := range pcm {
				e := float64(s) - float64(got[i+312])
				signal += float64(s) * float64(s)
				noise += e * e
			}
			if signal < 100*noise {
				t.Errorf("segment %d does not sound like what was written: noise %.2g of %.2g", segment, noise, signal)
			}
		}
	})
}

// One packet on its way through the player, without the waiting: resampled, queued, encoded, sent.
func BenchmarkPlayerPacket(b *testing.B) {
	rs := newTestResampler(b, 24000, opus.Rate, 1, Fast)
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		b.Fatal(err)
	}
	p := startPlayer(discard{}, PlayerOptions{SampleRate: 24000, Queue: 200 * time.Millisecond}, rs, enc)
	p.Pause() // the pacer sleeps; the benchmark does its work
	defer p.Close()
	data := testaudio.Tone(300, 24000, 480)
	if _, _, err := p.push(data, 0); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := p.push(data, 0); err != nil {
			b.Fatal(err)
		}
		p.mu.Lock()
		p.send()
	}
}

type discard struct{}

func (discard) WritePacket(Packet) error { return nil }
