package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
)

// leaveBehind makes a bus on which everybody died, and returns its file.
func leaveBehind(t *testing.T, dir string) string {
	t.Helper()
	s := start(t, dir, nil, "sub", "t", "--name", "reader")
	p, in := open(t, dir, "pub", "t", "--wait", "1", "--name", "writer")
	defer in.Close()
	fmt.Fprintln(in, "x")
	eventually(t, "it was received", func() bool { return s.out.String() == "x\n" })
	p.kill()
	s.kill()
	return filepath.Join(dir, "default")
}

func TestDoctorRecoversWhatTheDeadLeft(t *testing.T) {
	dir := shmtest.Dir(t)
	leaveBehind(t, dir)
	// Looking at it changes nothing. (One may have recovered the other before
	// it was killed itself.)
	h := decode[health](call(t, dir, nil, "doctor", "--json", "--read-only").status(1))
	if len(h.Dead) == 0 || len(h.Dead) > 2 || len(h.Found) == 0 || len(h.Repaired) != 0 {
		t.Errorf("looking at a bus of dead nodes: %+v", h)
	}
	dead := len(h.Dead)
	h = decode[health](call(t, dir, nil, "doctor", "--json").status(0))
	if len(h.Dead) != dead || len(h.Repaired) == 0 || len(h.Remaining) != 0 || h.Topics != 1 || h.Nodes != 0 {
		t.Errorf("repairing it: %+v", h)
	}
	c := call(t, dir, nil, "doctor").status(0)
	if !strings.HasSuffix(c.out.String(), "0 nodes, 1 topics, 0 journals, 0 streams\nclean\n") {
		t.Errorf("looking again: %s", c.out.String())
	}
	tidy(t, dir)
}

func TestDoctorOfACopyOfABus(t *testing.T) {
	dir, other := shmtest.Dir(t), t.TempDir()
	b, err := os.ReadFile(leaveBehind(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(other, "copy")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	call(t, dir, nil, "doctor", file).status(0)
	if h := decode[health](call(t, dir, nil, "doctor", file, "--json").status(0)); h.Path != file || len(h.Found) != 0 {
		t.Errorf("the repaired copy: %+v", h)
	}
	call(t, dir, nil, "doctor").status(0)
	tidy(t, dir)
}

func TestDoctorSaysWhatIsNoBus(t *testing.T) {
	dir := shmtest.Dir(t)
	whole, err := os.ReadFile(leaveBehind(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		what  string
		bytes []byte
		says  string
	}{
		{"garbage", noise(1 << 20), "magic"},
		{"short garbage", []byte("hello"), "truncated"},
		{"a truncated bus", whole[:1<<20], "truncated"},
		{"another version", changed(whole, 0x0C, 9), "version"},
		{"another byte order", changed(whole, 0x08, 1, 2, 3, 4), "byte order"},
		{"features of the future", changed(whole, 0x18, 4), "incompatible features"},
		{"another size", changed(whole, 0x20, 1), "size"},
	} {
		name := strings.ReplaceAll(bad.what, " ", "-")
		if err := os.WriteFile(filepath.Join(dir, name), bad.bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		c := call(t, dir, nil, "doctor", "--bus", name).status(1).says(bad.says).says("this is no valid bus").says("rm --bus " + name + " --whole-bus --force")
		if c.out.String() != "" {
			t.Errorf("%s: it wrote %q", bad.what, c.out.String())
		}
		call(t, dir, nil, "pub", "t", "--bus", name).status(1).says(bad.says)
		call(t, dir, nil, "rm", "--bus", name, "--whole-bus").status(1).says("--force")
		call(t, dir, nil, "rm", "--bus", name, "--whole-bus", "--force").status(0)
	}
	if err := os.Symlink("default", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	call(t, dir, nil, "doctor", "--bus", "link").status(1).says("symbolic link")
	if err := os.Remove(filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	tidy(t, dir)
}

// changed returns a copy of b with other bytes at an offset.
func changed(b []byte, at int, other ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], other)
	return b
}

func TestDoctorFindsDamageThatRemains(t *testing.T) {
	dir := shmtest.Dir(t)
	file := leaveBehind(t, dir)
	call(t, dir, nil, "doctor").status(0)
	seg, err := segment.OpenFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range seg.Areas() {
		if a.Key.Kind == segment.KindTopic {
			clear(seg.Bytes()[a.Offset : a.Offset+8])
		}
	}
	if err := seg.Close(); err != nil {
		t.Fatal(err)
	}
	c := call(t, dir, nil, "doctor").status(1)
	if out := c.out.String(); !strings.Contains(out, `WRONG     topic "t": corrupt topic tag`) || !strings.HasSuffix(out, "1 things are wrong\n") {
		t.Errorf("it wrote %s", out)
	}
	if h := decode[health](call(t, dir, nil, "doctor", "--json").status(1)); len(h.Remaining) != 1 || len(h.Repaired) != 0 {
		t.Errorf("as JSON: %+v", h)
	}
	call(t, dir, strings.NewReader("x\n"), "pub", "t").status(1).says("corrupt topic tag")
	call(t, dir, nil, "rm", "t").status(0)
	clean(t, dir)
	tidy(t, dir)
}

func TestDoctorRemovesOrphanLanes(t *testing.T) {
	dir := shmtest.Dir(t)
	call(t, dir, strings.NewReader("x\n"), "pub", "t").status(0)
	// As a remover leaves it that dies after the topic and before its lanes.
	seg, err := segment.Open("default", &segment.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	node, err := seg.Join("remover")
	if err == nil {
		err = node.Remove(segment.Key{Kind: segment.KindTopic, Name: "t"})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Leave(); err != nil {
		t.Fatal(err)
	}
	if err := seg.Close(); err != nil {
		t.Fatal(err)
	}
	h := decode[health](call(t, dir, nil, "doctor", "--json").status(0))
	if len(h.Found) != 1 || len(h.Repaired) != 1 || len(h.Remaining) != 0 || !strings.Contains(h.Repaired[0], "topic that was removed") {
		t.Errorf("an orphan lane: %+v", h)
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestFullFileSystemIsSaidInFigures(t *testing.T) {
	dir, ok := shmtest.SmallTmpfs(t, "4194304")
	if !ok {
		t.Log("may not mount; segment's tests stand for this one")
		return
	}
	call(t, dir, strings.NewReader("x\n"), "pub", "t").status(1).says("not enough room in the file system").says("bytes needed")
	call(t, dir, strings.NewReader("x\n"), "pub", "small", "--depth", "16", "--max-message", "1k").status(0)
	call(t, dir, strings.NewReader("x\n"), "pub", "tiny", "--bus", "b", "--size", "1M").status(1).says("not enough room in the segment")
	clean(t, dir)
	tidy(t, dir)
}
