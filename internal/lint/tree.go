package lint

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A Finding is one broken rule: where, what, and what to do about it.
type Finding struct {
	Path string
	Line int
	Say  string
}

func (f Finding) String() string {
	if f.Line == 0 {
		return f.Path + ": " + f.Say
	}
	return fmt.Sprintf("%s:%d: %s", f.Path, f.Line, f.Say)
}

// A Tree is the text of a repository: file contents by slash-separated path.
type Tree map[string][]byte

// A Source is one parsed Go file of a tree.
type Source struct {
	Path string // slash-separated, from the repository's root
	Dir  string // directory of its package, "" for the root
	Text []byte
	Fset *token.FileSet
	File *ast.File
}

// Test says whether the file is compiled into tests only.
func (s Source) Test() bool { return strings.HasSuffix(s.Path, "_test.go") }

// Line returns the line number of a position.
func (s Source) Line(p token.Pos) int { return s.Fset.Position(p).Line }

// Load reads the files below root that are, or would be, committed: what git
// lists, or everything when root is no git checkout.
func Load(root string) (Tree, error) {
	names, err := list(root)
	if err != nil {
		return nil, err
	}
	t := Tree{}
	for _, name := range names {
		full := filepath.Join(root, filepath.FromSlash(name))
		info, err := os.Lstat(full)
		if err != nil || !info.Mode().IsRegular() {
			continue // deleted and not yet committed, or a link
		}
		text, err := os.ReadFile(full)
		if err != nil {
			return nil, err
		}
		t[name] = text
	}
	return t, nil
}

func list(root string) ([]string, error) {
	git := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	git.Dir = root
	if out, err := git.Output(); err == nil && len(out) > 0 {
		return strings.Split(strings.TrimRight(string(out), "\x00"), "\x00"), nil
	}
	var names []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", ".cache", "bin"}, d.Name()) {
			return fs.SkipDir
		}
		if rel, err := filepath.Rel(root, p); err == nil && !d.IsDir() {
			names = append(names, filepath.ToSlash(rel))
		}
		return nil
	})
	return names, err
}

// Go parses the Go files of the tree, in order of their path. What is under
// testdata is left out. Files that do not parse are returned as findings.
func (t Tree) Go() (sources []Source, bad []Finding) {
	fset := token.NewFileSet()
	for name, text := range t {
		if !strings.HasSuffix(name, ".go") || testdata(name) {
			continue
		}
		f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			bad = append(bad, Finding{Path: name, Say: "does not parse: " + err.Error()})
			continue
		}
		dir := path.Dir(name)
		if dir == "." {
			dir = ""
		}
		sources = append(sources, Source{name, dir, text, fset, f})
	}
	slices.SortFunc(sources, func(a, b Source) int { return cmp.Compare(a.Path, b.Path) })
	return sources, bad
}

// Text calls f for each line of each text file outside testdata; numbers start
// at 1.
func (t Tree) Text(f func(name string, number int, line string)) {
	for name, text := range t {
		if testdata(name) || bytes.IndexByte(text[:min(len(text), 8000)], 0) >= 0 {
			continue
		}
		for i, line := range strings.Split(string(text), "\n") {
			f(name, i+1, line)
		}
	}
}

func testdata(name string) bool {
	return strings.HasPrefix(name, "testdata/") || strings.Contains(name, "/testdata/")
}

// sorted puts findings in order of path and line.
func sorted(fs []Finding) []Finding {
	slices.SortFunc(fs, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Say, b.Say))
	})
	return fs
}
