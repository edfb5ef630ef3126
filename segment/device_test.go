package segment

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/pci"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/internal/sys"
)

func TestNamesOfBuses(t *testing.T) {
	for _, good := range []string{"demo", "plant/line-1", "ivshmem:", "ivshmem:0000:00:05.0", "ivshmem:00:05.0", "/dev/dax0.0"} {
		if err := CheckBus(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "a:b", "ivshmem", "ivshmem:5", "ivshmem:0000:00:05", "ivshmem:0000:00:0g.0", "ivshmem:0000/00/05.0", "demo/"} {
		if err := CheckBus(bad); bad != "ivshmem" && err == nil {
			t.Errorf("%q is taken for the name of a bus", bad)
		}
	}
}

// device is a bus file as the memory of a device would be.
func device(t *testing.T) (*os.File, int64) {
	t.Helper()
	dir := shmtest.Dir(t)
	bus(t, dir)
	f, err := os.OpenFile(filepath.Join(dir, "bus"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, minSize
}

func fixed(t *testing.T, f *os.File, size int64, o *Options) (*Segment, error) {
	t.Helper()
	g, err := sys.Reopen(f, true)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openFixed(g, "device", size, o.resolve())
	if err != nil {
		_ = g.Close()
		return nil, err
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, nil
}

// The locks of a device tell who lives; its pages are neither reserved nor given
// back, but new areas begin with zeros.
func TestDeviceOfFixedSizeHoldsABus(t *testing.T) {
	f, size := device(t)
	s, err := fixed(t, f, size, nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := fixed(t, f, size, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Kernel() != other.Kernel() {
		t.Fatal("two who open one device see different lock bytes")
	}
	a, b := join(t, s, "a"), join(t, other, "b")
	if st := a.Status(b.Owner()); st != Alive {
		t.Fatalf("b is %v", st)
	}
	area := create(t, a, lane, 1000)
	area.Bytes()[0] = 1
	if err := errors.Join(area.Close(), a.Remove(lane)); err != nil {
		t.Fatal(err)
	}
	area = create(t, b, lane, 1000)
	if area.Bytes()[0] != 0 {
		t.Error("a new area is not zero")
	}
	if err := area.Close(); err != nil {
		t.Fatal(err)
	}
	b.Abandon()
	until(t, "b is recovered", func() bool { return a.RecoverOwner(b.Owner()) })
	sound(t, a, 1)
}

// Whoever maps the same memory through another file sees other locks, and must
// be another kernel to us.
func TestLocksOfAnotherFileAreAnotherKernel(t *testing.T) {
	f, size := device(t)
	s, err := fixed(t, f, size, &Options{SuspectAfter: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.CreateTemp(t.TempDir(), "lock")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	b, err := sys.Map(f, size, true)
	if err != nil {
		t.Fatal(err)
	}
	far, err := FromMapping(b, lock, &Options{SuspectAfter: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if far.Kernel() == s.Kernel() {
		t.Fatal("two lock files, one kernel id")
	}
	h, g := join(t, s, "host"), join(t, far, "guest")
	if !h.Foreign(g.Owner()) {
		t.Error("the other is not foreign")
	}
	g.Abandon()
	until(t, "suspect", func() bool { return h.Status(g.Owner()) == Suspect })
	if err := h.Evict(g.Owner().Slot()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(far.Close(), sys.Unmap(b)); err != nil {
		t.Error(err)
	}
}

func TestDeviceWithoutABusIsToldInWords(t *testing.T) {
	zeros := mem.Alloc(minSize)
	garbage := mem.Alloc(minSize)
	garbage[0] = 'x'
	lock, err := os.CreateTemp(t.TempDir(), "lock")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for what, b := range map[string][]byte{"zeros": zeros, "garbage": garbage} {
		if _, err := FromMapping(b, lock, nil); !errors.Is(err, ErrNotBus) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := FromMapping(zeros[:4096], lock, nil); err == nil {
		t.Error("a page was taken for a bus")
	}
}

func TestFilesThatAreNoMemoryAreRefused(t *testing.T) {
	for _, path := range []string{"/dev/null", "/dev/tty", "/proc/self/status", "/sys/kernel/mm/transparent_hugepage/enabled"} {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if s, err := Open(path, &Options{MustExist: true}); err == nil {
			t.Errorf("%s is a bus: %v", path, s.Path())
		}
	}
}

func TestBusInADeviceIsNotRemoved(t *testing.T) {
	for _, name := range []string{"ivshmem:", "ivshmem:0000:00:05.0"} {
		if err := Remove(name, nil); err == nil || !strings.Contains(err.Error(), "host") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPathIsANameOfABus(t *testing.T) {
	path := filepath.Join(shmtest.Dir(t), "somewhere")
	if _, err := Open(path, &Options{MustExist: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	s, err := Open(path, &Options{Size: minSize})
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenFile(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.ID() != again.ID() {
		t.Error("two buses at one path")
	}
	if err := errors.Join(s.Close(), again.Close(), Remove(path, nil)); err != nil {
		t.Error(err)
	}
}

func TestNoDeviceIsToldInWords(t *testing.T) {
	if _, err := os.Stat("/sys/bus/pci/devices"); err == nil {
		if all, err := pci.Devices(pci.Sysfs); err != nil || len(all) > 0 {
			t.Logf("this machine has %v, %v", all, err)
			return
		}
	}
	_, err := Open("ivshmem:", nil)
	if !errors.Is(err, pci.ErrNoDevice) {
		t.Errorf("got %v", err)
	}
	_, err = Open("ivshmem:0000:ff:1f.7", nil)
	if !errors.Is(err, pci.ErrNoDevice) {
		t.Errorf("got %v", err)
	}
}
