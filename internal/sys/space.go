package sys

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Map maps the first size bytes of f, shared, and writable if write is set.
func Map(f *os.File, size int64, write bool) ([]byte, error) {
	prot := unix.PROT_READ
	if write {
		prot |= unix.PROT_WRITE
	}
	var b []byte
	err := control(f, func(fd int) (err error) {
		b, err = unix.Mmap(fd, 0, int(size), prot, unix.MAP_SHARED)
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "map", Path: f.Name(), Err: err}
	}
	return b, nil
}

// MapZeros maps size bytes of memory that read as zero. Only pages that are
// written take memory, so size may be far more than there is.
func MapZeros(size int64) ([]byte, error) {
	const flags = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_NORESERVE
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, flags)
	return b, os.NewSyscallError("mmap", err)
}

// Unmap undoes Map and MapZeros. Nobody may touch b any more.
func Unmap(b []byte) error { return os.NewSyscallError("munmap", unix.Munmap(b)) }

// chunk bounds one fallocate: the kernel gives up a whole call when a signal
// comes, so a long one under a profiler's timer would never end.
const chunk = 8 << 20

// Allocate reserves the pages of [off, off+n), so that touching them later
// cannot fail. [IsNoSpace] tells that there were not enough.
func Allocate(f *os.File, off, n int64) error {
	for n > 0 {
		step := min(n, chunk)
		err := control(f, func(fd int) error {
			_, err := retry(func() (int, error) { return 0, unix.Fallocate(fd, 0, off, step) })
			return err
		})
		if errors.Is(err, unix.EOPNOTSUPP) {
			err = writeZeros(f, off, step)
		}
		if err != nil {
			return &os.PathError{Op: "reserve pages of", Path: f.Name(), Err: err}
		}
		off, n = off+step, n-step
	}
	return nil
}

// writeZeros reserves by writing where the file system has no fallocate. What
// was there is lost, which is as well: an extent is reserved before it is used.
func writeZeros(f *os.File, off, n int64) error {
	zeros := make([]byte, min(n, 64<<10))
	for n > 0 {
		step := min(n, int64(len(zeros)))
		if _, err := f.WriteAt(zeros[:step], off); err != nil {
			return err
		}
		off, n = off+step, n-step
	}
	return nil
}

// Punch gives the pages of [off, off+n) back; they read as zero from then on.
// It says whether the file system can do that.
func Punch(f *os.File, off, n int64) (bool, error) {
	const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	err := control(f, func(fd int) error {
		_, err := retry(func() (int, error) { return 0, unix.Fallocate(fd, mode, off, n) })
		return err
	})
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		return false, nil
	}
	return false, &os.PathError{Op: "punch hole in", Path: f.Name(), Err: err}
}

// IsNoSpace says whether err means that pages or quota ran out.
func IsNoSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) ||
		errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EFBIG)
}

// IsSymlink says whether OpenFile failed because the path is a symbolic link.
func IsSymlink(err error) bool { return errors.Is(err, unix.ELOOP) }

// Networked says whether f lies on a file system that other machines change
// too: neither its locks nor its mappings mean there what they mean here.
func Networked(f *os.File) (bool, error) {
	st, err := statfs(f)
	if err != nil {
		return false, err
	}
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC,
		unix.V9FS_MAGIC, unix.CEPH_SUPER_MAGIC, unix.AFS_FS_MAGIC, unix.CODA_SUPER_MAGIC:
		return true, nil
	}
	return false, nil
}

// Free returns how many bytes the file system of f has left for us; a very
// large number if it has no limit of its own.
func Free(f *os.File) (int64, error) {
	st, err := statfs(f)
	if err != nil {
		return 0, err
	}
	if st.Blocks == 0 { // tmpfs without size=
		return math.MaxInt64, nil
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}
