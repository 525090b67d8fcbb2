package session_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestCasesTable checks that the table of docs/turn-taking.md names the tests there are, and no others.
func TestCasesTable(t *testing.T) {
	doc, err := os.ReadFile("../docs/turn-taking.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^func (Test(?:C\d{3})+\w*)\(`)
	var tests []string
	err = filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(src, -1) {
			tests = append(tests, string(m[1]))
		}
		return err
	})
	if err != nil || len(tests) < 80 {
		t.Fatalf("found %d tests of cases: %v", len(tests), err)
	}
	for _, name := range tests {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("%s is not in the table", name)
		}
	}
	for _, m := range regexp.MustCompile("`(TestC\\d[^`]*)`").FindAllSubmatch(doc, -1) {
		if !slices.Contains(tests, string(m[1])) {
			t.Errorf("%s is in the table, and there is no such test", m[1])
		}
	}
}
