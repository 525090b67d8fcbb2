package flite

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

func TestModuleIsTheNamedOne(t *testing.T) {
	const want = "f975276f4f2a6de78613f197533aac2167d181b77020866d142d594bcc2a0e80"
	module, err := Module()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(module)
	if got := hex.EncodeToString(sum[:]); got != want || len(module) != size {
		t.Errorf("sha256 %s of %d bytes, want %s of %d", got, len(module), want, size)
	}
	notice, err := os.ReadFile("NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(notice), want) || !strings.Contains(string(notice), FileName) {
		t.Error("NOTICE does not name the file and its sha256")
	}
}

func TestCopyingIsComplete(t *testing.T) {
	const want = "b94171931b8343bdd2760974d9cd49c07c346973739c6208cb29c059418d1535"
	text, err := os.ReadFile("LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("LICENSE was changed: sha256 %s, want %s", got, want)
	}
	for _, owner := range []string{"Carnegie Mellon University", "Nagoya Institute", "Cepstral", "Cobalt", "University of Toronto", "Edinburgh"} {
		if !strings.Contains(string(text), owner) {
			t.Errorf("LICENSE does not name %s", owner)
		}
	}
}

func BenchmarkModule(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(size)
	for b.Loop() {
		if _, err := Module(); err != nil {
			b.Fatal(err)
		}
	}
}
