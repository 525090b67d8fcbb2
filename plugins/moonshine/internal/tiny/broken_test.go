package tiny

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/parley-go/parley/plugins/moonshine/internal/kernel"
)

// use loads the files and, if that works, listens to half a second. Whatever happens must be an
// error or a text, never a panic.
func use(t *testing.T, f Files) error {
	t.Helper()
	m, err := Load(f)
	if err != nil {
		var part *PartError
		if !errors.As(err, &part) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %q does not name the file in one line", err)
		}
		return err
	}
	if _, err := m.Transcribe(context.Background(), kernel.Best(1), &Scratch{}, make([]int16, Rate/2)); err != nil {
		t.Errorf("transcribe: %v", err)
	}
	return nil
}

func TestTruncatedFilesAreErrors(t *testing.T) {
	whole := files()
	for _, n := range []int{0, 1, 2, 10, 100, 1000, 10_000, 1_000_000, len(whole.Encoder) - 1} {
		f := whole
		f.Encoder = f.Encoder[:n]
		if use(t, f) == nil {
			t.Errorf("an encoder of %d bytes was accepted", n)
		}
	}
	for _, n := range []int{0, 3, 1000, 300_000, len(whole.Decoder) / 2, len(whole.Decoder) - 1} {
		f := whole
		f.Decoder = f.Decoder[:n]
		if use(t, f) == nil {
			t.Errorf("a decoder of %d bytes was accepted", n)
		}
	}
	for _, n := range []int{0, 100, len(whole.Vocabulary) - 5} {
		f := whole
		f.Vocabulary = f.Vocabulary[:n]
		if use(t, f) == nil {
			t.Errorf("a vocabulary of %d bytes was accepted", n)
		}
	}
}

// spots are places in a file where its structure is, not its numbers: beside names.
func spots(rng *rand.Rand, file string, count int) []int {
	names := []string{"_quantized", "_scale", "_zero_point", "MatMulInteger", "else_branch", "q_proj", "weight", "bias", "rotary_emb"}
	var at []int
	for len(at) < count {
		start := rng.IntN(len(file))
		if i := strings.Index(file[start:], names[rng.IntN(len(names))]); i >= 0 {
			at = append(at, min(max(start+i+rng.IntN(40)-20, 0), len(file)-1))
		}
	}
	return at
}

func TestMutatedFilesDoNotPanic(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	rounds := 40
	if raceEnabled {
		rounds = 4
	}
	failed := 0
	for range rounds {
		for _, part := range []string{"encoder", "decoder"} {
			f := files()
			file := &f.Encoder
			if part == "decoder" {
				file = &f.Decoder
			}
			b := []byte(*file)
			for _, at := range spots(rng, *file, 3) {
				b[at] = byte(rng.Uint32())
			}
			*file = string(b)
			if use(t, f) != nil {
				failed++
			}
		}
	}
	if failed == 0 {
		t.Error("no mutation was noticed: they do not reach the structure of the files")
	}
}

func FuzzVocabulary(f *testing.F) {
	f.Add("")
	f.Add("<unk>\n<s>\n</s>")
	f.Add(files().Vocabulary)
	f.Fuzz(func(t *testing.T, text string) {
		pieces, err := splitVocabulary(text)
		if (err == nil) != (len(pieces) == pieceCount) {
			t.Errorf("%d pieces with error %v", len(pieces), err)
		}
	})
}
