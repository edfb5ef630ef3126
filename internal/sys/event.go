package sys

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// NewEvent makes an eventfd: a counter that others raise ([Ringer]) and one
// process waits for ([Await]), handed over sockets where need be.
func NewEvent(name string) (*os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// IsEvent reports whether f is an eventfd, and makes sure that neither a Ringer
// nor Await holds a thread over it: f may come from somebody else.
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

// A Ringer raises one event, without waiting and without garbage. It can be used by
// many at once, and as long as the event's file is open.
type Ringer struct {
	conn  syscall.RawConn
	raise func(fd uintptr)
}

// NewRinger makes the ringer of the event f, which stays the caller's.
func NewRinger(f *os.File) (*Ringer, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	one := binary.NativeEndian.AppendUint64(nil, 1)
	return &Ringer{conn, func(fd uintptr) {
		// EAGAIN: the event is full, and so it is raised already.
		_, _ = retry(func() (int, error) { return unix.Write(int(fd), one) })
	}}, nil
}

// Ring raises the event. It returns false if the event's file is closed.
func (r *Ringer) Ring() bool { return r.conn.Control(r.raise) == nil }

// Await returns once f was raised, and sets it back. It waits on Go's poller and
// holds no thread; when f is closed it returns an error.
func Await(f *os.File) error {
	var count [8]byte
	_, err := f.Read(count[:])
	return err
}
