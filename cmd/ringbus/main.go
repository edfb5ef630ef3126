// Command ringbus is the command line of a bus: it sends what it reads and
// prints what it receives, lists what is there, checks and removes it. One file
// per verb; "ringbus --help" says the rest.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/internal/vm"
)

// Exit statuses. Who is ended by a signal adds its number to statusSignal.
const (
	statusFailure = 1
	statusUsage   = 2
	statusSignal  = 128
)

func main() {
	if vm.IsInit() {
		vm.Init()
	}
	os.Exit(run(os.Args[1:]))
}

// run is main that returns the exit status.
func run(args []string) int {
	// Writing to a pipe that nobody reads is an error here, not our death.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM)
	go func() {
		if sig, ok := (<-caught).(syscall.Signal); ok {
			cancel(signalError(sig))
			signal.Stop(caught) // the next one ends us at once
		}
	}()
	root := newRoot()
	root.SetArgs(args)
	return status(ctx, root.ExecuteContext(ctx))
}

// status says what went wrong and returns the exit status for it.
func status(ctx context.Context, err error) int {
	var sig signalError
	var u *usageError
	var told *toldError
	var other statusError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &told):
		fmt.Fprintf(os.Stderr, "ringbus: %v\n", err)
		return int(told.status)
	case errors.As(err, &other):
		return int(other)
	case errors.As(err, &sig), errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &sig):
		return statusSignal + int(sig)
	case errors.Is(err, syscall.EPIPE): // who reads our output has seen enough
		return statusSignal + int(syscall.SIGPIPE)
	case errors.Is(err, errSaid):
		return statusFailure
	case errors.As(err, &u):
		fmt.Fprintf(os.Stderr, "ringbus: %v\nSee \"%s --help\".\n", err, u.command)
		return statusUsage
	}
	fmt.Fprintf(os.Stderr, "ringbus: %v\n", err)
	return statusFailure
}

// errSaid ends a verb with status 1 where it has said why.
var errSaid = errors.New("said already")

// signalError is the cause of a context that a signal ended.
type signalError syscall.Signal

func (e signalError) Error() string { return syscall.Signal(e).String() }

// usageError is an error in how the command was called.
type usageError struct {
	command string
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// misused returns a usageError of c.
func misused(c *cobra.Command, format string, args ...any) error {
	return &usageError{c.CommandPath(), fmt.Errorf(format, args...)}
}

// atMost wants no more than n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > n {
			return misused(c, "%s takes %s, not %q", c.Name(), []string{"no arguments", "one argument at most"}[n], args)
		}
		return nil
	}
}

// oneTopic wants the name of a topic as the only argument.
func oneTopic(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return misused(c, "say which topic")
	case len(args) > 1:
		return misused(c, "one topic at a time, not %d: %q", len(args), args)
	}
	return nil
}

// missing says what to do where a bus is not there.
func missing(bus string, err error) error {
	var at *fs.PathError
	if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &at) {
		return err
	}
	return fmt.Errorf("there is no bus %q (%s): the first publisher, subscriber or writer makes it; \"ringbus ls --buses\" lists those that are there", bus, at.Path)
}

// printJSON writes v as one indented object.
func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
