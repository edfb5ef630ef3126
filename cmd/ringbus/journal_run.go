package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/segment"
)

// Exit statuses of programs that cannot be run, as shells have them.
const (
	statusCannotRun = 126
	statusNotFound  = 127
)

func newJournalRun(g *global) *cobra.Command {
	w := writing{}
	var errLevel levelFlag
	tee := false
	c := &cobra.Command{
		Use:   "run NAME -- COMMAND...",
		Short: "Run a program and append each line that it prints to a journal",
		Long: `Run a program and append each line of its standard output and standard error as
one record, whose key is the stream: stdout or stderr. A line that is longer than
a record may be is cut into several. The writer's name is the program's, unless
--name says otherwise. Each stream keeps its order; which of two lines of
different streams came first is not known, and the records need not say it.

Signals that ask a program to end are passed on. The exit status is the program's,
or 128 and the number of the signal that ended it; 127: there is no such program;
126: it cannot be run; 1: it succeeded, but its lines could not all be appended.
If ringbus is killed, the program is told to end (SIGTERM), but not what it has
started. What it started and left running is listened to until that ends as well,
or a signal comes.`,
		Example: `  ringbus journal run app -- make test
  ringbus journal run app --tee --stderr-level warn -- ./server --port 80
  ringbus journal tail -f app   # in another terminal`,
		Args: func(c *cobra.Command, args []string) error {
			switch at := c.ArgsLenAtDash(); {
			case len(args) == 0 || at == 0:
				return misused(c, "say which journal, then -- and the program to run")
			case at < 0 || at == len(args):
				return misused(c, "say which program to run, after --")
			default:
				return oneJournal(c, args[:at])
			}
		},
		RunE: func(c *cobra.Command, args []string) error {
			o, err := w.options(c)
			if err != nil {
				return err
			}
			if !c.Flags().Changed("name") {
				g.name = nodeNameOf(args[1])
			}
			if !errLevel.set {
				errLevel = w.level
			}
			return g.runLogged(args[0], args[1:], o, errLevel.Level, tee)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.BoolVar(&tee, "tee", false, "print what the program prints as well")
	w.flags(c)
	f.Var(&errLevel, "stderr-level", "severity of the lines of standard error (default --level)")
	return c
}

// nodeNameOf is the name of a program as one of a node.
func nodeNameOf(program string) string {
	name := strings.Map(func(r rune) rune {
		if r == '/' || r != '.' && segment.CheckName(string(r)) != nil {
			return '-'
		}
		return r
	}, filepath.Base(program))
	name = name[:min(len(name), 128)]
	if segment.CheckName(name) != nil {
		return "run"
	}
	return name
}

// statusError ends a verb with the status of the program that it ran.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// notStarted says why a program could not be started, and ends with the status
// that shells have for that.
func notStarted(name string, err error) error {
	status := statusError(statusCannotRun)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		status = statusNotFound
	}
	var at *exec.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	return &toldError{status, fmt.Errorf("run %q: %w", name, err)}
}

// toldError is an error with a status of its own.
type toldError struct {
	status statusError
	err    error
}

func (e *toldError) Error() string { return e.err.Error() }
func (e *toldError) Unwrap() error { return e.status }
