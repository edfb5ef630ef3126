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
