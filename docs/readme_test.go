package docs

import (
	"os"
	"strings"
	"testing"
)

func TestREADMEShowsTheHelloExample(t *testing.T) {
	_, code, _ := strings.Cut(read(t, "../examples/hello/main.go"), "package main")
	if !strings.Contains(read(t, "../README.md"), "```go\npackage main"+code+"```") {
		t.Error("README.md does not show examples/hello/main.go; copy it from \"package main\" on")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
