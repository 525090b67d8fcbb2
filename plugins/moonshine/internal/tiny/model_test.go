package tiny

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/parley-go/parley/plugins/moonshine/internal/kernel"
)

func TestEachKindOfWeightIsDequantisedByItsScheme(t *testing.T) {
	m := model(t)
	row := make([]float32, width)
	m.dec.embedding.row(row, 0)
	for i, q := range []float64{98, 183, 102, 87} {
		within(t, "embedding", float64(row[i]), (q-129)*0.011408232, 1e-7)
	}
	// The first bytes of conv1 are 0x2b, 0x22, 0xcb (negative); its zero point is added.
	for i, q := range []float64{0x2b, 0x22, 0xcb - 256} {
		within(t, "conv1", float64(m.enc.conv1.data[i]), q*0.0133475037+0.0266950075, 1e-6)
	}
	if last := m.enc.conv1.data[conv1Taps]; last != 0 {
		t.Errorf("the tap beyond the kernel of conv1 is %v, want 0", last)
	}
	// The first bytes of conv2 are taps of one channel: they lie a channel row apart.
	for i, q := range []float64{3, 3, 6, 22, 23} {
		within(t, "conv2", float64(m.enc.conv2.data[i*width]), q*0.0158195160-0.1423756480, 1e-6)
	}
	// The first bytes of the first query layer, 0x95 0x81, belong to two outputs.
	qkv := m.enc.layers[0].qkv
	scale := float64(math.Float32frombits(0x3c4ff622))
	within(t, "query of output 0", float64(qkv.data[0]), (0x95-0x8d)*scale, 1e-7)
	within(t, "query of output 1", float64(qkv.data[width]), (0x81-0x8d)*scale, 1e-7)
	if q := m.dec.layers[0].q; q.q[0] != 0x5a || q.q[width] != 0x92 || q.zero != 0x7d {
		t.Errorf("first query of the decoder starts with %#x and %#x at zero %v", q.q[0], q.q[width], q.zero)
	}
}

func TestFrameCounts(t *testing.T) {
	for samples, want := range map[int]int{895: 1, 16_000: 40, 40_000: 102, 134_000: 347} {
		if _, _, got := frameCount(samples); got != want {
			t.Errorf("%d samples give %d frames, want %d", samples, got, want)
		}
	}
	if _, _, got := frameCount(MaxSamples); got > maxFrames {
		t.Errorf("the longest audio gives %d frames, the rotation table has %d", got, maxFrames)
	}
}

func TestLimitOfTokensFollowsTheAudio(t *testing.T) {
	for samples, want := range map[int]int{MinSamples: 3, Rate: 8, 2 * Rate: 14, 55_084: 24, MaxSamples: 157} {
		if got := limitOf(samples); got != want {
			t.Errorf("%d samples allow %d tokens, want %d", samples, got, want)
		}
	}
	if got := limitOf(60 * Rate); got != maxTokens {
		t.Errorf("a minute allows %d tokens, want %d", got, maxTokens)
	}
}

func TestTextOfTokens(t *testing.T) {
	for _, c := range []struct {
		name string
		ids  []int
		want string
	}{
		{"pieces", []int{1724, 338, 278, 14826, 2}, "What is the weather"},
		{"digits follow a space of their own", []int{338, 29871, 29945, 29945}, "is 55"},
		{"bytes are joined before they are read", []int{firstByte + 0xe2, firstByte + 0x82, firstByte + 0xac}, "€"},
		{"a byte that is no text", []int{3869, firstByte + 0xff, 3113}, "Yes\uFFFD please"},
		{"tokens without text", []int{0, 1, 2, 32000, 32767}, ""},
		{"ids that do not exist", []int{-1, 40000}, ""},
		{"nothing", nil, ""},
	} {
		if got := model(t).text(c.ids); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestEndlessRepetitionStopsAndLeavesOne(t *testing.T) {
	repeat := func(n int, run ...int) (ids []int) {
		for range n {
			ids = append(ids, run...)
		}
		return ids
	}
	for _, c := range []struct {
		name string
		ids  []int
		left int // of the tokens after the first
	}{
		{"seven equal digits are a number", append([]int{9}, repeat(7, 5)...), 7},
		{"eleven too", append([]int{9}, repeat(11, 5)...), 11},
		{"twelve are not", append([]int{9}, repeat(12, 5)...), 1},
		{"two tokens five times", append([]int{9}, repeat(5, 5, 6)...), 10},
		{"two tokens six times", append([]int{9}, repeat(6, 5, 6)...), 2},
		{"four tokens six times", append([]int{9}, repeat(6, 5, 6, 7, 8)...), 4},
		{"five tokens six times", append([]int{9}, repeat(6, 5, 6, 7, 8, 4)...), 30},
		{"not at the end", append(repeat(6, 5, 6), 9), 12},
	} {
		if got := len(withoutRepeats(c.ids)) - 1; got != c.left {
			t.Errorf("%s: %d tokens left, want %d", c.name, got, c.left)
		}
	}
}

func TestBestTakesTheFirstOfEquals(t *testing.T) {
	if got := best([]float32{1, 3, 2, 3}); got != 1 {
		t.Errorf("best is %d, want 1", got)
	}
}

func TestLogProbability(t *testing.T) {
	within(t, "certain", logProbability([]float32{50, 0, 0}, 0), 0, 1e-6)
	within(t, "one of four equals", logProbability([]float32{2, 2, 2, 2}, 0), -math.Log(4), 1e-6)
}

// relative is the error of got against want, measured against want.
func relative(got float32, want float64) float64 {
	return math.Abs(float64(got)-want) / math.Max(math.Abs(want), 1e-30)
}

func TestFunctionsEqualThoseOfTheStandardLibrary(t *testing.T) {
	for x := -86.0; x < 86; x += 0.0137 {
		f := float32(x)
		if e := relative(exp(f), math.Exp(float64(f))); e > 3e-7 {
			t.Fatalf("exp(%v) is off by %v", f, e)
		}
	}
	for x := -12.0; x < 12; x += 0.00137 {
		f := float32(x)
		if e := relative(tanh(f), math.Tanh(float64(f))); e > 1e-6 {
			t.Fatalf("tanh(%v) is off by %v", f, e)
		}
		want := 0.5 * float64(f) * (1 + math.Erf(float64(f)/math.Sqrt2))
		if e := math.Abs(float64(gelu(f)) - want); e > 1e-6 {
			t.Fatalf("gelu(%v) is off by %v", f, e)
		}
		if e := relative(sigmoid(f), 1/(1+math.Exp(-float64(f)))); e > 1e-6 {
			t.Fatalf("sigmoid(%v) is off by %v", f, e)
		}
	}
	if e := relative(tanh(1e-7), 1e-7); e > 1e-6 {
		t.Errorf("tanh(1e-7) is off by %v", e)
	}
	inf := float32(math.Inf(1))
	if exp(-inf) != 0 || exp(inf) < 1e37 || tanh(inf) != 1 || tanh(-inf) != -1 || sigmoid(-1000) > 1e-37 {
		t.Errorf("far out: exp %v %v, tanh %v %v, sigmoid %v", exp(-inf), exp(inf), tanh(inf), tanh(-inf), sigmoid(-1000))
	}
}

// tiring is a context that ends at the n-th look at it.
type tiring struct {
	context.Context
	looks, n int
}

func (c *tiring) Err() error {
	if c.looks++; c.looks >= c.n {
		return context.Canceled
	}
	return nil
}

func TestCancelIsNoticedInEveryLayer(t *testing.T) {
	m, s := model(t), &Scratch{}
	samples := make([]int16, MinSamples)
	whole := &tiring{Context: context.Background(), n: math.MaxInt}
	if _, err := m.Transcribe(whole, kernel.Best(1), s, samples); err != nil {
		t.Fatal(err)
	}
	// Two between convolutions, each layer of the encoder, of the cross caches, and of one token.
	if want := 2 + 3*layers; whole.looks < want {
		t.Fatalf("a run looks %d times at its context, want at least %d", whole.looks, want)
	}
	for n := 1; n <= whole.looks; n++ {
		ctx := &tiring{Context: context.Background(), n: n}
		if _, err := m.Transcribe(ctx, kernel.Best(1), s, samples); !errors.Is(err, context.Canceled) || ctx.looks != n {
			t.Fatalf("cancelled at look %d: went on to %d with %v", n, ctx.looks, err)
		}
	}
}

func TestTooLongAudioIsAnError(t *testing.T) {
	_, err := model(t).Transcribe(context.Background(), kernel.Best(1), &Scratch{}, make([]int16, MaxSamples+1))
	if err == nil || !strings.Contains(err.Error(), "more than one run takes") {
		t.Errorf("error is %v", err)
	}
}

func TestScratchIsUsedAgainAndDoesNotGrowForEver(t *testing.T) {
	s := &Scratch{}
	first := s.take(100)
	mk := s.at
	second := s.take(blockFloats) // does not fit beside the first
	s.release(mk)
	if third := s.take(blockFloats); &third[0] != &second[0] {
		t.Error("released memory was not used again")
	}
	if len(s.blocks) != 2 {
		t.Errorf("%d blocks, want 2", len(s.blocks))
	}
	s.reset()
	if again := s.take(100); &again[0] != &first[0] {
		t.Error("memory was not used again after reset")
	}
	s.take(keptFloats)
	s.reset()
	total := 0
	for _, b := range s.blocks {
		total += len(b)
	}
	if total > keptFloats {
		t.Errorf("%d floats are kept, want at most %d", total, keptFloats)
	}
	if z := s.zeros(64); z[0] != 0 || z[63] != 0 {
		t.Error("zeros are not zero")
	}
}
