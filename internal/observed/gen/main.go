// Command gen writes docs/observability/opentelemetry.md. It runs in the root of the repository.
package main

import (
	"fmt"
	"os"

	"github.com/parley-go/parley/internal/observed"
)

func main() {
	if err := os.WriteFile("docs/observability/opentelemetry.md", []byte(observed.Page()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
