package golden_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/golden"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAudioIsWhatTheReferencesHeard(t *testing.T) {
	for _, name := range []string{"silero.json", "moonshine.json"} {
		var ref struct {
			Files map[string]struct {
				SHA256  string
				Samples int
			}
		}
		golden.Load(t, name, &ref)
		if len(ref.Files) == 0 {
			t.Errorf("%s names no files", name)
		}
		for wav, want := range ref.Files {
			b, err := fs.ReadFile(golden.Files, wav)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			sum := sha256.Sum256(b)
			if got := hex.EncodeToString(sum[:]); got != want.SHA256 {
				t.Errorf("%s: sha256 of %s is %s, want %s", name, wav, got, want.SHA256)
			}
			if got := len(golden.Samples(t, wav)); want.Samples != 0 && got != want.Samples {
				t.Errorf("%s: %s has %d samples, want %d", name, wav, got, want.Samples)
			}
		}
	}
}

func TestFloatsStayBelowOne(t *testing.T) {
	loudest := float32(0)
	for _, v := range golden.Floats(t, "noise_white.wav") {
		loudest = max(loudest, v, -v)
	}
	if loudest <= 0.1 || loudest > 1 {
		t.Errorf("loudest sample is %v, want noise within (0.1, 1]", loudest)
	}
}
