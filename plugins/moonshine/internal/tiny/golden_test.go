package tiny

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/golden"
	data "github.com/parley-go/parley/models/moonshine"
	"github.com/parley-go/parley/plugins/moonshine/internal/kernel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// embedded is the model under test, loaded once.
var embedded = sync.OnceValues(func() (*Model, error) { return Load(files()) })

func files() Files {
	return Files{Encoder: data.Encoder(), Decoder: data.Decoder(), Vocabulary: data.Vocabulary()}
}

func model(tb testing.TB) *Model {
	tb.Helper()
	m, err := embedded()
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// reference is the part of the golden file that is compared.
type reference struct {
	LogitIDs []int `json:"logit_ids"`
	Files    map[string]fileReference
	Segments []struct {
		File       string
		From       int `json:"from_sample"`
		To         int `json:"to_sample"`
		Frames     int
		Tokens     []int
		Transcript string
	}
}

type fileReference struct {
	Frames  int
	Encoder struct {
		Mean, RMS, Min, Max float64
		Samples             [][3]float64 `json:"samples_t_c_value"`
	}
	CrossKey struct {
		Values []float64 `json:"head0_frame0"`
	} `json:"cross_key_layer0"`
	CrossValue struct {
		Values []float64 `json:"head0_frame0"`
	} `json:"cross_value_layer5"`
	SelfKey struct {
		Values []float64 `json:"head0"`
	} `json:"self_key_layer0_position0"`
	FirstLogits  []float64 `json:"first_logits"`
	SecondLogits []float64 `json:"second_logits"`
	Tokens       []int
	Margins      []float64
	Transcript   string
}

func load(tb testing.TB) reference {
	tb.Helper()
	var ref reference
	golden.Load(tb, "moonshine.json", &ref)
	if len(ref.Files) == 0 || len(ref.LogitIDs) == 0 || len(ref.Segments) == 0 {
		tb.Fatal("the golden file has no files, logits or segments")
	}
	return ref
}

// within fails the test if got is further than tolerance from want.
func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > tolerance {
		t.Errorf("%s is %v, want %v within %v", what, got, want, tolerance)
	}
}

// slow are the files that the race detector and the portable kernel leave out: the others cover
// the same code in less time.
func slow(name string) bool { return name == "flite_slt_long.wav" || name == "turns_quiet_noise.wav" }

func TestNetworkEqualsReference(t *testing.T) {
	ref := load(t)
	for name, want := range ref.Files {
		if raceEnabled && (slow(name) || want.Transcript != "" && name != "flite_awb_yes.wav") {
			continue
		}
		t.Run(name, func(t *testing.T) { compare(t, kernel.Best(1), ref.LogitIDs, name, want) })
	}
}

func TestPortableKernelEqualsReference(t *testing.T) {
	if raceEnabled {
		t.Skip("plain Go code without goroutines: nothing to race, and slow with the detector")
	}
	ref := load(t)
	for _, name := range []string{"flite_awb_yes.wav", "silence.wav", "espeak_timer.wav"} {
		t.Run(name, func(t *testing.T) { compare(t, kernel.Portable(), ref.LogitIDs, name, ref.Files[name]) })
	}
}

func TestTwoWorkersEqualReference(t *testing.T) {
	ref := load(t)
	compare(t, kernel.Best(2), ref.LogitIDs, "flite_awb_yes.wav", ref.Files["flite_awb_yes.wav"])
}

func compare(t *testing.T, k kernel.Kernel, ids []int, name string, want fileReference) {
	m, s := model(t), &Scratch{}
	samples := golden.Samples(t, name)
	frames, n, err := m.encode(context.Background(), k, s, samples)
	if err != nil {
		t.Fatal(err)
	}
	if n != want.Frames {
		t.Fatalf("%d frames, want %d", n, want.Frames)
	}
	compareEncoder(t, frames, want)

	w, err := m.newWriter(context.Background(), k, s, frames, n, limitOf(len(samples)))
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range want.CrossKey.Values {
		within(t, fmt.Sprintf("cross key %d", i), float64(w.cross[0].key(0, 0)[i]), v, 1e-3)
	}
	for i, v := range want.CrossValue.Values {
		within(t, fmt.Sprintf("cross value %d", i), float64(w.cross[5].value(0, 0, i)), v, 1e-3)
	}
	compareDecoder(t, w, ids, want)

	got, err := m.Transcribe(context.Background(), k, s, samples)
	if err != nil {
		t.Fatal(err)
	}
	if got.Text != want.Transcript || got.Tokens != len(want.Tokens) {
		t.Errorf("text %q of %d tokens, want %q of %d", got.Text, got.Tokens, want.Transcript, len(want.Tokens))
	}
	if p := math.Exp(got.LogProb); p <= 0 || p > 1 {
		t.Errorf("mean probability %v is none", p)
	}
}

func compareEncoder(t *testing.T, frames []float32, want fileReference) {
	t.Helper()
	if len(want.Encoder.Samples) == 0 {
		t.Fatal("the reference has no encoder samples")
	}
	for _, s := range want.Encoder.Samples {
		frame, channel := int(s[0]), int(s[1])
		within(t, fmt.Sprintf("frame %d channel %d", frame, channel), float64(frames[frame*width+channel]), s[2], 5e-4)
	}
	var sum, squares float64
	for _, v := range frames {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	within(t, "mean", sum/float64(len(frames)), want.Encoder.Mean, 1e-4)
	within(t, "rms", math.Sqrt(squares/float64(len(frames))), want.Encoder.RMS, 1e-4)
	within(t, "min", float64(slices.Min(frames)), want.Encoder.Min, 5e-3)
	within(t, "max", float64(slices.Max(frames)), want.Encoder.Max, 5e-3)
}

// compareDecoder goes the reference's way token by token.
func compareDecoder(t *testing.T, w *writer, ids []int, want fileReference) {
	t.Helper()
	token := startToken
	for step, next := range want.Tokens {
		logits, err := w.step(context.Background(), token)
		if err != nil {
			t.Fatal(err)
		}
		if step == 0 {
			for i, v := range want.SelfKey.Values {
				within(t, fmt.Sprintf("self key %d", i), float64(w.self[0].key(0, 0)[i]), v, 1e-3)
			}
			compareLogits(t, "first", logits, ids, want.FirstLogits)
		}
		if step == 1 {
			compareLogits(t, "second", logits, ids, want.SecondLogits)
		}
		if got := best(logits); got != next && want.Margins[step] > 0.02 {
			t.Fatalf("token %d is %d, want %d", step, got, next)
		}
		within(t, fmt.Sprintf("margin %d", step), margin(logits), want.Margins[step], 1e-2)
		token = next
	}
}

func compareLogits(t *testing.T, what string, logits []float32, ids []int, want []float64) {
	t.Helper()
	if len(want) != len(ids) {
		t.Fatalf("the reference has %d %s logits, want %d", len(want), what, len(ids))
	}
	for i, id := range ids {
		within(t, fmt.Sprintf("%s logit of %d", what, id), float64(logits[id]), want[i], 5e-3)
	}
}

// margin is how much higher the best logit is than the second.
func margin(logits []float32) float64 {
	top := best(logits)
	second := float32(math.Inf(-1))
	for i, v := range logits {
		if i != top {
			second = max(second, v)
		}
	}
	return float64(logits[top] - second)
}

func TestSegmentsHaveTheirTextAlone(t *testing.T) {
	m, s := model(t), &Scratch{}
	for i, seg := range load(t).Segments {
		if raceEnabled && i > 0 {
			break
		}
		samples := golden.Samples(t, seg.File)[seg.From:seg.To]
		if _, _, n := frameCount(len(samples)); n != seg.Frames {
			t.Errorf("segment %d has %d frames, want %d", i, n, seg.Frames)
		}
		got, err := m.Transcribe(context.Background(), kernel.Best(1), s, samples)
		if err != nil {
			t.Fatal(err)
		}
		if got.Text != seg.Transcript || got.Tokens != len(seg.Tokens) {
			t.Errorf("segment %d is %q of %d tokens, want %q of %d", i, got.Text, got.Tokens, seg.Transcript, len(seg.Tokens))
		}
	}
}
