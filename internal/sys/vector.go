package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// MaxVector is how many pieces of memory one vectored call takes.
const MaxVector = 1024

// Pwritev writes bufs one behind the other at offset, and returns how many
// bytes, which may be fewer than there are.
func Pwritev(f *os.File, bufs [][]byte, offset int64) (int, error) {
	return vectored(f, func(fd int) (int, error) { return unix.Pwritev(fd, bufs, offset) })
}

// Preadv is Pwritev for reading; at the end of the file it reads fewer bytes.
func Preadv(f *os.File, bufs [][]byte, offset int64) (int, error) {
	return vectored(f, func(fd int) (int, error) { return unix.Preadv(fd, bufs, offset) })
}

// PunchHole gives back the memory of a file's bytes, or discards a device's,
// which read as zero then. The file's length stays.
func PunchHole(f *os.File, offset, length int64) error {
	_, err := vectored(f, func(fd int) (int, error) {
		return 0, unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, length)
	})
	return err
}

// vectored calls f with the descriptor, again if a signal came.
func vectored(file *os.File, f func(fd int) (int, error)) (n int, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return 0, err
	}
	if cerr := raw.Control(func(fd uintptr) {
		for n, err = f(int(fd)); err == unix.EINTR; n, err = f(int(fd)) {
			continue
		}
	}); cerr != nil {
		return 0, cerr
	}
	return max(n, 0), err
}
