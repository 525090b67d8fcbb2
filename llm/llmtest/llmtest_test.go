package llmtest

import (
	"testing"

	"github.com/parley-go/parley/model/fault"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCasesExplainThemselves(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases {
		if seen[c.name] || c.name == "" {
			t.Errorf("the name %q is not its own", c.name)
		}
		seen[c.name] = true
		if n := len(c.rule); n < 20 || c.rule[n-1] != '.' {
			t.Errorf("%s: the rule is no sentence: %q", c.name, c.rule)
		}
		if (c.scene.Fault == fault.None) != (c.scene.Times == 0) {
			t.Errorf("%s: the scene %+v makes no sense", c.name, c.scene)
		}
	}
}
