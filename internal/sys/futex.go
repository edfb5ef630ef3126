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

// FutexWaitFor is FutexWait for at most the time at address timespec: seconds and
// nanoseconds, 8 bytes each, in memory that does not move.
func FutexWaitFor(addr uintptr, value uint32, timespec uintptr) {
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, addr, futexWait, uintptr(value), timespec, 0, 0)
}

// HasFutex reports whether threads can sleep on the word at addr: not in the
// memory of a device that has no pages of its own.
func HasFutex(addr uintptr) bool {
	_, _, err := unix.Syscall6(unix.SYS_FUTEX, addr, futexWake, 1, 0, 0, 0)
	return err == 0
}

// FutexWake wakes everybody who sleeps on the word at addr.
func FutexWake(addr uintptr) {
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, addr, futexWake, 1<<30, 0, 0, 0)
}
