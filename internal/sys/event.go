package sys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// NewEvent makes an eventfd: a counter that others raise ([Raise]) and one
// process waits for ([Await]), handed over sockets where need be.
func NewEvent(name string) (*os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// IsEvent reports whether f is an eventfd, and makes sure that neither Raise nor
// Await holds a thread over it: f may come from somebody else.
func IsEvent(f *os.File) bool {
	ok := false
	err := control(f, func(fd int) error {
		to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		ok = err == nil && to == "anon_inode:[eventfd]"
		if !ok {
			return nil
		}
		return unix.SetNonblock(fd, true)
	})
	return ok && err == nil
}

// Raise adds one to the event f and never waits: an event that is full is
// raised already.
func Raise(f *os.File) error {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	return control(f, func(fd int) error {
		_, err := retry(func() (int, error) { return unix.Write(fd, one[:]) })
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return &os.PathError{Op: "raise", Path: f.Name(), Err: err}
		}
		return nil
	})
}

// Await returns once f was raised, and sets it back. It waits on Go's poller and
// holds no thread; when f is closed it returns an error.
func Await(f *os.File) error {
	var count [8]byte
	_, err := f.Read(count[:])
	return err
}
