package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Kinds of acceleration, as QEMU names them.
const (
	Hardware = "kvm"
	Emulated = "tcg,thread=multi"
)

// patience is how long a guest on the host's own CPU may take to speak: some have
// a /dev/kvm under which a kernel does not come up. Emulated it is waited for.
const patience = 15 * time.Second

// Boot starts a guest and waits until it is about to run its command.
func (c *Config) Boot(ctx context.Context) (*Machine, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("no command for the guest")
	}
	k, err := FindKernel(c.Kernel)
	if err != nil {
		return nil, err
	}
	switch {
	case c.Accel != "":
		return c.boot(ctx, k, c.Accel)
	case !hasKVM():
		return c.boot(ctx, k, Emulated)
	}
	try, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := c.boot(try, k, Hardware)
	if err == nil || ctx.Err() != nil || !errors.Is(err, errNoHello) && !errors.Is(err, context.DeadlineExceeded) {
		return m, err
	}
	if c.Verbose != nil {
		fmt.Fprintf(c.Verbose, "ringbus: the guest does not come up with -accel %s; now emulated\n", Hardware)
	}
	return c.boot(ctx, k, Emulated)
}

func (c *Config) boot(ctx context.Context, k Kernel, accel string) (*Machine, error) {
	m, err := c.start(k, accel)
	if err != nil {
		return nil, err
	}
	select {
	case <-m.hello:
		return m, nil
	case <-m.ended:
		if m.err == nil {
			return m, nil // it had so little to do
		}
		return nil, m.err
	case <-ctx.Done():
		m.Kill()
		return nil, context.Cause(ctx)
	}
}

// hasKVM says whether the host's own CPU may run a guest. What offers /dev/kvm
// without a CPU that can virtualise is not tried.
func hasKVM() bool {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	info, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return false
	}
	defer func() { _ = info.Close() }()
	for lines := bufio.NewScanner(info); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "flags" {
			flags := strings.Fields(value)
			return slices.Contains(flags, "vmx") || slices.Contains(flags, "svm")
		}
	}
	return false
}
