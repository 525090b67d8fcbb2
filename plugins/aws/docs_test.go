package aws

import (
	"os"
	"strings"
	"testing"
)

// The row in the list of providers, which is made by a module that does not know this one, is right.
func TestDocumented(t *testing.T) {
	d, err := newRealtime(nil)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	c := d.Capabilities()
	if c.ClientTurns || c.Say || c.Truncation || !c.ServerTurns || !c.UserTranscription || c.OutputRate != 24000 {
		t.Errorf("capabilities %+v are not those in internal/providers", c)
	}
	row := "| `aws` | `NewRealtime` | Realtime | " + d.Info().Model + " | finds turns, transcripts, 24 kHz | tokens, stated | AWS_ACCESS_KEY_ID"
	if !strings.Contains(string(doc), row) {
		t.Errorf("docs/providers.md has no row %q", row)
	}
}
