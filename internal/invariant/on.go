//go:build invariants || race

package invariant

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Enabled says whether this build checks itself.
const Enabled = true

type trap struct {
	name   string
	count  atomic.Int64
	signal syscall.Signal
}

var (
	hook  atomic.Pointer[func(string)]
	traps = loadTraps()
)

func loadTraps() []*trap {
	var out []*trap
	for env, sig := range map[string]syscall.Signal{
		"RINGBUS_CRASH": syscall.SIGKILL,
		"RINGBUS_STOP":  syscall.SIGSTOP,
	} {
		v := os.Getenv(env)
		if v == "" {
			continue
		}
		name, n, found := strings.Cut(v, ":")
		t := &trap{name: name, signal: sig}
		t.count.Store(1)
		if found {
			k, err := strconv.ParseInt(n, 10, 64)
			if err != nil || k < 1 {
				panic(fmt.Sprintf("%s=%q: want point:n with n >= 1", env, v))
			}
			t.count.Store(k)
		}
		out = append(out, t)
	}
	return out
}

// Point marks a step of a protocol at which a process may be killed.
func Point(name string) {
	for _, t := range traps {
		if t.name == name && t.count.Add(-1) == 0 {
			// The signal must hit before the next step: wait for it here.
			if err := syscall.Kill(syscall.Getpid(), t.signal); err != nil {
				panic(err)
			}
			if t.signal == syscall.SIGKILL {
				select {}
			}
		}
	}
	if h := hook.Load(); h != nil {
		(*h)(name)
	}
}

// Check panics with the message if ok is false.
func Check(ok bool, format string, args ...any) {
	if !ok {
		panic("invariant: " + fmt.Sprintf(format, args...))
	}
}

// Poison overwrites b, whose loan has ended, with a pattern that no one takes
// for data.
func Poison(b []byte) {
	for i := range b {
		b[i] = 0xDB
	}
}

// SetHook makes every Point call f; nil removes it.
func SetHook(f func(name string)) {
	if f == nil {
		hook.Store(nil)
		return
	}
	hook.Store(&f)
}
