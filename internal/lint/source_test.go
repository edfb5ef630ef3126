package lint

import (
	"strings"
	"testing"
)

func TestGofmt(t *testing.T) {
	want(t, Gofmt(parse(t, one("a.go", "package p\nfunc  f() {}\n"))), "run gofmt -w a.go")
	want(t, Gofmt(parse(t, one("a.go", "package p\n\nfunc f() {}\n"))))
}

func TestFilesThatDoNotParse(t *testing.T) {
	_, bad := one("a.go", "package p\nfunc {\n").Go()
	want(t, bad, "a.go: does not parse")
	_, bad = one("testdata/a.go", "package p\nfunc {\n").Go()
	want(t, bad)
}

func TestLong(t *testing.T) {
	file := "package p\n" + strings.Repeat("\n", fileLines)
	want(t, Long(parse(t, one("a.go", file))), "a.go: has 401 lines")
	want(t, Long(parse(t, one("a_test.go", file))))
	want(t, Long(parse(t, one("a.go", "//ringbus:long a table\n\n"+file))))
	want(t, Long(parse(t, one("a.go", "//ringbus:long \n\n"+file))), "has 403 lines")

	function := "func f() {" + strings.Repeat("\n", funcLines) + "}\n"
	want(t, Long(parse(t, one("a.go", "package p\n\n"+function))), "a.go:3: func f has 71 lines")
	want(t, Long(parse(t, one("a.go", "package p\n\n// f is one switch.\n//\n//ringbus:long one case a line\n"+function))))
}

func TestSkips(t *testing.T) {
	body := func(s string) string { return "package p\n\nfunc TestA(t *testing.T) {\n" + s + "\n}\n" }
	want(t, Skips(parse(t, one("a_test.go", body("\tt.Skip(\"no gcc\")")))), "a_test.go:4: skips a test")
	want(t, Skips(parse(t, one("a_test.go", body("\tt.Skipf(\"%d\", 1)")))), "skips a test")
	want(t, Skips(parse(t, one("a_test.go", body("\tt.SkipNow() //ringbus:skip")))), "skips a test")
	want(t, Skips(parse(t, one("a_test.go", body("\tt.SkipNow() //ringbus:skip root only")))))
	want(t, Skips(parse(t, one("a_test.go", body("\t//ringbus:skip root only\n\tt.SkipNow()")))))
	want(t, Skips(parse(t, one("a_test.go", body("\treader.Skip(3)")))))
	want(t, Skips(parse(t, one("a.go", "package p\n\nfunc f(b cursor) { b.Skip() }\n"))))
}

func TestDocumented(t *testing.T) {
	sample := `// Package p is a sample.
package p

type Bare struct{}

// Open opens.
func Open() {}

func Close() {}

// This is not how a comment begins: Late.
func Late() {}

func (b *Bare) Send() {}

func (l *little) Send() {}

func (b Bare) Error() string { return "" }

const Size = 1

// Modes of something.
const (
	A = iota
	B
)

var (
	X = 1 // one
	Y = 2
)

// POptions are options.
type POptions struct {
	Depth int
	// Max is the most.
	Max int
}
`
	for _, file := range []string{"a.go", "stream/a.go"} {
		want(t, Documented(parse(t, one(file, sample))),
			":4: Bare", ":9: Close", ":12: Late", ":14: Send", ":20: Size", ":30: Y", ":35: Depth")
	}
	for _, file := range []string{"internal/mem/a.go", "cmd/ringbus/a.go", "a_test.go", "bench/a.go"} {
		want(t, Documented(parse(t, one(file, sample))))
	}
	want(t, Documented(parse(t, one("internal/mem/a.go", "package mem\n"))), "package mem has no package comment")
}
