package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// Documented checks that every package has a comment, and that in public
// packages every exported name has one, as has every field of an Options struct.
func Documented(sources []Source) []Finding {
	var out []Finding
	hasDoc, first := map[string]bool{}, map[string]Source{}
	for _, s := range sources {
		if s.Test() {
			continue
		}
		if _, seen := first[s.Dir]; !seen {
			first[s.Dir] = s
		}
		hasDoc[s.Dir] = hasDoc[s.Dir] || s.File.Doc != nil
		if !public(s.Dir) || s.File.Name.Name == "main" {
			continue
		}
		for _, d := range s.File.Decls {
			for _, bare := range undocumented(d) {
				out = append(out, Finding{s.Path, s.Line(bare.Pos()), fmt.Sprintf("%s is exported and has no comment "+
					"that begins with its name: say what it is, how long it lives, who may use it at once", bare.Name)})
			}
		}
	}
	for dir, s := range first {
		if !hasDoc[dir] {
			out = append(out, Finding{s.Path, 0, "package " + s.File.Name.Name +
				" has no package comment: say in one file what it is for"})
		}
	}
	return sorted(out)
}

func undocumented(d ast.Decl) []*ast.Ident {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && exportedReceiver(d) && !wellKnown(d) && !names(d.Doc, d.Name) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		return undocumentedSpecs(d)
	}
	return nil
}

func undocumentedSpecs(d *ast.GenDecl) []*ast.Ident {
	var out []*ast.Ident
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if !spec.Name.IsExported() {
				continue
			}
			doc := spec.Doc
			if doc == nil && !d.Lparen.IsValid() {
				doc = d.Doc
			}
			if !names(doc, spec.Name) {
				out = append(out, spec.Name)
			}
			if st, ok := spec.Type.(*ast.StructType); ok && strings.HasSuffix(spec.Name.Name, "Options") {
				out = append(out, bareFields(st)...)
			}
		case *ast.ValueSpec:
			if spec.Doc != nil || spec.Comment != nil || d.Doc != nil && d.Tok != token.IMPORT {
				continue
			}
			for _, id := range spec.Names {
				if id.IsExported() {
					out = append(out, id)
				}
			}
		}
	}
	return out
}

func bareFields(st *ast.StructType) []*ast.Ident {
	var out []*ast.Ident
	for _, f := range st.Fields.List {
		for _, id := range f.Names {
			if id.IsExported() && f.Doc == nil && f.Comment == nil {
				out = append(out, id)
			}
		}
	}
	return out
}

// names says whether the comment's first words hold the name it documents.
func names(doc *ast.CommentGroup, id *ast.Ident) bool {
	if doc == nil {
		return false
	}
	words := strings.Fields(doc.Text())
	for _, w := range words[:min(2, len(words))] {
		if strings.TrimRight(w, ",.:;()") == id.Name {
			return true
		}
	}
	return false
}

// wellKnown says whether f is a method whose name says everything.
func wellKnown(f *ast.FuncDecl) bool {
	return f.Recv != nil && slices.Contains([]string{"Error", "Unwrap", "Is", "As", "String"}, f.Name.Name)
}

// exportedReceiver says whether f is no method, or one of an exported type.
func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	t := f.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}
