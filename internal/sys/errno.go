package sys

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Errno is the operating system's error of number n.
func Errno(n int) error { return unix.Errno(n) }

// Invalid is the number of the error that what was asked for makes no sense.
const Invalid = int(unix.EINVAL)

// Number is the operating system's number of err, or that of an IO error.
func Number(err error) int {
	var e unix.Errno
	if errors.As(err, &e) && e != 0 {
		return int(e)
	}
	return int(unix.EIO)
}
