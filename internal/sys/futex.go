package sys

import "golang.org/x/sys/unix"

// Operations of futex(2). The shared kind: the word may be in a mapping that
// other processes have too.
const (
	futexWait = 0
	futexWake = 1
)

// FutexWait sleeps until somebody wakes the 32-bit word at addr, unless it no
// longer holds value. It may return early: look at the word again.
func FutexWait(addr uintptr, value uint32) {
	// EAGAIN, EINTR: the caller looks again.
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, addr, futexWait, uintptr(value), 0, 0, 0)
}

// FutexWake wakes everybody who sleeps on the word at addr.
func FutexWake(addr uintptr) {
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, addr, futexWake, 1<<30, 0, 0, 0)
}
