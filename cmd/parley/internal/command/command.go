// Package command is the command line of parley: flags, and what is printed.
package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// Exit statuses.
const (
	exitOK         = 0
	exitDifference = 1 // a bill differs by more than the tolerance
	exitUsage      = 2 // flags or paths are wrong, nothing was printed
	exitIncomplete = 3 // something that was read is damaged; what was printed is what is left
)

const help = `parley is for those who run agents.

  parley usage [flags] path...            what sessions have used, and what that costs
  parley usage reconcile [flags] path...  compare it with the bill of a provider

"parley usage -h" and "parley usage reconcile -h" tell the flags.
`

// Run runs parley with the arguments behind its name, and returns the exit status.
func Run(args []string, stdout, stderr io.Writer) int {
	c := &cmd{stdout: stdout, stderr: stderr, name: "parley"}
	switch {
	case len(args) == 0:
		fmt.Fprint(stderr, help)
		return exitUsage
	case args[0] == "help" || args[0] == "-h" || args[0] == "-help" || args[0] == "--help":
		fmt.Fprint(stdout, help)
		return exitOK
	case args[0] != "usage":
		return c.fail(fmt.Errorf("there is no command %q", args[0]))
	case len(args) > 1 && args[1] == "reconcile":
		c.name = "parley usage reconcile"
		return c.reconcile(args[2:])
	}
	c.name = "parley usage"
	return c.usage(args[1:])
}

// cmd is a command that runs.
type cmd struct {
	name           string
	stdout, stderr io.Writer
}

// fail says why the command cannot be run.
func (c *cmd) fail(err error) int {
	fmt.Fprintf(c.stderr, "%s: %v\nRun %q for help.\n", c.name, err, c.name+" -h")
	return exitUsage
}

// parse reads flags, wherever they stand, and returns the paths. done is that there is nothing else to do.
func (c *cmd) parse(fs *flag.FlagSet, help string, args []string) (paths []string, status int, done bool) {
	fs.Usage = func() {}
	fs.SetOutput(io.Discard)
	for {
		switch err := fs.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			fmt.Fprint(c.stdout, help, "\nFlags:\n\n")
			fs.SetOutput(c.stdout)
			fs.PrintDefaults()
			return nil, exitOK, true
		case err != nil:
			return nil, c.fail(err), true
		}
		if fs.NArg() == 0 {
			break
		}
		paths, args = append(paths, fs.Arg(0)), fs.Args()[1:]
	}
	if len(paths) == 0 {
		return nil, c.fail(errors.New("no path is given of a ledger, a report or a folder of them")), true
	}
	return paths, exitOK, false
}

// notes tells what there is to say of what was read.
func (c *cmd) notes(damage, remarks []string) {
	for _, s := range damage {
		fmt.Fprintf(c.stderr, "%s: NOT COUNTED: %s\n", c.name, s)
	}
	for _, s := range remarks {
		fmt.Fprintf(c.stderr, "%s: note: %s\n", c.name, s)
	}
}
