package shmtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	Main(m, map[string]func([]string) error{
		"echo": func(args []string) error {
			fmt.Println(args[0])
			Listen(func(line string) bool {
				fmt.Println("heard", line)
				return true
			})
			return nil
		},
		"fail": func([]string) error { return errors.New("as told") },
	})
}

func TestRoleHearsAndSays(t *testing.T) {
	p := Start(t, "echo", nil, "first")
	if got := p.Line(); got != "first" {
		t.Errorf("said %q", got)
	}
	p.Say("a")
	p.Say("b")
	if got := p.Expect("heard b"); got != "" {
		t.Errorf("said %q", got)
	}
	p.Success()
}

func TestRoleThatFailsOrIsKilled(t *testing.T) {
	p := Start(t, "fail", nil)
	if err := p.Wait(); err == nil || !strings.Contains(p.Stderr(), "as told") {
		t.Errorf("%v: %s", err, p.Stderr())
	}
	if err := p.Failed(); err == nil {
		t.Error("its failure is lost")
	}
	q := Start(t, "echo", nil, "x")
	q.Line()
	q.Stop()
	q.Kill()
	if !q.Killed() || q.Failed() != nil {
		t.Errorf("it ended otherwise: %v", q.err)
	}
}

func TestLeaksAreNamed(t *testing.T) {
	before := takeStock()
	dir := Dir(t)
	f, err := os.Create(filepath.Join(dir, "leak"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	left := strings.Join(leftBehind(before, 0), "\n")
	for _, what := range []string{"descriptor of ", "mapping of ", f.Name() + " (1 more)"} {
		if !strings.Contains(left, what) {
			t.Errorf("no %q in\n%s", what, left)
		}
	}
	if err := errors.Join(f.Close(), syscall.Munmap(b), os.Remove(f.Name())); err != nil {
		t.Error(err)
	}
	if left := leftBehind(before, Deadline/4); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestSmallTmpfsIsSmall(t *testing.T) {
	dir, ok := SmallTmpfs(t, "64k")
	if !ok {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, "big"), make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
}

func TestSeedIsAnyOrTheOneThatWasAskedFor(t *testing.T) {
	t.Setenv("RINGBUS_SEED", "7")
	if a, b := Seed(), Seed(); a != 7 || b != 7 {
		t.Errorf("%d and %d, want 7", a, b)
	}
	t.Setenv("RINGBUS_SEED", "")
	if a, b := Seed(), Seed(); a == b {
		t.Errorf("twice %d", a)
	}
}
