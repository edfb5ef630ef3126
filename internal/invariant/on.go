//go:build invariants || race

package invariant

import (
	"fmt"
	"os"
	"runtime"
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
			hit(t.signal)
		}
	}
	if h := hook.Load(); h != nil {
		(*h)(name)
	}
}

// hit sends this thread the signal and does not return before it took effect:
// one sent to the process might hit another thread first, and leave this one
// time for another step.
func hit(sig syscall.Signal) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, _, errno := syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(syscall.Getpid()), uintptr(syscall.Gettid()), uintptr(sig))
	if errno != 0 {
		panic(errno)
	}
	if sig == syscall.SIGKILL {
		select {}
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
