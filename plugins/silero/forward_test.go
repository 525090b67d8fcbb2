package silero

import (
	"math"
	"testing"

	"github.com/parley-go/parley/internal/golden"
)

// reference is silero.json.
type reference struct {
	Files map[string]struct {
		Windows  int
		Prob     []float64
		Smoothed []float64
		FinalH   []float64 `json:"final_h"`
		FinalC   []float64 `json:"final_c"`
		Events   []struct {
			Type            string
			Window          int
			Time            float64
			SpeechDuration  float64 `json:"speech_duration"`
			SilenceDuration float64 `json:"silence_duration"`
		}
	}
}

func loadReference(tb testing.TB) (r reference) {
	tb.Helper()
	golden.Load(tb, "silero.json", &r)
	if len(r.Files) != 11 {
		tb.Fatalf("silero.json has %d files, want 11", len(r.Files))
	}
	return r
}

func embeddedNetwork(tb testing.TB) *network {
	tb.Helper()
	n, err := embedded()
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// largest is the largest difference of two rows of equal length.
func largest(t *testing.T, got []float32, want []float64) (worst float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d values, want %d", len(got), len(want))
	}
	for i := range got {
		worst = max(worst, math.Abs(float64(got[i])-want[i]))
	}
	return worst
}

// probabilities runs the network over the whole windows of in.
func probabilities(n *network, s *state, in []float32) (out []float32) {
	for ; len(in) >= windowLen; in = in[windowLen:] {
		out = append(out, n.step(s, in))
	}
	return out
}

func TestProbabilitiesEqualTheReference(t *testing.T) {
	n := embeddedNetwork(t)
	if n.fft == nil {
		t.Error("the basis of the shipped model was not recognised as a windowed DFT")
	}
	for name, want := range loadReference(t).Files {
		var s state
		got := probabilities(n, &s, golden.Floats(t, name))
		worst := largest(t, got, want.Prob)
		if worst > 1e-4 {
			t.Errorf("%s: probabilities differ by %.1e, want at most 1e-4", name, worst)
		}
		for i, p := range got {
			if (p >= 0.5) != (want.Prob[i] >= 0.5) {
				t.Errorf("%s: window %d: %v is on the other side of 0.5 than %v", name, i, p, want.Prob[i])
			}
		}
		at := func(v *[cells]float32) (out []float32) {
			for _, i := range []int{0, 1, 2, 63, 64, 126, 127} {
				out = append(out, v[i])
			}
			return out
		}
		h, c := largest(t, at(&s.h), want.FinalH), largest(t, at(&s.c), want.FinalC)
		if h > 1e-3 || c > 1e-3 {
			t.Errorf("%s: final state differs by %.1e (h) and %.1e (c), want at most 1e-3", name, h, c)
		}
		t.Logf("%s: %d windows, largest differences %.1e, h %.1e, c %.1e", name, len(got), worst, h, c)
	}
}

func TestPlainProductsGiveTheSameProbabilities(t *testing.T) {
	n := *embeddedNetwork(t)
	n.basis = basisOf(n.fft)
	n.fft = nil
	const name = "flite_awb_yes.wav"
	var s state
	got := probabilities(&n, &s, golden.Floats(t, name))
	if worst := largest(t, got, loadReference(t).Files[name].Prob); worst > 1e-4 {
		t.Errorf("probabilities differ by %.1e, want at most 1e-4", worst)
	}
}

// basisOf makes the rows that f stands for.
func basisOf(f *fft) []float32 {
	basis := make([]float32, 2*bins*frameLen)
	for k := range bins {
		for i, w := range f.window {
			s, c := math.Sincos(2 * math.Pi * float64(k*i) / frameLen)
			basis[k*frameLen+i] = w * float32(c)
			basis[(bins+k)*frameLen+i] = -w * float32(s)
		}
	}
	return basis
}

func TestFFTEqualsThePlainProducts(t *testing.T) {
	f := embeddedNetwork(t).fft
	basis := basisOf(f)
	if !isDFT(basis, f.window[:]) {
		t.Error("a windowed DFT was not recognised")
	}
	frame := golden.Floats(t, "noise_white.wav")[:frameLen]
	var z complexes
	var fast, plain [bins]float32
	f.magnitudes(fast[:], frame, &z)
	basisMagnitudes(plain[:], frame, basis)
	for k := range bins {
		if math.Abs(float64(fast[k]-plain[k])) > 1e-4 {
			t.Errorf("bin %d: %v by FFT, %v by products", k, fast[k], plain[k])
		}
	}
	basis[(bins+3)*frameLen+7] += 1e-3
	if isDFT(basis, f.window[:]) {
		t.Error("a basis with a wrong value was taken for a windowed DFT")
	}
}

func TestDotOfEveryLength(t *testing.T) {
	a, b := make([]float32, 131), make([]float32, 140)
	for i := range a {
		a[i] = float32(i%7) - 3
	}
	for i := range b {
		b[i] = float32(i%5) - 2
	}
	for n := range a {
		want := float32(0)
		for i := range n {
			want += a[i] * b[i]
		}
		if got := dot(a[:n], b); got != want {
			t.Errorf("length %d: got %v, want %v", n, got, want)
		}
	}
}

func BenchmarkStep(b *testing.B) {
	n := embeddedNetwork(b)
	in := golden.Floats(b, "flite_slt_weather.wav")
	var s state
	b.ReportAllocs()
	at := 0
	for b.Loop() {
		if at+windowLen > len(in) {
			at = 0
		}
		n.step(&s, in[at:])
		at += windowLen
	}
}

func BenchmarkLoad(b *testing.B) {
	file := embeddedFile()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseNetwork(file); err != nil {
			b.Fatal(err)
		}
	}
}
