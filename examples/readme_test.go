package examples

import (
	"os"
	"strings"
	"testing"
)

func TestREADMEShowsTheHelloExample(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("hello/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(source), "package main")
	if !strings.Contains(string(readme), "```go\npackage main"+code+"```") {
		t.Error("README.md does not show examples/hello/main.go; copy it from \"package main\" on")
	}
}
