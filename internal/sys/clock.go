package sys

import "golang.org/x/sys/unix"

// Monotonic returns ns of the clock that all processes of this kernel share and
// nobody sets; 0 if there is none.
func Monotonic() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0
	}
	return t.Nano()
}

// ThreadTime returns how many ns of a CPU the calling thread has used; 0 if that is
// not known.
func ThreadTime() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return t.Nano()
}
