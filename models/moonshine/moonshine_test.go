package moonshine_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/parley-go/parley/models/moonshine"
)

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func TestEmbeddedFilesAreThePublishedOnes(t *testing.T) {
	for _, c := range []struct {
		name, data, sha string
		size            int
	}{
		{moonshine.EncoderFile, moonshine.Encoder(), "c6fc4b7bc5af75c0591fd157a1f3829b533d18e9769a888fd95a62e470dd4f4a", 7_937_661},
		{moonshine.DecoderFile, moonshine.Decoder(), "eed87831c3a6103534aae7d47a5d485025c659a1323901513961c39fe8a1a367", 20_243_286},
		{moonshine.VocabularyFile, moonshine.Vocabulary(), "0f97b4337921e6e7e9b4620fc73338ee570aecd3c16038bc23870a887e995045", 242_918},
	} {
		if len(c.data) != c.size {
			t.Errorf("%s has %d bytes, want %d", c.name, len(c.data), c.size)
		}
		if got := sum(c.data); got != c.sha {
			t.Errorf("%s has sha256 %s, want %s", c.name, got, c.sha)
		}
	}
}

func TestVocabularyAsJSONHasThePublishedSum(t *testing.T) {
	lines := strings.Split(moonshine.Vocabulary(), "\n")
	if len(lines) != 32_000 {
		t.Fatalf("%d pieces, want 32000", len(lines))
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(lines); err != nil {
		t.Fatal(err)
	}
	// The sum was made from JSON that leaves these two characters as they are.
	text := strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(strings.TrimSuffix(b.String(), "\n"))
	if got, want := sum(text), "608ca83fc874507e0ff72d0505dc39d9cc95b100e0ce979dbc1625aedd94b532"; got != want {
		t.Errorf("sha256 %s, want %s (%d bytes of JSON, want 307260)", got, want, len(text))
	}
}
