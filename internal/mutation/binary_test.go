//go:build !race && !invariants

package mutation

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// One test binary holds a ring and all of its mutants: each function that a
// mutant changes is there as it is and, under another name, as the mutant has
// it. The environment says which mutant is to be, and the function as it is
// calls the other one then. What is no change of a function's body is built by
// itself.

// mutantVar names the mutant that a test binary is to be, by its number from 1.
const mutantVar = "RINGBUS_MUTANT"

// switched is a ring's file with the functions that mutants change.
const switched = `package RING

import (
	"os"
	"strconv"

	"github.com/ringbus/ringbus/internal/mem"
)

var (
	plainly   = mem.StoreRelease
	mutant, _ = strconv.Atoi(os.Getenv("` + mutantVar + `"))
)
`

// A function is one of a file's.
type function struct {
	decl *ast.FuncDecl
	base int    // where the file begins in the positions of decl
	text string // all of the file's
}

func (f *function) offset(p token.Pos) int { return int(p) - f.base }
func (f *function) source() string {
	return f.text[f.offset(f.decl.Pos()):f.offset(f.decl.End())]
}

// functions returns the functions of a file by receiver and name, and the rest
// of its text.
func functions(t *testing.T, path, text string) (all map[string]*function, rest string) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatalf("does not build: %v", err)
	}
	all = make(map[string]*function)
	at := 0
	for _, d := range file.Decls {
		decl, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		f := &function{decl, set.File(decl.Pos()).Base(), text}
		key := decl.Name.Name
		if decl.Recv != nil {
			r := decl.Recv.List[0].Type
			key = text[f.offset(r.Pos()):f.offset(r.End())] + "." + key
		}
		all[key] = f
		rest += text[at:f.offset(decl.Pos())]
		at = f.offset(decl.End())
	}
	return all, rest + text[at:]
}

// call is a call of f, as another name, with its own arguments; "" if they have
// no names.
func (f *function) call(name string) string {
	var args []string
	for _, p := range f.decl.Type.Params.List {
		if len(p.Names) == 0 {
			return ""
		}
		for _, n := range p.Names {
			arg := n.Name
			if _, ok := p.Type.(*ast.Ellipsis); ok {
				arg += "..."
			}
			if arg == "_" {
				return ""
			}
			args = append(args, arg)
		}
	}
	call := fmt.Sprintf("%s(%s)", name, strings.Join(args, ", "))
	if f.decl.Recv != nil {
		names := f.decl.Recv.List[0].Names
		if len(names) == 0 || names[0].Name == "_" {
			return ""
		}
		call = names[0].Name + "." + call
	}
	if f.decl.Type.Results != nil {
		return "return " + call
	}
	return call + "; return"
}

// under is f's source with another name.
func (f *function) under(name string) string {
	at := f.offset(f.decl.Name.Pos())
	from, to := f.offset(f.decl.Pos()), f.offset(f.decl.End())
	return f.text[from:at] + name + f.text[at+len(f.decl.Name.Name):to]
}

// merged collects the mutants of a ring.
type merged struct {
	as    files                        // the ring as it is, where it is changed at all
	added map[string]string            // by path: the functions of mutants
	cases map[string]map[string]string // by path and function: the calls of those
}

// add merges mutant number n, whose files are f, and reports whether it could.
func (m *merged) add(t *testing.T, n int, f files) bool {
	t.Helper()
	type insertion struct{ path, key, call, text string }
	var all []insertion
	for path, text := range f {
		was := m.as.read(t, path)
		if text == was {
			continue
		}
		before, rest := functions(t, path, was)
		after, restAfter := functions(t, path, text)
		if rest != restAfter || len(before) != len(after) {
			return false
		}
		for key, g := range after {
			b := before[key]
			if b == nil {
				return false
			}
			if g.source() == b.source() {
				continue
			}
			name := fmt.Sprintf("%s_mutant%d", g.decl.Name.Name, n)
			call := b.call(name)
			if call == "" || g.decl.Type.TypeParams != nil {
				return false
			}
			all = append(all, insertion{path, key, fmt.Sprintf("case %d:\n%s\n", n, call), g.under(name)})
		}
	}
	for _, i := range all {
		if m.cases[i.path] == nil {
			m.cases[i.path] = make(map[string]string)
		}
		m.cases[i.path][i.key] += i.call
		m.added[i.path] += "\n" + i.text + "\n"
	}
	return true
}

// files returns the ring with all mutants.
func (m *merged) files(t *testing.T) files {
	t.Helper()
	out := files{}
	for path, text := range m.as {
		out[path] = text
	}
	for path, cases := range m.cases {
		text := m.as.read(t, path)
		all, _ := functions(t, path, text)
		var at []int
		calls := make(map[int]string)
		for key, call := range cases {
			body := all[key].offset(all[key].decl.Body.Lbrace) + 1
			at, calls[body] = append(at, body), call
		}
		slices.Sort(at)
		for _, body := range slices.Backward(at) {
			text = text[:body] + "\nswitch mutant {\n" + calls[body] + "}\n" + text[body:]
		}
		out[path] = text + m.added[path]
	}
	return out
}

// build builds the tests of the ring over the changed files.
func (r ring) build(t *testing.T, f files, args ...string) (binary string) {
	t.Helper()
	binary = filepath.Join(binaries, fmt.Sprint(r.name(), "-", built.Add(1), ".test"))
	args = append([]string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay=" + f.overlay(t), "-o", binary}, args...)
	cmd := exec.Command("go", append(args, "./"+string(r))...)
	cmd.Dir = root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("does not build:\n%s", out)
	}
	return binary
}

// run runs tests of a binary as mutant number n, 0 for none, and returns what
// they print and whether they pass.
func (r ring) run(t *testing.T, binary string, n int, pattern string, args ...string) (out string, pass bool) {
	t.Helper()
	args = append([]string{"-test.failfast", "-test.count=1", "-test.timeout=5m", "-test.run=" + pattern}, args...)
	cmd := exec.Command(binary, args...)
	cmd.Dir = filepath.Join(root(t), string(r))
	cmd.Env = append(os.Environ(), fmt.Sprint(mutantVar, "=", n))
	b, err := cmd.CombinedOutput()
	out = string(b)
	if strings.Contains(out, "no tests to run") {
		t.Fatalf("no test matches %q", pattern)
	}
	return out, err == nil
}
