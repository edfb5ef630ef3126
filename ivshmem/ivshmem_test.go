package ivshmem

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
)

func TestMain(m *testing.M) { shmtest.Main(m, nil) }

const size = 1 << 20

// fake is a device in a tree of plain files.
type fake struct {
	vendor, device, revision string
	enable                   string
	memory                   int64 // bytes of BAR 2; 0: none
	ports                    bool  // BAR 2 is of ports
	vectors                  bool
	driver                   string
	bus                      bool // the memory holds a bus
}

var plain = fake{vendor: "0x1af4", device: "0x1110", revision: "0x01", enable: "1", memory: size, bus: true}

// put writes the device into the tree under root.
func (f fake) put(t *testing.T, root, address string) string {
	t.Helper()
	dir := filepath.Join(root, "bus/pci/devices", address)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	line := func(n int64, flags uint64) string {
		if n == 0 {
			return "0x0000000000000000 0x0000000000000000 0x0000000000000000"
		}
		return fmt.Sprintf("0x%016x 0x%016x 0x%016x", 0xfe000000, 0xfe000000+n-1, flags)
	}
	vectors, flags := int64(0), uint64(0x14220c)
	if f.vectors {
		vectors = 4096
	}
	if f.ports {
		flags = 0x40101
	}
	files := map[string]string{
		"vendor": f.vendor, "device": f.device, "revision": f.revision, "enable": f.enable,
		"resource": strings.Join([]string{line(256, 0x40200), line(vectors, 0x40200), line(f.memory, flags), line(0, 0)}, "\n"),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if f.driver != "" {
		if err := os.Symlink("../../drivers/"+f.driver, filepath.Join(dir, "driver")); err != nil {
			t.Fatal(err)
		}
	}
	memory := filepath.Join(dir, "resource2")
	if f.bus {
		s, err := segment.OpenFile(memory, &segment.Options{Size: f.memory})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	} else if f.memory > 0 {
		if err := os.WriteFile(memory, make([]byte, f.memory), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTheOnlyDeviceIsFoundByItsId(t *testing.T) {
	root := shmtest.Dir(t)
	fake{vendor: "0x8086", device: "0x100e", revision: "0x03", enable: "1"}.put(t, root, "0000:00:03.0")
	fake{vendor: "0x1af4", device: "0x1000", revision: "0x00", enable: "1"}.put(t, root, "0000:00:04.0") // virtio-net
	dir := plain.put(t, root, "0000:00:05.0")
	o := &Options{Root: root}
	all, err := Devices(o)
	if err != nil {
		t.Fatal(err)
	}
	want := Device{Address: "0000:00:05.0", Revision: 1, Enabled: true, Size: size, Dir: dir}
	if len(all) != 1 || all[0] != want {
		t.Fatalf("found %+v", all)
	}
	for _, address := range []string{"", "0000:00:05.0", "00:05.0"} {
		s, err := Open(address, o)
		if err != nil {
			t.Fatal(err)
		}
		n, err := s.Join("guest")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(n.Leave(), s.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestDoorbellAndDriverAreSeen(t *testing.T) {
	root := shmtest.Dir(t)
	f := plain
	f.vectors, f.driver = true, "vfio-pci"
	f.put(t, root, "0000:00:05.0")
	d, err := Find("", &Options{Root: root})
	if err != nil || !d.Vectors || d.Driver != "vfio-pci" {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestWhatIsWrongWithADeviceIsToldInWords(t *testing.T) {
	with := func(change func(*fake)) *fake {
		f := plain
		change(&f)
		return &f
	}
	for _, c := range []struct {
		what    string
		device  *fake
		address string
		kind    error
		word    string
	}{
		{"no device", nil, "", ErrNoDevice, "1af4:1110"},
		{"nothing at the address", nil, "00:07.0", ErrNoDevice, "0000:00:07.0"},
		{"another device there", with(func(f *fake) { f.vendor = "0x8086" }), "00:05.0", ErrNoDevice, "8086:1110"},
		{"old revision", with(func(f *fake) { f.revision = "0x00" }), "", ErrRevision, "revision is 0"},
		{"new revision", with(func(f *fake) { f.revision = "0x02" }), "", ErrRevision, "revision is 2"},
		{"no memory", with(func(f *fake) { f.memory, f.bus = 0, false }), "", ErrTooSmall, "BAR 2"},
		{"ports", with(func(f *fake) { f.ports = true }), "", ErrTooSmall, "BAR 2"},
		{"too small", with(func(f *fake) { f.memory, f.bus = 64<<10, false }), "", ErrTooSmall, "65536 bytes"},
		{"not a bus", with(func(f *fake) { f.bus = false }), "", ErrNotBus, "nobody has made a bus"},
		{"garbled list", with(func(f *fake) { f.revision = "one" }), "", nil, "no number"},
	} {
		root := shmtest.Dir(t)
		if c.device != nil {
			c.device.put(t, root, "0000:00:05.0")
		}
		_, err := Open(c.address, &Options{Root: root})
		if err == nil || c.kind != nil && !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func TestOfSeveralDevicesOneMustBeNamed(t *testing.T) {
	root := shmtest.Dir(t)
	plain.put(t, root, "0000:00:06.0")
	plain.put(t, root, "0000:00:05.0")
	_, err := Open("", &Options{Root: root})
	if !errors.Is(err, ErrSeveral) || !strings.Contains(err.Error(), "ivshmem:0000:00:05.0, ivshmem:0000:00:06.0") {
		t.Errorf("got %v", err)
	}
	s, err := Open("0000:00:06.0", &Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestDisabledDeviceIsEnabled(t *testing.T) {
	root := shmtest.Dir(t)
	f := plain
	f.enable = "0"
	dir := f.put(t, root, "0000:00:05.0")
	s, err := Open("", &Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "enable")); err != nil || string(b[:1]) != "1" {
		t.Errorf("it says %q, %v", b, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestDeviceThatStaysDisabledIsAnError(t *testing.T) {
	root := shmtest.Dir(t)
	f := plain
	f.enable = "0"
	enable := filepath.Join(f.put(t, root, "0000:00:05.0"), "enable")
	if err := errors.Join(os.Remove(enable), os.Symlink("/dev/null", enable)); err != nil {
		t.Fatal(err)
	}
	d := Device{Address: "0000:00:05.0", Dir: filepath.Dir(enable)}
	if err := d.Enable(); !errors.Is(err, ErrDisabled) || !strings.Contains(err.Error(), "stays disabled") {
		t.Errorf("got %v", err)
	}
}

func TestMissingRightsAreToldInWords(t *testing.T) {
	d := Device{Address: "0000:00:05.0", Dir: t.TempDir()}
	err := d.Refused(&os.PathError{Op: "open", Path: d.Memory(), Err: os.ErrPermission})
	if !errors.Is(err, ErrRights) || !strings.Contains(err.Error(), "resource2") {
		t.Errorf("got %v", err)
	}
	if err := d.Refused(os.ErrExist); !errors.Is(err, os.ErrExist) {
		t.Errorf("another error became %v", err)
	}
}
