package vm

import (
	"fmt"
	"io"
	"path"
	"strings"
)

// archive writes a file system for a kernel to start with: a cpio archive in the
// "newc" format of the kernel's Documentation/driver-api/early-userspace.
type archive struct {
	w    io.Writer
	err  error
	n    int64 // bytes written
	ino  int
	dirs map[string]bool
}

// Types of files in a mode.
const (
	modeDir     = 0o040000
	modeDevice  = 0o020000
	modeRegular = 0o100000
	modeLink    = 0o120000
)

func (a *archive) write(b []byte) {
	if a.err == nil {
		var n int
		n, a.err = a.w.Write(b)
		a.n += int64(n)
	}
}

func (a *archive) align() { a.write(make([]byte, -a.n&3)) }

// entry writes the head of a file; size bytes must follow, and then align.
func (a *archive) entry(name string, mode uint32, size int64, major, minor int) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	a.ino++
	a.head(name, a.ino, mode, size, major, minor)
}

func (a *archive) head(name string, ino int, mode uint32, size int64, major, minor int) {
	if size >= 1<<32 {
		a.err = fmt.Errorf("%s has %d bytes; files of a guest are smaller than 4 GiB", name, size)
		return
	}
	h := []byte("070701")
	for _, v := range []int64{int64(ino), int64(mode), 0, 0, 1, 0, size, 0, 0, int64(major), int64(minor), int64(len(name) + 1), 0} {
		h = fmt.Appendf(h, "%08X", v)
	}
	a.write(h)
	a.write(append([]byte(name), 0))
	a.align()
}

// dir makes a directory and those above it.
func (a *archive) dir(name string) {
	name = path.Clean("/" + name)
	if name == "/" || a.dirs[name] {
		return
	}
	if a.dirs == nil {
		a.dirs = map[string]bool{}
	}
	a.dir(path.Dir(name))
	a.dirs[name] = true
	a.entry(name, modeDir|0o755, 0, 0, 0)
}

// file makes a file of size bytes from r.
func (a *archive) file(name string, perm uint32, size int64, r io.Reader) {
	a.dir(path.Dir(path.Clean("/" + name)))
	a.entry(name, modeRegular|perm, size, 0, 0)
	if a.err == nil {
		n, err := io.CopyN(a.w, r, size)
		a.n += n
		if err != nil {
			a.err = fmt.Errorf("%s: %w", name, err)
		}
	}
	a.align()
}

func (a *archive) link(name, to string) {
	a.dir(path.Dir(path.Clean("/" + name)))
	a.entry(name, modeLink|0o777, int64(len(to)), 0, 0)
	a.write([]byte(to))
	a.align()
}

func (a *archive) device(name string, perm uint32, major, minor int) {
	a.dir(path.Dir(path.Clean("/" + name)))
	a.entry(name, modeDevice|perm, 0, major, minor)
}

// close ends the archive and returns what went wrong.
func (a *archive) close() error {
	a.head("TRAILER!!!", 0, 0, 0, 0, 0)
	return a.err
}
