package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
)

// smallTree makes a few hundred files, one of them empty and one large.
func smallTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for i := range 200 {
		name := filepath.Join(root, fmt.Sprint("d", i%7), fmt.Sprint("f", i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		size := i * 37
		if i == 100 {
			size = 300000
		}
		if err := os.WriteFile(name, noise(size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestDemo(t *testing.T) {
	c := call(t, shmtest.Dir(t), nil, "demo", "--source", smallTree(t), "--rounds", "300", "--json").status(0)
	r := decode[result](c)
	if r.Files != 200 || r.Messages != 60000 || len(r.Wrong) != 0 || r.Doctor == nil || len(r.Doctor.Found) != 0 {
		t.Errorf("%+v", r)
	}
	lives := map[string]int{}
	for _, l := range r.Processes {
		lives[l.Name]++
		if !l.Right || l.Lost != 0 || l.Messages == 0 {
			t.Errorf("%+v", l)
		}
	}
	if lives["publisher"] != 2 || lives["reader-1"] != 1 || lives["reader-2"] != 1 || lives["reader-3"] != 2 {
		t.Errorf("lives: %v", lives)
	}
	if _, err := os.Stat(filepath.Dir(r.Doctor.Path)); !os.IsNotExist(err) {
		t.Errorf("it left its directory behind: %v", err)
	}
}

func TestDemoInterruptedLeavesNothing(t *testing.T) {
	base := t.TempDir()
	c := prepare(t, "", "demo", "--source", smallTree(t), "--rounds", "1000000")
	c.cmd.Env = append(c.cmd.Env, "TMPDIR="+base)
	c.start()
	eventually(t, "it runs", func() bool { return strings.Contains(c.errs.String(), "GB/s") })
	kids := children(t, c.cmd.Process.Pid)
	if len(kids) != 4 {
		t.Errorf("it has %d processes, want 4", len(kids))
	}
	c.signal(os.Interrupt)
	c.status(130)
	for _, pid := range kids {
		if _, err := os.Stat(fmt.Sprint("/proc/", pid)); err == nil {
			t.Errorf("process %s lives on", pid)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(base, "*")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

func children(t *testing.T, pid int) []string {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		b, _ := os.ReadFile(f)
		out = append(out, strings.Fields(string(b))...)
	}
	return out
}

func TestDemoSourceWithoutFiles(t *testing.T) {
	dir := t.TempDir()
	call(t, dir, nil, "demo", "--source", dir).status(1).says("has no files")
	call(t, dir, nil, "demo", "--source", filepath.Join(dir, "none")).status(1).says("no such file")
}

// The demo's proof must be able to fail.
func TestLedgerNoticesWhatIsNotTheFiles(t *testing.T) {
	tree, err := readTree(context.Background(), smallTree(t))
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(len(tree.sums))
	make := func(first, next uint64, change func(i uint64, s sum) (sum, bool)) *ledger {
		l := &ledger{First: first, Next: next}
		for i := first; i < next; i++ {
			if s, ok := change(i, tree.sums[i%n]); ok {
				l.add(s)
			}
		}
		return l
	}
	same := func(_ uint64, s sum) (sum, bool) { return s, true }
	if !make(0, 3*n, same).right(tree) || !make(n+7, 2*n+1, same).right(tree) || !make(5, 5, same).right(tree) {
		t.Error("what was received as it was sent is called wrong")
	}
	for what, change := range map[string]func(uint64, sum) (sum, bool){
		"one message is missing": func(i uint64, s sum) (sum, bool) { return s, i != 17 },
		"one byte is different": func(i uint64, s sum) (sum, bool) {
			if i == 17 {
				s = sha256.Sum256(s[:])
			}
			return s, true
		},
		"two changed places": func(i uint64, s sum) (sum, bool) {
			if i == 17 || i == 18 {
				s = tree.sums[35-i]
			}
			return s, true
		},
	} {
		if make(0, n, change).right(tree) {
			t.Errorf("%s, and it is not noticed", what)
		}
	}
	l := make(0, n, same)
	l.Wrong = 1
	if l.right(tree) {
		t.Error("a message out of place is not noticed")
	}
}
