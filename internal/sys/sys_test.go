package sys

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func file(t *testing.T) *os.File {
	t.Helper()
	f, err := Memfd("test", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func reopen(t *testing.T, f *os.File) *os.File {
	t.Helper()
	g, err := Reopen(f, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func TestLockBelongsToADescription(t *testing.T) {
	f := file(t)
	g, at := reopen(t, f), int64(1<<40+7)
	expect := func(what string, want bool) func(bool, error) {
		return func(have bool, err error) {
			t.Helper()
			if err != nil || have != want {
				t.Errorf("%s: %v, %v", what, have, err)
			}
		}
	}
	expect("free byte", true)(TryLock(f, at))
	expect("again", true)(TryLock(f, at))
	expect("other description", false)(TryLock(g, at))
	expect("seen by the other", true)(Locked(g, at))
	expect("not seen by its own", false)(Locked(f, at))
	expect("next byte", true)(TryLock(g, at+1))
	if err := Unlock(f, at); err != nil {
		t.Error(err)
	}
	expect("after unlock", true)(TryLock(g, at))
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	expect("after close", false)(Locked(f, at))
	if _, err := TryLock(g, at); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed file: %v", err)
	}
}

func TestMemfdKeepsItsSize(t *testing.T) {
	f := file(t)
	for _, size := range []int64{0, 2 << 20} {
		if err := f.Truncate(size); err == nil {
			t.Errorf("truncated to %d", size)
		}
	}
	b, err := Map(f, 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	b[4096] = 1
	if ok, err := Punch(f, 0, 1<<20); !ok || err != nil || b[4096] != 0 {
		t.Errorf("punched %v, %v, left %d", ok, err, b[4096])
	}
	if err := Allocate(f, 0, 1<<20); err != nil {
		t.Error(err)
	}
	if err := Unmap(b); err != nil {
		t.Error(err)
	}
}

func TestCreateFileHasItsModeAndNeverOverwrites(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	for _, dir := range []string{t.TempDir(), "/dev/shm"} {
		path := filepath.Join(dir, "ringbus-sys-test-"+filepath.Base(t.TempDir()))
		f, err := CreateFile(path, 0o660)
		if err != nil {
			t.Fatal(err)
		}
		st, err := StatPath(path)
		if err != nil || st.Mode != 0o660 || !st.Regular || st.Nlink != 1 {
			t.Errorf("%+v, %v", st, err)
		}
		if _, err := CreateFile(path, 0o660); !errors.Is(err, fs.ErrExist) {
			t.Errorf("got %v", err)
		}
		if err := errors.Join(f.Close(), os.Remove(path)); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenFileFollowsNoLinkAndNeverWaits(t *testing.T) {
	dir := t.TempDir()
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(link, os.O_RDWR, 0); !IsSymlink(err) {
		t.Errorf("got %v", err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(fifo, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := StatFile(f); err != nil || st.Regular {
		t.Errorf("%+v, %v", st, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenToReadFollowsLinksAndNeverWaits(t *testing.T) {
	dir := t.TempDir()
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.Symlink(fifo, link)); err != nil {
		t.Fatal(err)
	}
	f, err := OpenToRead(link)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := StatFile(f); err != nil || st.Regular {
		t.Errorf("%+v, %v", st, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := OpenToRead(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestMapZeros(t *testing.T) {
	b, err := MapZeros(1 << 40) // more than there is
	if err != nil {
		t.Fatal(err)
	}
	b[1<<39] = 1
	if len(b) != 1<<40 || b[0] != 0 || b[1<<40-1] != 0 {
		t.Error("it is not zero")
	}
	if err := Unmap(b); err != nil {
		t.Error(err)
	}
	if _, err := MapZeros(1 << 60); !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("got %v", err)
	}
}

func TestEndOfAProcessIsNoticed(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := WatchProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if start, err := StartTime(cmd.Process.Pid); err != nil || start == 0 {
		t.Errorf("started at %d, %v", start, err)
	}
	ended := make(chan error)
	go func() { ended <- p.Wait() }()
	select {
	case err := <-ended:
		t.Fatalf("it still runs: %v", err)
	default:
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	go func() { ended <- p.Wait() }()
	if err := <-ended; err != nil {
		t.Errorf("again: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestWatchThatIsClosedEnds(t *testing.T) {
	p, err := WatchProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- p.Wait() }()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if <-ended == nil {
		t.Error("we are said to have ended")
	}
}

func TestKernelIsKnown(t *testing.T) {
	if id, err := BootID(); err != nil || len(id) != 36 {
		t.Errorf("boot id %q, %v", id, err)
	}
	if PidNamespace() == 0 {
		t.Error("no pid namespace")
	}
}
