// Gen writes docs/providers.md. Run it at the root of the repository.
package main

import (
	"fmt"
	"os"

	"github.com/parley-go/parley/internal/providers"
)

func main() {
	page, err := providers.Page()
	if err == nil {
		err = os.WriteFile("docs/providers.md", []byte(page), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
