package vm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unpacked reads an archive as the format's description says: name and mode, and
// the contents of what is no directory.
func unpacked(t *testing.T, b []byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	at := 0
	field := func(i int) int {
		v, err := strconv.ParseUint(string(b[at+6+8*i:at+14+8*i]), 16, 32)
		if err != nil {
			t.Fatalf("field %d of the entry at %d: %v", i, at, err)
		}
		return int(v)
	}
	for {
		if string(b[at:at+6]) != "070701" {
			t.Fatalf("no entry at %d", at)
		}
		mode, size, major, minor, named := field(1), field(6), field(9), field(10), field(11)
		name := string(b[at+110 : at+110+named-1])
		data := (at + 110 + named + 3) &^ 3
		at = (data + size + 3) &^ 3
		if name == "TRAILER!!!" {
			if at != len(b) {
				t.Errorf("%d bytes after the end", len(b)-at)
			}
			return out
		}
		what := fmt.Sprintf("%06o ", mode)
		if major != 0 {
			what += fmt.Sprint(major, ":", minor)
		}
		out[name] = what + string(b[data:data+size])
	}
}

func TestArchiveHoldsWhatWasAdded(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	for name, text := range map[string]string{"a": "A", "sub/bc": "BC"} {
		if err := os.MkdirAll(filepath.Join(tree, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tree, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("sub/bc", filepath.Join(tree, "link")); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!"), 0o755); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	a := &archive{w: &b}
	a.device("/dev/null", 0o666, 1, 3)
	addFile(a, File{Path: tree})
	addFile(a, File{Path: program})
	addFile(a, File{Path: program, Guest: "/opt/x/p"})
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"dev": "040755 ", "dev/null": "020666 1:3",
		"tree": "040755 ", "tree/a": "100640 A", "tree/sub": "040755 ", "tree/sub/bc": "100640 BC", "tree/link": "120777 sub/bc",
		"bin": "040755 ", "bin/program": "100755 #!",
		"opt": "040755 ", "opt/x": "040755 ", "opt/x/p": "100755 #!",
	}
	if diff := cmp.Diff(want, unpacked(t, b.Bytes())); diff != "" {
		t.Error(diff)
	}
}

func TestFileThatIsNotThereIsAnError(t *testing.T) {
	a := &archive{w: io.Discard}
	addFile(a, File{Path: filepath.Join(t.TempDir(), "none")})
	if err := a.close(); err == nil {
		t.Error("no error")
	}
}

func TestFramesPassBehindWhateverCameBefore(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	long := bytes.Repeat([]byte("long"), frameMax)
	go func() {
		defer theirs.Close()
		_, _ = io.WriteString(theirs, "SeaBIOS\x00\x00ring\x00ringbus"+magic)
		l := newLink(theirs)
		_ = l.send('h', nil)
		_, _ = frames{l, 'o'}.Write(long)
		_ = l.sendNumber('x', 7)
	}()
	l := newLink(ours)
	if err := l.begin(); err != nil {
		t.Fatal(err)
	}
	var buf [frameMax]byte
	var got []byte
	kinds := ""
	for {
		kind, b, err := l.receive(&buf)
		if err != nil {
			t.Fatal(err)
		}
		kinds += string(kind)
		if kind == 'x' {
			if n, err := number(b); n != 7 || err != nil {
				t.Errorf("number %d, %v", n, err)
			}
			break
		}
		got = append(got, b...)
	}
	if !bytes.Equal(got, long) || kinds != "hoooox" {
		t.Errorf("%d bytes in frames %s", len(got), kinds)
	}
}

func TestFrameThatIsTooLongIsRefused(t *testing.T) {
	l := newLink(bytes.NewBuffer([]byte{'o', 0xff, 0xff, 1}))
	if _, _, err := l.receive(new([frameMax]byte)); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("got %v", err)
	}
}

func TestKernelTellsItsVersion(t *testing.T) {
	head := make([]byte, 0x400)
	copy(head[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(head[0x20e:], 0x100)
	copy(head[0x300:], "6.1.0-1-cloud-amd64 (somebody@somewhere) #1\x00")
	path := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(path, head, 0o600); err != nil {
		t.Fatal(err)
	}
	if k, err := FindKernel(path); err != nil || k != (Kernel{path, "6.1.0-1-cloud-amd64"}) {
		t.Errorf("%+v, %v", k, err)
	}
	for _, cut := range []int{0, 0x203, 0x25f} {
		if err := os.WriteFile(path, head[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := FindKernel(path); err == nil {
			t.Errorf("an image of %d bytes is a kernel", cut)
		}
	}
}

func TestNewerKernelComesFirst(t *testing.T) {
	for _, c := range [][2]string{{"vmlinuz-6.1.0-9-amd64", "vmlinuz-6.1.0-10-amd64"}, {"vmlinuz-5.10.0", "vmlinuz-6.1"}, {"vmlinuz", "vmlinuz-6.1"}} {
		if versions(c[0], c[1]) >= 0 || versions(c[1], c[0]) <= 0 || versions(c[0], c[0]) != 0 {
			t.Errorf("%s is not before %s", c[0], c[1])
		}
	}
}

func TestShellSeesTheSameArguments(t *testing.T) {
	args := []string{"-a", "b c", "", "it's", "$HOME", "x=/y,z:1@2%3"}
	if got, want := Quoted(args), `-a 'b c' '' 'it'\''s' '$HOME' x=/y,z:1@2%3`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
