package sys

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Shown says whether f is a file through which sysfs shows something, the memory
// of a PCI device for example: it has a fixed size, and can be mapped but not read.
func Shown(f *os.File) (bool, error) {
	st, err := statfs(f)
	return uint32(st.Type) == unix.SYSFS_MAGIC, err
}

// HugePages returns the size of the pages of f if it has huge ones, else 0. All
// of a mapping of it is certain once it is made, and nothing smaller than a page
// can be given back.
func HugePages(f *os.File) (uint64, error) {
	st, err := statfs(f)
	if err != nil || uint32(st.Type) != unix.HUGETLBFS_MAGIC {
		return 0, err
	}
	return uint64(st.Bsize), nil
}

// DeviceSize returns the size of the memory behind the character device f, of
// DAX for example. The error wraps fs.ErrNotExist if the device has no size.
func DeviceSize(f *os.File) (int64, error) {
	var st unix.Stat_t
	if err := control(f, func(fd int) error { return unix.Fstat(fd, &st) }); err != nil {
		return 0, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	dev := uint64(st.Rdev)
	path := fmt.Sprintf("/sys/dev/char/%d:%d/size", unix.Major(dev), unix.Minor(dev))
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is no size", path, b)
	}
	return n, nil
}

func statfs(f *os.File) (unix.Statfs_t, error) {
	var st unix.Statfs_t
	err := control(f, func(fd int) error {
		_, err := retry(func() (int, error) { return 0, unix.Fstatfs(fd, &st) })
		return err
	})
	if err != nil && !errors.Is(err, os.ErrClosed) {
		err = &os.PathError{Op: "statfs", Path: f.Name(), Err: err}
	}
	return st, err
}

// Control makes the ioctl request of f, with an argument: a number, or the
// address of memory that does not move and stays reachable. It returns what the
// kernel does, which may be a descriptor.
func Control(f *os.File, request, argument uintptr) (int, error) {
	var result int
	err := control(f, func(fd int) error {
		n, err := retry(func() (int, error) {
			r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, argument)
			if errno != 0 {
				return 0, errno
			}
			return int(r), nil
		})
		result = n
		return err
	})
	return result, err
}

// Descriptor is the number of f, for a request that wants it in memory. f must
// stay reachable and open until the request is made.
func Descriptor(f *os.File) (int, error) {
	var n int
	err := control(f, func(fd int) error { n = fd; return nil })
	return n, err
}

// Received makes a file of a descriptor that the kernel has returned.
func Received(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) }

// MapAt maps size bytes of f from offset on, shared and writable.
func MapAt(f *os.File, offset, size int64) ([]byte, error) {
	var b []byte
	err := control(f, func(fd int) (err error) {
		b, err = unix.Mmap(fd, offset, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "map", Path: f.Name(), Err: err}
	}
	return b, nil
}
