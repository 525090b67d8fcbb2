package audio

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var commonRates = []int{8000, 16000, 22050, 24000, 44100, 48000}

func newTestResampler(t testing.TB, in, out, channels int, q Quality) *Resampler {
	t.Helper()
	r, err := NewResampler(in, out, channels, q)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tone is a sine of n samples at half of full scale.
func tone(hz float64, rate, n int) []int16 {
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(math.Round(16384 * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return out
}

// levelAt is the level of one frequency in pcm, in dB relative to a tone of half of full scale.
// A window keeps the other frequencies out.
func levelAt(pcm []int16, hz float64, rate int) float64 {
	var re, im, sum float64
	for i, s := range pcm {
		x := 2 * math.Pi * float64(i) / float64(len(pcm))
		w := 0.35875 - 0.48829*math.Cos(x) + 0.14128*math.Cos(2*x) - 0.01168*math.Cos(3*x)
		a := 2 * math.Pi * hz * float64(i) / float64(rate)
		re += w * float64(s) * math.Cos(a)
		im += w * float64(s) * math.Sin(a)
		sum += w
	}
	return 20 * math.Log10(2*math.Hypot(re, im)/sum/16384+1e-12)
}

// resampleTone sends a tone through a resampler in pieces of 10 ms, and cuts off the edges.
func resampleTone(t testing.TB, hz float64, in, out int, q Quality) []int16 {
	t.Helper()
	r := newTestResampler(t, in, out, 1, q)
	var got []int16
	for c := range slices.Chunk(tone(hz, in, in), in/100) {
		got = r.Process(got, c)
	}
	return got[out/50 : out-out/50]
}

func TestResamplerKeepsAliasesDown(t *testing.T) {
	const in, out = 48000, 16000
	for _, c := range []struct{ times, bound float64 }{{1.1, -80}, {1.25, -90}, {1.5, -90}} {
		// The odd 3.7 Hz keep the rounding of the test tone itself from repeating in step with the
		// alias that is measured.
		hz := c.times*out/2 + 3.7
		got := levelAt(resampleTone(t, hz, in, out, Fast), out-hz, out)
		t.Logf("tone at %.2f x Nyquist: alias %.1f dB", c.times, got)
		if got > c.bound {
			t.Errorf("alias of a tone at %.2f x Nyquist is at %.1f dB, want at most %.0f", c.times, got, c.bound)
		}
	}
}

func TestResamplerKeepsLevelAndImages(t *testing.T) {
	const in, out = 24000, 48000
	hz := 0.85 * in / 2
	for _, q := range []Quality{Fast, High} {
		pcm := resampleTone(t, hz, in, out, q)
		level, image := levelAt(pcm, hz, out), levelAt(pcm, in-hz, out)
		t.Logf("quality %d: level %.2f dB, image %.1f dB", q, level, image)
		if math.Abs(level) > 0.5 {
			t.Errorf("quality %d: level at 0.85 Nyquist is off by %.2f dB, want within 0.5", q, level)
		}
		if image > -80 {
			t.Errorf("quality %d: image at 0.85 Nyquist is at %.1f dB, want at most -80", q, image)
		}
	}
}

func TestResamplerHasNoHum(t *testing.T) {
	for _, in := range commonRates {
		for _, out := range commonRates {
			src := slices.Repeat([]int16{12345}, in/10)
			got := newTestResampler(t, in, out, 1, Fast).Process(nil, src)
			for i, s := range got[len(got)/2:] {
				if s != 12345 {
					t.Fatalf("%d to %d Hz: constant input gives %d at %d", in, out, s, i)
				}
			}
		}
	}
}

func TestResamplerLengthIsExact(t *testing.T) {
	for _, in := range commonRates {
		for _, out := range commonRates {
			for _, n := range []int{0, 1, 7, in / 100, in/2 + 3} {
				got := len(newTestResampler(t, in, out, 1, Fast).Process(nil, make([]int16, n)))
				if want := (n*out + in - 1) / in; got != want {
					t.Errorf("%d samples from %d to %d Hz give %d, want %d", n, in, out, got, want)
				}
			}
		}
	}
}

func TestResamplerGivesTheSameForAnyCut(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var (
			in       = rapid.SampledFrom(commonRates).Draw(rt, "in")
			out      = rapid.SampledFrom(commonRates).Draw(rt, "out")
			channels = rapid.IntRange(1, 3).Draw(rt, "channels")
			frames   = rapid.IntRange(0, 3000).Draw(rt, "frames")
			seed     = rapid.Uint32().Draw(rt, "seed")
			src      = make([]int16, frames*channels)
		)
		for i := range src {
			seed = seed*1664525 + 1013904223
			src[i] = int16(seed >> 16)
		}
		whole := newTestResampler(t, in, out, channels, Fast)
		want := whole.Flush(whole.Process(nil, src))

		cut := newTestResampler(t, in, out, channels, Fast)
		var got []int16
		for rest := src; len(rest) > 0; {
			n := rapid.IntRange(0, min(1500, len(rest)/channels)).Draw(rt, "n") * channels
			got = cut.Process(got, rest[:n])
			rest = rest[n:]
		}
		if got = cut.Flush(got); !slices.Equal(got, want) {
			rt.Fatalf("%d to %d Hz: pieces give %d other samples than one call (%d)", in, out, len(got), len(want))
		}
	})
}

func TestResamplerFlushAndDelayAlign(t *testing.T) {
	for _, in := range commonRates {
		for _, out := range commonRates {
			src := tone(300, in, in/10)
			r := newTestResampler(t, in, out, 1, Fast)
			got := r.Flush(r.Process(nil, src))[r.Delay():]
			want := tone(300, out, out/10)
			if len(got) < len(want) || len(got) > len(want)+1 {
				t.Errorf("%d to %d Hz: %d aligned samples, want %d", in, out, len(got), len(want))
				continue
			}
			edge := out / 100 // where the tone begins and ends it is no longer a tone
			for i := edge; i < len(want)-edge; i++ {
				// A delay that is cut to a whole sample shifts the tone by less than one.
				if d := int(got[i]) - int(want[i]); d > 4000 || d < -4000 {
					t.Errorf("%d to %d Hz: sample %d is %d, want about %d", in, out, i, got[i], want[i])
					break
				}
			}
		}
	}
}

func TestResamplerStartsAnewAfterFlushAndReset(t *testing.T) {
	src := tone(1000, 24000, 777)
	r := newTestResampler(t, 24000, 48000, 1, Fast)
	want := r.Flush(r.Process(nil, src))
	if got := r.Flush(r.Process(nil, src)); !slices.Equal(got, want) {
		t.Error("after Flush the resampler remembers the stream before")
	}
	r.Process(nil, src)
	r.Reset()
	if got := r.Flush(r.Process(nil, src)); !slices.Equal(got, want) {
		t.Error("after Reset the resampler remembers the stream before")
	}
}

func TestResamplerPassesEqualRatesThrough(t *testing.T) {
	r := newTestResampler(t, 16000, 16000, 2, Fast)
	src := []int16{1, -2, 3, -4}
	if got := r.Flush(r.Process(nil, src)); !slices.Equal(got, src) {
		t.Errorf("got %v, want %v", got, src)
	}
	if r.Delay() != 0 {
		t.Errorf("delay of equal rates is %d", r.Delay())
	}
}

func TestResamplerClamps(t *testing.T) {
	// A square wave at full scale overshoots in every band-limited filter.
	src := make([]int16, 4800)
	for i := range src {
		src[i] = 32767
		if i/24%2 == 1 {
			src[i] = -32768
		}
	}
	got := newTestResampler(t, 24000, 48000, 1, Fast).Process(nil, src)
	if hi, lo := slices.Max(got), slices.Min(got); hi != 32767 || lo != -32768 {
		t.Fatalf("square wave reaches %d..%d, want full scale", lo, hi)
	}
	for i := 1; i < len(got); i++ {
		if d := int(got[i]) - int(got[i-1]); d > 60000 || d < -60000 {
			t.Fatalf("sample %d wrapped: %d after %d", i, got[i], got[i-1])
		}
	}
}

func TestResamplerSharesTables(t *testing.T) {
	a := newTestResampler(t, 48000, 16000, 1, Fast)
	b := newTestResampler(t, 24000, 8000, 2, Fast)
	if a.table != b.table {
		t.Error("the same ratio has two tables")
	}
	if c := newTestResampler(t, 48000, 16000, 1, High); c.table == a.table {
		t.Error("two qualities share a table")
	}
}

func TestNewResamplerRefuses(t *testing.T) {
	if _, err := NewResampler(44100, 47999, 1, Fast); !errors.Is(err, ErrRatio) {
		t.Errorf("44100 to 47999 Hz: got %v, want ErrRatio", err)
	}
	for _, c := range [][3]int{{0, 48000, 1}, {48000, 0, 1}, {48000, 16000, 0}, {-1, 16000, 1}, {48000, 16000, 9}} {
		if _, err := NewResampler(c[0], c[1], c[2], Fast); err == nil {
			t.Errorf("%v was accepted", c)
		}
	}
}

func BenchmarkResampler(b *testing.B) {
	for _, c := range [][2]int{{48000, 16000}, {24000, 48000}, {16000, 48000}} {
		b.Run(fmt.Sprintf("%d-%d/10ms", c[0]/1000, c[1]/1000), func(b *testing.B) {
			r := newTestResampler(b, c[0], c[1], 1, Fast)
			src := tone(440, c[0], c[0]/100)
			dst := r.Process(nil, src)
			b.ReportAllocs()
			for b.Loop() {
				dst = r.Process(dst[:0], src)
			}
		})
	}
}
