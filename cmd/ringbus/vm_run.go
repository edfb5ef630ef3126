package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/internal/vm"
)

// statusTimeout is the exit status where the time is up, as of timeout(1).
const statusTimeout = 124

// grace is how long a command in a guest may take to end after a signal.
const grace = 5 * time.Second

type vmRunFlags struct {
	files    []string
	env      []string
	kernel   string
	modules  []string
	memory   size
	cpus     int
	accel    string
	doorbell string
	timeout  time.Duration
	verbose  bool
}

func newVMRun(g *global) *cobra.Command {
	r := vmRunFlags{}
	c := &cobra.Command{
		Use:   "run [flags] -- COMMAND...",
		Short: "Run a command in a guest that is made for it",
		Long: `Boot a throw-away guest with the bus, run a command in it, and end with its exit
status. The guest has this program as "ringbus", with the bus as its default one,
and the files named with --file; nothing else, not even a shell. Its standard
input and output are ours; it has no disk and no network, and leaves nothing behind.

It takes QEMU (Debian: qemu-system-x86), and a kernel image: the host's own, or
one named with --kernel or $RINGBUS_KERNEL. Where the host's CPU cannot run a guest
it is emulated.`,
		Example: `  ringbus vm run -- ringbus sub --count 3 hello          # in one terminal
  printf '1\n2\n3\n' | ringbus pub --wait 1 hello         # in another

  ringbus vm run --file ./probe -- probe --fast < input
  ringbus vm run --file /bin/busybox -- busybox sh -c 'busybox dmesg | busybox tail'`,
		Args: func(c *cobra.Command, args []string) error {
			switch at := c.ArgsLenAtDash(); {
			case at > 0 || at < 0 && len(args) > 0:
				return misused(c, "put the command behind --: ringbus vm run -- %s", vm.Quoted(args))
			case len(args) == 0:
				return misused(c, "say which command: ringbus vm run -- ringbus sub greetings")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if r.cpus < 1 || r.timeout < 0 {
				return misused(c, "--cpus must be at least 1, and --timeout not negative")
			}
			config, err := r.config(c, args)
			if err != nil {
				return err
			}
			if config.Bus, err = g.forGuests(r.doorbell); err != nil {
				return err
			}
			return runGuest(c.Context(), config, r.timeout)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringArrayVar(&r.files, "file", nil, "give the guest a file or directory: `path`, or path=name in the guest (programs go to /bin)")
	f.StringArrayVar(&r.env, "env", nil, "set a `variable` in the guest: NAME=VALUE")
	f.DurationVar(&r.timeout, "timeout", 0, "end the guest after so `long`, with status 124")
	f.Var(&r.memory, "memory", "`size` of the guest's memory (default 256MiB, more for large files)")
	f.IntVar(&r.cpus, "cpus", 1, "give the guest `n` CPUs")
	f.StringVar(&r.kernel, "kernel", "", "kernel `image` (default the host's)")
	f.StringArrayVar(&r.modules, "module", nil, "load a `module` of the kernel, and those that it needs")
	f.StringVar(&r.accel, "accel", "", "`kind` of acceleration, as for QEMU: kvm, tcg (default what works)")
	f.StringVar(&r.doorbell, "doorbell", "", "`socket` of the doorbell server")
	f.BoolVar(&r.verbose, "verbose", false, "show what the guest's kernel says, on standard error")
	return c
}

// config is what the flags say.
func (r *vmRunFlags) config(c *cobra.Command, args []string) (*vm.Config, error) {
	config := &vm.Config{
		Args: args, Env: r.env, Modules: r.modules, Kernel: r.kernel,
		Memory: int64(r.memory), CPUs: r.cpus, Accel: r.accel,
		Stdout: os.Stdout, Stderr: os.Stderr,
	}
	for _, f := range r.files {
		file, err := vm.ParseFile(f)
		if err != nil {
			return nil, misused(c, "--file: %w", err)
		}
		config.Files = append(config.Files, file)
	}
	if r.accel == "tcg" {
		config.Accel = vm.Emulated
	}
	if r.verbose {
		config.Verbose = os.Stderr
	}
	return config, nil
}

// errTimeout is the cause of a context whose time is up.
var errTimeout = errors.New("the time is up")

// runGuest is a guest from its boot to its end.
func runGuest(ctx context.Context, config *vm.Config, limit time.Duration) error {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errTimeout)
		defer cancel()
	}
	in, err := newInput(ctx, os.Stdin)
	if err != nil {
		return err
	}
	defer in.close()
	config.Stdin = in
	m, err := config.Boot(ctx)
	if err != nil {
		return ending(ctx, err, limit)
	}
	select {
	case <-m.Ended():
	case <-ctx.Done():
		sig := syscall.SIGTERM
		var caught signalError
		if errors.As(context.Cause(ctx), &caught) {
			sig = syscall.Signal(caught)
		}
		_ = m.Signal(sig)
		select {
		case <-m.Ended():
		case <-time.After(grace):
			m.Kill()
		}
		return ending(ctx, context.Cause(ctx), limit)
	}
	status, err := m.Wait()
	if err == nil && status != 0 {
		err = statusError(status)
	}
	return err
}

// ending is the error of a guest that did not come to its own end.
func ending(ctx context.Context, err error, limit time.Duration) error {
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), errTimeout) {
		return &toldError{statusTimeout, fmt.Errorf("the guest was still there after %v", limit)}
	}
	return err
}
