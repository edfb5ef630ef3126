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
