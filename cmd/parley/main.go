// Parley is the command line tool of those who run agents: it says what their sessions have used, and
// compares that with what providers bill. See docs/usage.md.
package main

import (
	"os"
	_ "time/tzdata" // for -tz on machines that have no time zones

	"github.com/parley-go/parley/cmd/parley/internal/command"
)

func main() { os.Exit(command.Run(os.Args[1:], os.Stdout, os.Stderr)) }
