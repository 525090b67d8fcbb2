package audio

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/parley-go/parley/audio/internal/testaudio"
)

func TestLevelIsDecibelsBelowFullScale(t *testing.T) {
	for _, c := range []struct {
		pcm  []int16
		want uint8
	}{
		{nil, 127},
		{make([]int16, 960), 127},
		{[]int16{-32768, -32768}, 0},
		{testaudio.Tone(1000, 48000, 960), 15}, // a quarter of full scale: 12 dB, and 3 for the sine
		{[]int16{1, -1}, 90},
	} {
		if got := Level(c.pcm); got != c.want {
			t.Errorf("level of %d samples is %d, want %d", len(c.pcm), got, c.want)
		}
	}
	if got := RMS(testaudio.Tone(1000, 48000, 960)); math.Abs(got-0.25/math.Sqrt2) > 1e-3 {
		t.Errorf("RMS of a tone is %v", got)
	}
}

func TestRingIsAQueue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRing(50)
		var want, got, next int16
		buf := make([]int16, 50)
		for range rapid.IntRange(1, 50).Draw(rt, "steps") {
			in := make([]int16, rapid.IntRange(0, len(r.buf)-r.n).Draw(rt, "in"))
			for i := range in {
				in[i] = next
				next++
			}
			r.push(in)
			want += int16(len(in))
			k := r.take(buf[:rapid.IntRange(0, 50).Draw(rt, "out")])
			for _, s := range buf[:k] {
				if s != got {
					rt.Fatalf("took %d, want %d", s, got)
				}
				got++
			}
			if r.n != int(want-got) {
				rt.Fatalf("%d in the queue, want %d", r.n, want-got)
			}
		}
	})
}
