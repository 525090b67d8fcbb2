package silero

import (
	"fmt"
	"math"
	"testing"
	"time"
)

func defaults(t testing.TB) *settings {
	t.Helper()
	s, err := new(Options).resolve()
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

// run feeds probabilities and writes down each change as "+window" or "-window".
func (g *gate) run(o *settings, ps ...float32) (log string) {
	for i, p := range ps {
		g.smooth(p)
		switch g.decide(o) {
		case started:
			log += fmt.Sprintf("+%d ", i)
		case ended:
			log += fmt.Sprintf("-%d ", i)
			g.publicSpeech = 0
		}
	}
	return log
}

// level is n times the probability p.
func level(n int, p float32) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = p
	}
	return out
}

func TestSmoothingEqualsTheReference(t *testing.T) {
	for name, want := range loadReference(t).Files {
		var g gate
		for i, p := range want.Prob {
			g.smooth(float32(p))
			if math.Abs(g.smoothed-want.Smoothed[i]) > 1e-4 {
				t.Errorf("%s: window %d: got %v, want %v", name, i, g.smoothed, want.Smoothed[i])
			}
		}
	}
}

func TestGateWithTheDefaults(t *testing.T) {
	for _, c := range []struct {
		name string
		in   [][]float32
		want string
	}{
		{"one window is too short", [][]float32{level(1, 1), level(9, 0)}, ""},
		{"two windows start", [][]float32{level(2, 1)}, "+1 "},
		{"the threshold itself counts", [][]float32{level(2, 0.5)}, "+1 "},
		{"below the threshold", [][]float32{level(99, 0.4999)}, ""},
		{"the first window is not smoothed", [][]float32{level(1, 0.6), level(1, 0.5)}, "+1 "},
		{"above deactivation speech goes on", [][]float32{level(5, 1), level(99, 0.36)}, "+1 "},
		// From 1 the first window of zero gives 0.35, which is no longer above the threshold.
		{"17 windows of silence do not end", [][]float32{level(5, 1), level(17, 0)}, "+1 "},
		{"18 windows of silence end", [][]float32{level(5, 1), level(19, 0)}, "+1 -22 "},
		{"a window of speech starts the silence again", [][]float32{level(5, 1), level(16, 0), level(3, 1), level(17, 0)}, "+1 "},
	} {
		var g gate
		var in []float32
		for _, part := range c.in {
			in = append(in, part...)
		}
		if got := g.run(defaults(t), in...); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDurationsOfASegment(t *testing.T) {
	o := defaults(t)
	var g gate
	g.run(o, level(3, 0)...)
	if g.publicSilence != 3 || g.silence != 3 || g.publicSpeech != 0 {
		t.Errorf("after silence: %+v", g)
	}
	g = gate{}
	g.run(o, level(2, 1)...)
	if g.publicSpeech != 2 || g.publicSilence != 0 {
		t.Errorf("at the start: %+v, want the speech that triggered it", g)
	}
	g.run(o, level(8, 1)...)
	for range 18 {
		g.smooth(0)
		if g.decide(o) == ended {
			break
		}
	}
	if g.speaking || g.publicSpeech != 10 || windows(g.publicSilence) != 576*time.Millisecond {
		t.Errorf("at the end: %+v, want 10 windows of speech and 576 ms of silence", g)
	}
}

func TestDurationsDoNotDriftInLongSilence(t *testing.T) {
	const hours = 10
	var g gate
	for range hours * 3600 * 1000 / 32 {
		g.smooth(0)
		g.decide(defaults(t))
	}
	if got := windows(g.publicSilence); got != hours*time.Hour {
		t.Errorf("got %v, want exactly %d h", got, hours)
	}
}
