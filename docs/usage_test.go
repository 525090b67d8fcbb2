package docs

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPitfallsAreAllThere holds the tables of pitfalls in usage.md against the list that they are of, and against the
// tests that they name.
func TestPitfallsAreAllThere(t *testing.T) {
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			for _, m := range declared.FindAllStringSubmatch(read(t, path), -1) {
				tests[m[1]] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, page, ok := strings.Cut(read(t, "usage.md"), "## Known pitfalls")
	if !ok {
		t.Fatal("usage.md has no pitfalls")
	}
	named := regexp.MustCompile("`(Test\\w+)`")
	rows := map[string]bool{}
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		cells := strings.Split(strings.TrimSpace(line), " | ")
		rows[strings.TrimPrefix(cells[0], "| ")] = true
		shown := named.FindAllStringSubmatch(cells[len(cells)-1], -1)
		if len(shown) == 0 && !strings.Contains(line, "Shown by") {
			t.Errorf("no test shows %s", line)
		}
		for _, m := range shown {
			if !tests[m[1]] {
				t.Errorf("there is no %s: %s", m[1], line)
			}
		}
	}
	for kind, n := range map[string]int{"P": 29, "R": 24} {
		for i := range n {
			if id := fmt.Sprintf("%s-%d", kind, i+1); !rows[id] {
				t.Errorf("%s is missing", id)
			}
		}
	}
	for _, m := range named.FindAllStringSubmatch(read(t, "usage.md"), -1) {
		if !tests[m[1]] {
			t.Errorf("usage.md names %s, which is not there", m[1])
		}
	}
}
