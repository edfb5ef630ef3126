package shmtest

import (
	"os"
	"syscall"
	"testing"
)

// SmallTmpfs mounts a file system in memory of the given size in bytes, and
// returns its directory. ok is false where we may not mount.
func SmallTmpfs(t testing.TB, size string) (dir string, ok bool) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("ringbus-test", dir, "tmpfs", 0, "size="+size); err != nil {
		return "", false
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(&os.PathError{Op: "unmount", Path: dir, Err: err})
		}
	})
	return dir, true
}
