package sys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// OpenFile opens the file at path itself, never what a symbolic link there
// points to, and never waits (a FIFO, a device). flags are those of os.OpenFile;
// an [os.PathError] says why not, ELOOP that path is a symbolic link.
func OpenFile(path string, flags int, perm uint32) (*os.File, error) {
	return open(path, flags|unix.O_NOFOLLOW, perm)
}

// OpenToRead opens for reading what path names, be it through symbolic links,
// and never waits either.
func OpenToRead(path string) (*os.File, error) { return open(path, unix.O_RDONLY, 0) }

func open(path string, flags int, perm uint32) (*os.File, error) {
	flags |= unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	fd, err := retry(func() (int, error) { return unix.Open(path, flags, perm) })
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	// Not waiting was for the open alone: Go must not take this for a socket.
	if err := unix.SetNonblock(fd, false); err != nil {
		_ = unix.Close(fd)
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// CreateFile makes a new file at path with exactly the permissions perm,
// whatever the umask, and opens it for reading and writing. The error wraps
// fs.ErrExist if something is there. Where the kernel can, the file appears
// with its permissions, so that nobody meets it with others.
func CreateFile(path string, perm uint32) (*os.File, error) {
	f, err := createNameless(path, perm)
	if err == nil || errors.Is(err, unix.EEXIST) {
		return f, err
	}
	if f, err = OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm); err != nil {
		return nil, err
	}
	if err := f.Chmod(os.FileMode(perm)); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// createNameless makes a file without a name, then gives it one.
func createNameless(path string, perm uint32) (*os.File, error) {
	const flags = unix.O_RDWR | unix.O_TMPFILE | unix.O_CLOEXEC
	fd, err := retry(func() (int, error) { return unix.Open(filepath.Dir(path), flags, perm) })
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: path, Err: err}
	}
	err = unix.Fchmod(fd, perm)
	if err == nil {
		link := "/proc/self/fd/" + strconv.Itoa(fd)
		err = unix.Linkat(unix.AT_FDCWD, link, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, &os.PathError{Op: "create", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Reopen gives f's file a second open file description, so that its locks are
// apart from those of f. It works for unlinked files and memfds too.
func Reopen(f *os.File, write bool) (*os.File, error) {
	flags := unix.O_RDONLY | unix.O_CLOEXEC
	if write {
		flags = unix.O_RDWR | unix.O_CLOEXEC
	}
	var out *os.File
	err := control(f, func(fd int) error {
		link := "/proc/self/fd/" + strconv.Itoa(fd)
		nfd, err := retry(func() (int, error) { return unix.Open(link, flags, 0) })
		if err != nil {
			return &os.PathError{Op: "reopen", Path: f.Name() + " through " + link, Err: err}
		}
		out = os.NewFile(uintptr(nfd), f.Name())
		return nil
	})
	return out, err
}

// Memfd makes an anonymous file in memory of the given size, which nobody can
// shrink or grow any more: a mapping of it never ends in SIGBUS.
func Memfd(name string, size int64) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "memfd:"+name)
	if err := f.Truncate(size); err != nil {
		_ = f.Close()
		return nil, err
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		_ = f.Close()
		return nil, os.NewSyscallError("seal memfd", err)
	}
	return f, nil
}

// Stat is what the checks of a bus file ask of it.
type Stat struct {
	Dev, Ino, Nlink uint64
	UID, GID        uint32
	Mode            uint32 // permission bits
	Size            int64
	Pages           int64 // bytes of storage that it has
	Regular         bool
	Dir             bool
	Device          bool // a character device
}

func stat(st *unix.Stat_t) Stat {
	return Stat{
		Dev: uint64(st.Dev), Ino: st.Ino, Nlink: uint64(st.Nlink),
		UID: st.Uid, GID: st.Gid, Mode: st.Mode & 0o7777, Size: st.Size, Pages: st.Blocks * 512,
		Regular: st.Mode&unix.S_IFMT == unix.S_IFREG,
		Dir:     st.Mode&unix.S_IFMT == unix.S_IFDIR,
		Device:  st.Mode&unix.S_IFMT == unix.S_IFCHR,
	}
}

// StatFile describes the open file f.
func StatFile(f *os.File) (Stat, error) {
	var st unix.Stat_t
	err := control(f, func(fd int) error { return unix.Fstat(fd, &st) })
	if err != nil {
		return Stat{}, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return stat(&st), nil
}

// StatPath describes what path names, without following a symbolic link.
func StatPath(path string) (Stat, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return Stat{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return stat(&st), nil
}

// control runs op on f's descriptor, which stays open meanwhile. An error of
// op is returned as it is.
func control(f *os.File, op func(fd int) error) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var opErr error
	if err := rc.Control(func(fd uintptr) { opErr = op(int(fd)) }); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), os.ErrClosed)
	}
	return opErr
}

// retry repeats op while a signal interrupts it.
func retry(op func() (int, error)) (int, error) {
	for {
		n, err := op()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
