package silero

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/golden"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/vad/driver"
)

func newDetector(tb testing.TB, o *Options) *Detector {
	tb.Helper()
	d, err := NewDetector(o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func newStream(tb testing.TB, o *Options) *stream {
	tb.Helper()
	s, err := newDetector(tb, o).NewStream()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s.(*stream)
}

// feed gives in to s in frames of n samples per channel and returns clones of the events.
func feed(tb testing.TB, s *stream, in audio.Frame, n int) (out []driver.Event) {
	tb.Helper()
	for part := range slices.Chunk(in.Data, n*in.Channels) {
		f := audio.Frame{Data: part, Rate: in.Rate, Channels: in.Channels}
		err := s.Process(f, func(e *driver.Event) {
			own := *e
			own.Audio = e.Audio.Clone()
			own.InferenceDuration = 0
			out = append(out, own)
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

func mono16k(in []int16) audio.Frame { return audio.Frame{Data: in, Rate: rate, Channels: 1} }

// edges drops the events of single windows.
func edges(in []driver.Event) []driver.Event {
	return slices.DeleteFunc(slices.Clone(in), func(e driver.Event) bool { return e.Kind == driver.InferenceDone })
}

// describe shows events without their audio.
func describe(in []driver.Event) string {
	var b strings.Builder
	for _, e := range in {
		fmt.Fprintf(&b, "%v at %v (%d) speech %v silence %v raw %v %v p %.6f %v %d\n", e.Kind, e.Timestamp, e.SamplesIndex,
			e.SpeechDuration, e.SilenceDuration, e.RawSpeech, e.RawSilence, e.Probability, e.Speaking, len(e.Audio.Data))
	}
	return b.String()
}

func TestEventsEqualTheReference(t *testing.T) {
	for name, want := range loadReference(t).Files {
		all := feed(t, newStream(t, nil), mono16k(golden.Samples(t, name)), 160)
		got := edges(all)
		if len(all)-len(got) != want.Windows {
			t.Errorf("%s: got %d windows, want %d", name, len(all)-len(got), want.Windows)
		}
		if len(got) != len(want.Events) {
			t.Errorf("%s: got\n%swant %+v", name, describe(got), want.Events)
			continue
		}
		for i, w := range want.Events {
			kind := map[string]driver.EventKind{"start": driver.StartOfSpeech, "end": driver.EndOfSpeech}[w.Type]
			e := got[i]
			if e.Kind != kind || e.Timestamp != windows(int64(w.Window)+1) ||
				e.Timestamp.Round(time.Millisecond) != seconds(w.Time) ||
				e.SamplesIndex != int64(w.Window+1)*windowLen ||
				e.SpeechDuration != seconds(w.SpeechDuration) || e.SilenceDuration != seconds(w.SilenceDuration) ||
				e.Speaking != (kind == driver.StartOfSpeech) {
				t.Errorf("%s: got %swant %+v", name, describe(got[i:i+1]), w)
			}
		}
	}
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}

func TestEventsCarryTheAudioAroundThem(t *testing.T) {
	in := golden.Samples(t, "turns_quiet_noise.wav")
	const padding = rate / 2
	all := feed(t, newStream(t, nil), mono16k(in), 160)
	var heard []int16
	speechFrom := 0
	for _, e := range all {
		end := int(e.SamplesIndex)
		switch e.Kind {
		case driver.InferenceDone:
			heard = append(heard, e.Audio.Data...)
		case driver.StartOfSpeech:
			// two windows triggered it; the padding before them was trimmed after the last silence
			speechFrom = max(0, end-2*windowLen-padding)
			if !slices.Equal(e.Audio.Data, in[speechFrom:end]) {
				t.Errorf("start at %v holds %d samples, want those from %d to %d", e.Timestamp, len(e.Audio.Data), speechFrom, end)
			}
		case driver.EndOfSpeech:
			if !slices.Equal(e.Audio.Data, in[speechFrom:end]) {
				t.Errorf("end at %v holds %d samples, want those from %d to %d", e.Timestamp, len(e.Audio.Data), speechFrom, end)
			}
		}
	}
	if !slices.Equal(heard, in[:len(in)/windowLen*windowLen]) {
		t.Error("the windows together are not the input")
	}
}

func TestDurationsOfWindowsAreThoseBeforeThem(t *testing.T) {
	all := feed(t, newStream(t, nil), mono16k(golden.Samples(t, "flite_awb_yes.wav")), 512)
	i := slices.IndexFunc(all, func(e driver.Event) bool { return e.Kind == driver.StartOfSpeech })
	if i < 2 {
		t.Fatal("no start of speech")
	}
	before, next := all[i-1], all[i+1]
	if before.RawSpeech != windowTime || before.RawSilence != 0 || before.Speaking || before.SilenceDuration != before.Timestamp {
		t.Errorf("window that starts speech: %s", describe(all[i-1:i]))
	}
	if next.RawSpeech != 2*windowTime || next.SpeechDuration != 3*windowTime || !next.Speaking || next.SilenceDuration != 0 {
		t.Errorf("window after the start: %s", describe(all[i+1:i+2]))
	}
}

func TestCutsDoNotMatter(t *testing.T) {
	in := golden.Samples(t, "flite_rms_lights.wav")
	for _, format := range []audio.Frame{{Rate: 16000, Channels: 1}, {Rate: 44100, Channels: 2}, {Rate: 8000, Channels: 1}} {
		f := convert(t, in, format.Rate, format.Channels)
		want := feed(t, newStream(t, nil), f, f.Samples())
		for _, n := range []int{1 + rand.IntN(50), 441, 480, 5000} {
			got := feed(t, newStream(t, nil), f, n)
			if describe(got) != describe(want) {
				t.Errorf("%d Hz in frames of %d: events differ from those of one frame", format.Rate, n)
			}
		}
	}
}

// convert brings 16 kHz mono to another rate; all channels are equal.
func convert(t *testing.T, in []int16, to, channels int) audio.Frame {
	t.Helper()
	r, err := audio.NewResampler(rate, to, 1, audio.High)
	if err != nil {
		t.Fatal(err)
	}
	one := r.Process(nil, in)
	f := audio.Frame{Rate: to, Channels: channels}
	for _, v := range one {
		for range channels {
			f.Data = append(f.Data, v)
		}
	}
	return f
}

func TestOtherRatesHearTheSame(t *testing.T) {
	const name = "turns_quiet_noise.wav"
	in := golden.Samples(t, name)
	want := loadReference(t).Files[name].Events
	for channels, rates := range [][]int{1: {24000, 44100, 48000, 22050}, 2: {48000}} {
		for _, to := range rates {
			f := convert(t, in, to, channels)
			all := feed(t, newStream(t, nil), f, to/100)
			got := edges(all)
			if len(got) != len(want) {
				t.Errorf("%d Hz, %d channels: got\n%swant %+v", to, channels, describe(got), want)
				continue
			}
			for i, e := range got {
				at := int(e.Timestamp/windowTime) - 1
				if diff := at - want[i].Window; diff < -1 || diff > 1 {
					t.Errorf("%d Hz, %d channels: %v in window %d, want %d or a neighbour", to, channels, e.Kind, at, want[i].Window)
				}
			}
			var heard []int16
			for _, e := range all {
				if e.Kind == driver.InferenceDone {
					heard = append(heard, e.Audio.Data...)
				}
			}
			last := all[len(all)-1]
			if want := int(last.Timestamp) * to / int(time.Second); int(last.SamplesIndex) != want {
				t.Errorf("%d Hz: %d samples after %v, want %d", to, last.SamplesIndex, last.Timestamp, want)
			}
			if len(heard) != int(last.SamplesIndex)*channels || !slices.Equal(heard, f.Data[:len(heard)]) {
				t.Errorf("%d Hz, %d channels: the windows together are not the input", to, channels)
			}
			if f.Duration()-last.Timestamp >= 2*windowTime {
				t.Errorf("%d Hz: the last window ends at %v of %v", to, last.Timestamp, f.Duration())
			}
		}
	}
}

func TestFlushIsAFreshStart(t *testing.T) {
	for _, to := range []int{16000, 44100} {
		f := convert(t, golden.Samples(t, "espeak_timer.wav"), to, 1)
		s := newStream(t, nil)
		first := feed(t, s, f, 441)
		s.Flush()
		feed(t, s, audio.Frame{Data: f.Data[:to*3/2+7], Rate: to, Channels: 1}, 441) // ends inside speech
		if !s.gate.speaking {
			t.Fatal("the cut is not inside speech")
		}
		s.Flush()
		if again := feed(t, s, f, 441); describe(again) != describe(first) {
			t.Errorf("%d Hz: after a flush the events differ:\n%swant\n%s", to, describe(edges(again)), describe(edges(first)))
		}
	}
}

func TestFlushBeforeTheFirstFrame(t *testing.T) {
	s := newStream(t, nil)
	s.Flush()
	if got := feed(t, s, mono16k(make([]int16, windowLen)), 160); len(got) != 1 {
		t.Errorf("got %d events, want the one window", len(got))
	}
}

func TestAnotherFormatLeavesTheStreamAsItWas(t *testing.T) {
	in := mono16k(golden.Samples(t, "flite_awb_yes.wav"))
	want := describe(feed(t, newStream(t, nil), in, 480))
	s := newStream(t, nil)
	refuse := func(f audio.Frame) {
		t.Helper()
		err := s.Process(f, func(*driver.Event) { t.Error("a refused frame made an event") })
		if err == nil || !strings.HasPrefix(err.Error(), "silero: ") {
			t.Errorf("frame of %d Hz with %d channels: got %v, want an error", f.Rate, f.Channels, err)
		}
	}
	refuse(audio.Frame{Data: make([]int16, 480), Rate: 1, Channels: 1})
	refuse(audio.Frame{Data: make([]int16, 480), Rate: 47999, Channels: 1}) // no such resampler
	got := feed(t, s, mono16k(in.Data[:960]), 480)
	refuse(audio.Frame{Data: make([]int16, 480), Rate: 48000, Channels: 1})
	refuse(audio.Frame{Data: make([]int16, 480), Rate: 16000, Channels: 2})
	got = append(got, feed(t, s, mono16k(in.Data[960:]), 480)...)
	if describe(got) != want {
		t.Error("events differ from those of a stream without wrong frames")
	}
}

func TestCloseEndsTheStream(t *testing.T) {
	s := newStream(t, nil)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Process(mono16k(make([]int16, 160)), nil); err != errClosed {
		t.Errorf("got %v, want %v", err, errClosed)
	}
}

// lines counts what is logged.
type lines struct{ strings.Builder }

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) count() int { return strings.Count(l.String(), "\n") }

func TestLongSpeechIsCappedAndLoggedOnce(t *testing.T) {
	var log lines
	s := newStream(t, &Options{MaxBufferedSpeech: time.Second / 2, Logger: log.logger()})
	in := golden.Samples(t, "turns_quiet_noise.wav")
	all := edges(feed(t, s, mono16k(in), 160))
	if len(all) != 6 {
		t.Fatalf("got\n%swant 6 events", describe(all))
	}
	const limit = rate // half a second of padding and half of speech
	from := int(all[0].SamplesIndex) - 2*windowLen - rate/2
	if e := all[1]; !slices.Equal(e.Audio.Data, in[from:from+limit]) {
		t.Errorf("end of speech holds %d samples, want the first %d", len(e.Audio.Data), limit)
	}
	if n := len(all[5].Audio.Data); n != limit {
		t.Errorf("the third segment holds %d samples, want %d", n, limit)
	}
	if log.count() != 3 {
		t.Errorf("got %d log lines for 3 segments that are too long:\n%s", log.count(), log.String())
	}
}

func TestLagIsLoggedOnceUntilItIsGone(t *testing.T) {
	var log lines
	s := newStream(t, &Options{Logger: log.logger()})
	want := func(n int, when string) {
		t.Helper()
		if log.count() != n {
			t.Errorf("%s: got %d log lines, want %d", when, log.count(), n)
		}
	}
	for range 6 {
		s.watch(windowTime + 30*time.Millisecond)
	}
	want(0, "behind by 180 ms")
	for range 50 {
		s.watch(windowTime + 30*time.Millisecond)
	}
	want(1, "behind by more than 200 ms")
	for range 100 {
		s.watch(time.Millisecond)
	}
	want(1, "caught up")
	s.watch(201 * time.Millisecond)
	want(2, "one inference of more than 200 ms")
}

func TestWindowAudioCanBeLeftOut(t *testing.T) {
	all := feed(t, newStream(t, &Options{NoWindowAudio: true}), mono16k(golden.Samples(t, "flite_awb_yes.wav")), 160)
	for _, e := range all {
		if (e.Kind == driver.InferenceDone) != (len(e.Audio.Data) == 0) {
			t.Fatalf("%v carries %d samples", e.Kind, len(e.Audio.Data))
		}
	}
	if len(edges(all)) != 2 {
		t.Errorf("got\n%swant a start and an end", describe(edges(all)))
	}
}

func TestSpeechBeforeALateStartIsKept(t *testing.T) {
	in := golden.Samples(t, "flite_slt_long.wav")
	all := edges(feed(t, newStream(t, &Options{MinSpeech: time.Second}), mono16k(in), 160))
	if len(all) == 0 {
		t.Fatal("no start of speech")
	}
	e := all[0]
	if e.SpeechDuration != 1024*time.Millisecond || len(e.Audio.Data) != 32*windowLen+min(rate/2, int(e.SamplesIndex)-32*windowLen) {
		t.Errorf("got %swant all of 1.024 s of speech and its padding", describe(all[:1]))
	}
}

func TestOptionsChangeWhileAStreamRuns(t *testing.T) {
	in := golden.Samples(t, "turns_quiet_noise.wav")
	d := newDetector(t, nil)
	ds, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	s := ds.(*stream)
	const cut = 40 * windowLen // inside the first segment
	all := feed(t, s, mono16k(in[:cut]), 160)
	if err := d.Update(&Options{Activation: 7}); err == nil {
		t.Error("an activation of 7 was accepted")
	}
	if got := s.MinSilence(); got != 550*time.Millisecond {
		t.Errorf("after a refused update: min silence %v", got)
	}
	err = d.Update(&Options{MinSilence: 100 * time.Millisecond, PrefixPadding: opt.Some(time.Second), MaxBufferedSpeech: time.Minute * 2})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.MinSilence(); got != 100*time.Millisecond {
		t.Errorf("got min silence %v, want the new one", got)
	}
	all = edges(append(all, feed(t, s, mono16k(in[cut:]), 160)...))
	if len(all) < 6 || all[1].Kind != driver.EndOfSpeech || all[1].SilenceDuration != 128*time.Millisecond {
		t.Fatalf("got\n%swant an end after 128 ms of silence", describe(all))
	}
	from := int(all[0].SamplesIndex) - 2*windowLen - rate/2
	if !slices.Equal(all[1].Audio.Data, in[from:all[1].SamplesIndex]) {
		t.Error("what was held before the change is not in the end of speech")
	}
	last := all[len(all)-2]
	if want := rate + 2*windowLen; last.Kind != driver.StartOfSpeech || len(last.Audio.Data) != want {
		t.Errorf("got %swant a start with %d samples, the new padding", describe(all[len(all)-2:]), want)
	}
}

func TestStreamsShareADetector(t *testing.T) {
	d := newDetector(t, nil)
	in := mono16k(golden.Samples(t, "flite_awb_yes.wav"))
	want := describe(feed(t, newStream(t, nil), in, 160))
	var wg sync.WaitGroup
	for range 4 {
		s, err := d.NewStream()
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if got := describe(feed(t, s.(*stream), in, 160)); got != want {
				t.Error("a stream beside others has other events")
			}
		})
	}
	for range 20 {
		if err := d.Update(nil); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}

func TestProcessDoesNotAllocate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // on a real clock that stalls, it says that it is late
		for _, format := range []audio.Frame{{Rate: 16000, Channels: 1}, {Rate: 48000, Channels: 2}} {
			f := convert(t, golden.Samples(t, "turns_quiet_noise.wav"), format.Rate, format.Channels)
			s := newStream(t, nil)
			emit := func(*driver.Event) {}
			n := f.Rate / 100 * f.Channels
			all := func() {
				for part := range slices.Chunk(f.Data, n) {
					if err := s.Process(audio.Frame{Data: part, Rate: f.Rate, Channels: f.Channels}, emit); err != nil {
						t.Error(err)
					}
				}
			}
			all() // buffers grow to what they need
			all()
			if got := testing.AllocsPerRun(3, all); got > 0 {
				t.Errorf("%d Hz, %d channels: %v allocations in %v of audio", f.Rate, f.Channels, got, f.Duration())
			}
		}
	})
}

func TestZeroDetectorIsAnError(t *testing.T) {
	if _, err := new(Detector).NewStream(); err == nil {
		t.Error("a detector without a network gave a stream")
	}
}

func BenchmarkProcess(b *testing.B) {
	for _, format := range []audio.Frame{{Rate: 16000, Channels: 1}, {Rate: 48000, Channels: 1}} {
		b.Run(fmt.Sprintf("window_%d_Hz", format.Rate), func(b *testing.B) {
			s := newStream(b, nil)
			in := golden.Samples(b, "flite_slt_weather.wav")
			emit := func(*driver.Event) {}
			n := windowLen * format.Rate / rate
			at := 0
			b.ReportAllocs()
			for b.Loop() {
				if at+n > len(in) {
					at = 0
				}
				if err := s.Process(audio.Frame{Data: in[at : at+n], Rate: format.Rate, Channels: 1}, emit); err != nil {
					b.Fatal(err)
				}
				at += n
			}
		})
	}
}
