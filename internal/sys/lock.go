package sys

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

func lockOf(kind int16, at int64) unix.Flock_t {
	return unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: at, Len: 1}
}

// TryLock locks the byte at offset at of f exclusively for f's open file
// description, without waiting, and says whether it did. The kernel drops the
// lock when the last descriptor of the description is closed, which includes
// the death of the process. Locking again through the same description
// succeeds.
func TryLock(f *os.File, at int64) (bool, error) {
	lk := lockOf(unix.F_WRLCK, at)
	err := control(f, func(fd int) error {
		return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lk)
	})
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
		return false, nil
	}
	return false, &os.PathError{Op: "lock byte of", Path: f.Name(), Err: err}
}

// Unlock drops the lock on the byte at offset at of f.
func Unlock(f *os.File, at int64) error {
	lk := lockOf(unix.F_UNLCK, at)
	err := control(f, func(fd int) error {
		return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lk)
	})
	if err != nil {
		return &os.PathError{Op: "unlock byte of", Path: f.Name(), Err: err}
	}
	return nil
}

// Locked says whether another open file description than f's holds the byte at
// offset at. Locks of f's own description do not show.
func Locked(f *os.File, at int64) (bool, error) {
	lk := lockOf(unix.F_WRLCK, at)
	err := control(f, func(fd int) error {
		return unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lk)
	})
	if err != nil {
		return false, &os.PathError{Op: "look at lock of", Path: f.Name(), Err: err}
	}
	return lk.Type != unix.F_UNLCK, nil
}
