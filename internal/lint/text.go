package lint

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

//go:embed testdata/misspelled.txt
var misspelledText string

var misspelled = func() map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(misspelledText) {
		if wrong, right, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			m[wrong] = right
		}
	}
	return m
}()

var (
	word = regexp.MustCompile(`[A-Za-z]+`)
	// Put together, so that this file passes its own checks.
	marks    = regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "XX" + "X"}, "|") + `)\b`)
	ownPaths = regexp.MustCompile(`(^|[^\w.$})/-])/(` + strings.Join([]string{"wor" + "k", "tm" + "p"}, "|") + `)(/|$|[^\w.-])`)
)

// Spelling checks for a few words that are often misspelt.
func Spelling(t Tree) []Finding {
	var out []Finding
	t.Text(func(name string, number int, line string) {
		for _, w := range word.FindAllString(line, -1) {
			if right, bad := misspelled[strings.ToLower(w)]; bad {
				out = append(out, Finding{name, number, fmt.Sprintf("%q is misspelt: write %q", w, right)})
			}
		}
	})
	return sorted(out)
}

// Marks checks that no unfinished work is left as a mark in the text.
func Marks(t Tree) []Finding {
	var out []Finding
	t.Text(func(name string, number int, line string) {
		if m := marks.FindString(line); m != "" {
			out = append(out, Finding{name, number, m + " is left here: do it now, or open an issue and remove the mark"})
		}
	})
	return sorted(out)
}

// Whitespace checks for blanks at the end of lines and a newline at the end of
// each file.
func Whitespace(t Tree) []Finding {
	var out []Finding
	t.Text(func(name string, number int, line string) {
		if strings.TrimRight(line, " \t\r") != line {
			out = append(out, Finding{name, number, "the line ends in blanks: remove them"})
		}
	})
	for name, text := range t {
		if n := len(text); n > 0 && text[n-1] != '\n' && !testdata(name) && strings.HasSuffix(name, ".md") {
			out = append(out, Finding{name, 0, "does not end in a newline: add one"})
		}
	}
	return sorted(out)
}

// Paths checks that no file names a directory of the machine it was written on.
func Paths(t Tree) []Finding {
	var out []Finding
	t.Text(func(name string, number int, line string) {
		if m := ownPaths.FindString(line); m != "" {
			out = append(out, Finding{name, number, fmt.Sprintf("names the absolute path %q: "+
				"use a path relative to the repository, t.TempDir() or mktemp", strings.TrimSpace(m))})
		}
	})
	return sorted(out)
}

// Present checks that the files that a reader looks for are there.
func Present(t Tree) []Finding {
	var out []Finding
	for _, name := range []string{
		"LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "Makefile",
		"docs/format.md", "docs/models/fanout.md", "docs/patents.md", "docs/adr/README.md",
	} {
		if len(t[name]) == 0 {
			out = append(out, Finding{Path: name, Say: "is missing or empty: write it"})
		}
	}
	return out
}
