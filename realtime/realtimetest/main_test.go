package realtimetest

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCasesExplainThemselves(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Cases() {
		if seen[c.Name] || c.Name == "" {
			t.Errorf("the name %q is not its own", c.Name)
		}
		seen[c.Name] = true
		if len(c.Why) < 20 {
			t.Errorf("%s: the rule is no sentence: %q", c.Name, c.Why)
		}
		if c.run == nil {
			t.Errorf("%s does nothing", c.Name)
		}
	}
}
