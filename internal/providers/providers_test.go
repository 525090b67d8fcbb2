package providers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPageIsUpToDate(t *testing.T) {
	want, err := Page()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/providers.md")
	if err != nil || string(got) != want {
		t.Errorf("docs/providers.md is out of date (%v): go run ./internal/providers/gen", err)
	}
}

// Every plugin of a provider is in the list, and has an example.
func TestEveryPluginIsListed(t *testing.T) {
	dirs, err := os.ReadDir("../../plugins")
	if err != nil {
		t.Fatal(err)
	}
	local := []string{"flite", "moonshine", "rules", "silero"}
	for _, d := range dirs {
		if slices.Contains(local, d.Name()) {
			continue
		}
		if !slices.ContainsFunc(All(), func(m Model) bool { return m.Plugin == d.Name() }) {
			t.Errorf("plugin %s is not listed", d.Name())
		}
		examples, _ := filepath.Glob(filepath.Join("../../plugins", d.Name(), "example*_test.go"))
		if len(examples) == 0 {
			t.Errorf("plugin %s has no example", d.Name())
		}
	}
}

// Without a key the error names the variable to set.
func TestMissingKeyNamesItsVariable(t *testing.T) {
	for _, m := range All() {
		name := strings.FieldsFunc(m.Env, func(r rune) bool { return r == ',' || r == ' ' })[0]
		for _, v := range strings.FieldsFunc(m.Env, func(r rune) bool { return r == ',' || r == ' ' }) {
			if v != "or" {
				t.Setenv(v, "")
			}
		}
		x, err := m.New("")
		if _, ok := x.(elsewhere); ok || strings.HasSuffix(name, "_URL") {
			continue // its own module tests it, or a server of one's own needs no key
		}
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s.%s without a key: %v, want the name %s in it", m.Plugin, m.Func, err, name)
		}
	}
}
