package silero

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"strings"
	"testing"
)

func TestWeightsAreTheNamedOnes(t *testing.T) {
	const want = "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49"
	h := sha256.New()
	if _, err := io.WriteString(h, Weights()); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want || len(Weights()) != 1_289_603 {
		t.Errorf("sha256 %s of %d bytes, want %s of 1289603", got, len(Weights()), want)
	}
	notice, err := os.ReadFile("NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(notice), want) || !strings.Contains(string(notice), FileName) {
		t.Error("NOTICE does not name the file and its sha256")
	}
}
