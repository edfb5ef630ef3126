package segment

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
)

func TestOfManyCreatorsOneCreates(t *testing.T) {
	dir := shmtest.Dir(t)
	var procs []*shmtest.Proc
	for range 8 {
		procs = append(procs, shmtest.Start(t, "creator", nil, dir))
	}
	id := procs[0].Line()
	for _, p := range procs[1:] {
		if other := p.Line(); other != id {
			t.Errorf("one opened bus %s, another %s", id, other)
		}
	}
	for _, p := range procs {
		p.Success()
	}
}

// valid returns the bytes of a bus that nobody uses.
func valid(t *testing.T) []byte {
	dir := shmtest.Dir(t)
	if err := bus(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBadFilesAreNamedAndLeftAlone(t *testing.T) {
	good := valid(t)
	le := binary.LittleEndian
	for _, c := range []struct {
		what, field string
		spoil       func(b []byte) []byte
	}{
		{"garbage", "magic", func([]byte) []byte { return []byte(strings.Repeat("no bus! ", 1000)) }},
		{"one byte", "length of the file", func([]byte) []byte { return []byte{0} }},
		{"cut in the superblock", "length of the file", func(b []byte) []byte { return b[:4095] }},
		{"cut behind the superblock", "length of the file", func(b []byte) []byte { return b[:len(b)-1] }},
		{"magic", "magic", func(b []byte) []byte { b[0]++; return b }},
		{"other byte order", "byte order", func(b []byte) []byte { le.PutUint32(b[sbByteOrder:], 0x04030201); return b }},
		{"other version", "version", func(b []byte) []byte { b[sbVersion] = 2; return b }},
		{"other version with its state elsewhere", "version", func(b []byte) []byte { b[sbVersion], b[sbState] = 2, 0; return b }},
		{"unknown feature", "incompatible features", func(b []byte) []byte { b[sbIncompat+7] = 1; return b }},
		{"huge size", "size", func(b []byte) []byte { le.PutUint64(b[sbSize:], 1<<63); return b }},
		{"larger size", "block size", func(b []byte) []byte { le.PutUint64(b[sbSize:], 1<<39); return b }},
		{"tiny size", "size", func(b []byte) []byte { le.PutUint64(b[sbSize:], 4096); return b }},
		{"block size", "block size", func(b []byte) []byte { le.PutUint64(b[sbBlockSize:], 0); return b }},
		{"blocks", "number of blocks", func(b []byte) []byte { le.PutUint64(b[sbBlocks:], 1<<40); return b }},
		{"state", "state", func(b []byte) []byte { b[sbState] = 9; return b }},
	} {
		t.Run(c.what, func(t *testing.T) {
			bad := c.spoil(append([]byte(nil), good...))
			path := filepath.Join(shmtest.Dir(t), "bus")
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, readOnly := range []bool{false, true} {
				_, err := OpenFile(path, &Options{ReadOnly: readOnly})
				var f *FormatError
				if !errors.As(err, &f) || f.Field != c.field || f.Path != path {
					t.Errorf("got %v", err)
				}
			}
			if now, err := os.ReadFile(path); err != nil || string(now) != string(bad) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

func TestUntrustedFilesAreRefused(t *testing.T) {
	good := valid(t)
	for _, c := range []struct {
		what, says string
		make       func(path string) error
	}{
		{"symbolic link", "symbolic link", func(p string) error { return os.Symlink(p+"2", p) }},
		{"directory", "is a directory", func(p string) error { return os.Mkdir(p, 0o700) }},
		{"writable for all", "everybody", func(p string) error { return os.Chmod(write(t, p, good), 0o602) }},
		{"foreign owner", "belongs to user 65534", func(p string) error { return os.Chown(write(t, p, good), 65534, 65534) }},
	} {
		t.Run(c.what, func(t *testing.T) {
			if c.what == "foreign owner" && os.Geteuid() != 0 {
				return // nobody else can make such a file
			}
			path := filepath.Join(shmtest.Dir(t), "bus")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenFile(path, nil); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func write(t *testing.T, path string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestModeSharesWithTheGroup(t *testing.T) {
	dir := shmtest.Dir(t)
	path := filepath.Join(dir, "bus")
	s, err := OpenFile(path, &Options{Size: minSize, Mode: 0o660})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o660 {
		t.Fatalf("mode is %v, %v", st.Mode(), err)
	}
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chown(path, 65534, os.Getegid()); err != nil {
		t.Fatal(err)
	}
	var f *FileError
	if _, err := OpenFile(path, nil); !errors.As(err, &f) {
		t.Errorf("a foreign bus without asking: %v", err)
	}
	other, err := OpenFile(path, &Options{Mode: 0o660})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if err := os.Chown(path, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(path, &Options{Mode: 0o660}); !errors.As(err, &f) {
		t.Errorf("a foreign group: %v", err)
	}
}

func TestOptionsThatDisagree(t *testing.T) {
	dir := shmtest.Dir(t)
	if _, err := Open("bus", &Options{Dir: dir, MustExist: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := Open("bus", &Options{Dir: dir, Size: 4096}); err == nil {
		t.Error("a bus of one page was made")
	}
	bus(t, dir)
	var m *MismatchError
	if _, err := Open("bus", &Options{Dir: dir, Size: 2 * minSize}); !errors.As(err, &m) || m.Field != "size" {
		t.Errorf("got %v", err)
	}
	if _, err := Open("a b", nil); err == nil {
		t.Error("a bad name passes")
	}
}

func TestReadOnlyLooksAtLiveAndDead(t *testing.T) {
	dir := shmtest.Dir(t)
	n := join(t, bus(t, dir), "alive")
	create(t, n, lane, 1000)
	s, err := Open("bus", &Options{Dir: dir, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Join("x"); !errors.Is(err, ErrReadOnly) {
		t.Errorf("got %v", err)
	}
	if nodes := s.Nodes(); len(nodes) != 1 || nodes[0].Status != Alive || nodes[0].Name != "alive" || nodes[0].Pid != os.Getpid() || len(nodes[0].Areas) != 1 {
		t.Errorf("nodes are %+v", nodes)
	}
	if areas := s.Areas(); len(areas) != 1 || areas[0].Key != lane || areas[0].Size != 1000 {
		t.Errorf("areas are %+v", areas)
	}
	if p := s.Verify(); p != nil {
		t.Errorf("problems: %v", p)
	}
	n.Abandon()
	if nodes := s.Nodes(); len(nodes) != 1 || nodes[0].Status != Dead {
		t.Errorf("nodes are %+v", nodes)
	}
	if p := s.Verify(); len(p) != 1 || !p[0].Repairable {
		t.Errorf("problems: %v", p)
	}
}

func TestMemfdIsSharedByItsFile(t *testing.T) {
	s, err := Memfd("frames", &Options{Size: minSize})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.File().Truncate(4096); err == nil {
		t.Error("it could be shrunk")
	}
	other, err := OpenFD(s.File(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	a, b := join(t, s, "a"), join(t, other, "b")
	if a.Owner() == b.Owner() || a.Status(b.Owner()) != Alive || b.Status(a.Owner()) != Alive {
		t.Errorf("owners %v %v, status %v %v", a.Owner(), b.Owner(), a.Status(b.Owner()), b.Status(a.Owner()))
	}
	create(t, a, lane, 1000).Bytes()[7] = 42
	got, err := b.Lookup(lane)
	if err != nil || got.Bytes()[7] != 42 {
		t.Errorf("got %v", err)
	}
	a.Abandon()
	if b.Status(a.Owner()) != Dead || !b.RecoverOwner(a.Owner()) {
		t.Error("the abandoned node is not dead")
	}
}
