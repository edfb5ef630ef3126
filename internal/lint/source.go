package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"strings"
)

const (
	fileLines = 400
	funcLines = 70
)

// Gofmt checks that files are formatted.
func Gofmt(sources []Source) []Finding {
	var out []Finding
	for _, s := range sources {
		want, err := format.Source(s.Text)
		if err != nil || !bytes.Equal(want, s.Text) {
			out = append(out, Finding{s.Path, 0, "is not formatted: run gofmt -w " + s.Path})
		}
	}
	return out
}

// Long checks the size of files and functions outside tests.
func Long(sources []Source) []Finding {
	var out []Finding
	for _, s := range sources {
		if s.Test() {
			continue
		}
		if n := bytes.Count(s.Text, []byte("\n")); n > fileLines && !fileMayBeLong(s) {
			out = append(out, Finding{s.Path, 0, fmt.Sprintf("has %d lines, more than %d: split it, "+
				"or say why not with //ringbus:long reason before the package clause", n, fileLines)})
		}
		for _, d := range s.File.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := s.Line(f.End()) - s.Line(f.Pos()) + 1
			if n > funcLines && !directive(f.Doc, "long") {
				out = append(out, Finding{s.Path, s.Line(f.Pos()), fmt.Sprintf("func %s has %d lines, more than %d: "+
					"split it, or say why not with //ringbus:long reason in its comment", f.Name.Name, n, funcLines)})
			}
		}
	}
	return out
}

func fileMayBeLong(s Source) bool {
	for _, c := range s.File.Comments {
		if c.Pos() < s.File.Package && directive(c, "long") {
			return true
		}
	}
	return false
}

// directive says whether a comment holds //ringbus:WORD with a reason.
func directive(group *ast.CommentGroup, word string) bool {
	if group == nil {
		return false
	}
	for _, c := range group.List {
		reason, ok := strings.CutPrefix(c.Text, "//ringbus:"+word+" ")
		if ok && strings.TrimSpace(reason) != "" {
			return true
		}
	}
	return false
}

// Skips checks that a test that may skip says why in a comment.
func Skips(sources []Source) []Finding {
	var out []Finding
	for _, s := range sources {
		if room, _ := RoomOf(s.Dir); !s.Test() && !room.TestOnly {
			continue
		}
		reasons := map[int]bool{} // by line
		for _, c := range s.File.Comments {
			if directive(c, "skip") {
				reasons[s.Line(c.End())] = true
			}
		}
		ast.Inspect(s.File, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !isSkip(call.Fun) {
				return true
			}
			if at := s.Line(call.Pos()); !reasons[at] && !reasons[at-1] {
				out = append(out, Finding{s.Path, at, "skips a test: make it run, " +
					"or say why it cannot with //ringbus:skip reason on the line above"})
			}
			return true
		})
	}
	return out
}

func isSkip(fun ast.Expr) bool {
	sel, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	on, ok := sel.X.(*ast.Ident)
	if !ok {
		return false
	}
	switch on.Name {
	case "t", "b", "f", "tb", "rt":
		return sel.Sel.Name == "Skip" || sel.Sel.Name == "Skipf" || sel.Sel.Name == "SkipNow"
	}
	return false
}
