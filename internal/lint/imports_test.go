package lint

import (
	"strings"
	"testing"
)

// one makes a tree of one file.
func one(name, text string) Tree { return Tree{name: []byte(text)} }

// parse parses a sample that must be correct Go.
func parse(t *testing.T, tr Tree) []Source {
	t.Helper()
	s, bad := tr.Go()
	report(t, bad)
	return s
}

// want checks that the findings are the ones named by a part of each, in order.
func want(t *testing.T, got []Finding, parts ...string) {
	t.Helper()
	if len(got) != len(parts) {
		t.Fatalf("%d findings, want %d: %v", len(got), len(parts), got)
	}
	for i, p := range parts {
		if !strings.Contains(got[i].String(), p) {
			t.Errorf("finding %q does not say %q", got[i], p)
		}
	}
}

func importing(name, imp string) Tree {
	return one(name, "package p\n\nimport _ \""+imp+"\"\n")
}

func TestFloors(t *testing.T) {
	for _, c := range []struct{ what, file, imp, say string }{
		{"a ring may use mem", "internal/ring/fanout/a.go", "internal/mem", ""},
		{"a ring may not use another ring", "internal/ring/fanout/a.go", "internal/ring/cells", "a.go:3: internal/ring/fanout (floor 2) imports internal/ring/cells"},
		{"a ring may not use the segment", "internal/ring/fanout/a.go", "segment", "(floor 3)"},
		{"nor may its tests", "internal/ring/fanout/a_test.go", "segment", "(floor 3)"},
		{"the segment may not use the root", "segment/a.go", "", "imports ringbus (floor 5)"},
		{"the root may use the segment", "a.go", "segment", ""},
		{"typed may use the root", "typed/a.go", "", ""},
		{"the root may not use typed", "a.go", "typed", "(floor 6)"},
		{"a package may use the packages of its own room", "inspect/a.go", "inspect/web", ""},
		{"the root's room is the root only", "a.go", "inspect", "(floor 8)"},
		{"an unlisted package", "helpers/a.go", "internal/mem", "package helpers has no floor"},
		{"an import of an unlisted package", "bench/a.go", "helpers", "imports helpers, which has no floor"},
		{"tests may use shmtest", "segment/a_test.go", "internal/shmtest", ""},
		{"the product may not", "segment/a.go", "internal/shmtest", "for test files only"},
		{"tests may use ringbustest", "stream/a_test.go", "ringbustest", ""},
		{"examples may not", "examples/hello/main.go", "ringbustest", "for test files only"},
		{"examples may use anything below", "examples/hello/main.go", "inspect", ""},
		{"the command may use the model", "cmd/ringbus/top.go", "inspect", ""},
		{"the command may not use the benchmarks", "cmd/ringbus/bench.go", "bench", "(floor 10)"},
	} {
		t.Run(c.what, func(t *testing.T) {
			imp := strings.TrimSuffix(Module+"/"+c.imp, "/")
			got := Floors(parse(t, importing(c.file, imp)))
			if c.say == "" {
				want(t, got)
			} else {
				want(t, got, c.say)
			}
		})
	}
}

func TestEveryRoomIsListedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rooms {
		if seen[r.Dir] {
			t.Errorf("room %q is listed twice", r.Dir)
		}
		seen[r.Dir] = true
	}
}

func TestOwners(t *testing.T) {
	for _, c := range []struct{ what, file, imp, say string }{
		{"unsafe in its file", "internal/mem/view_unsafe.go", "unsafe", ""},
		{"unsafe in a test of mem", "internal/mem/view_unsafe_test.go", "unsafe", ""},
		{"unsafe in another file of mem", "internal/mem/mem.go", "unsafe", "imports unsafe"},
		{"unsafe elsewhere", "internal/sys/a_unsafe.go", "unsafe", "imports unsafe"},
		{"unsafe in a test", "segment/layout_test.go", "unsafe", "imports unsafe"},
		{"unix in sys", "internal/sys/a.go", "golang.org/x/sys/unix", ""},
		{"unix elsewhere", "segment/a.go", "golang.org/x/sys/unix", "only internal/sys"},
		{"unix in a test", "segment/a_test.go", "golang.org/x/sys/unix", "only internal/sys"},
		{"syscall in invariant", "internal/invariant/on.go", "syscall", ""},
		{"syscall in the command", "cmd/ringbus/main.go", "syscall", ""},
		{"syscall in a test", "segment/a_test.go", "syscall", ""},
		{"syscall elsewhere", "segment/a.go", "syscall", "imports syscall"},
		{"cgo", "segment/a.go", "C", "pure Go"},
		{"another module in the command", "cmd/ringbus/main.go", "github.com/spf13/cobra", ""},
		{"another module in a test", "segment/a_test.go", "pgregory.net/rapid", ""},
		{"another module in the product", "segment/a.go", "pgregory.net/rapid", "use other modules"},
		{"the standard library", "segment/a.go", "net/http", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			got := Owners(parse(t, importing(c.file, c.imp)))
			if c.say == "" {
				want(t, got)
			} else {
				want(t, got, c.say)
			}
		})
	}
}
