package lint

import (
	"strings"
	"testing"
)

func TestSpellingOfSamples(t *testing.T) {
	want(t, Spelling(one("a.md", "well\nWe rec"+"ieve it.\n")), `a.md:2: "rec`+`ieve" is misspelt: write "receive"`)
	want(t, Spelling(one("a.md", "We receive it.\n")))
	for wrong, right := range misspelled {
		if wrong == right || wrong != strings.ToLower(wrong) {
			t.Errorf("testdata/misspelled.txt: %q for %q", wrong, right)
		}
	}
	if len(misspelled) < 40 {
		t.Errorf("only %d words were read", len(misspelled))
	}
}

func TestMarks(t *testing.T) {
	for _, m := range []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"} {
		want(t, Marks(one("a.sh", "# "+m+": later\n")), "a.sh:1: "+m)
	}
	want(t, Marks(one("a.sh", "mktemp name.XXXXXX\n")))
	want(t, Marks(Tree{"a.bin": []byte("\x00TO" + "DO")}))
}

func TestWhitespace(t *testing.T) {
	want(t, Whitespace(one("a.md", "one \ntwo\t\nthree\n")), "a.md:1:", "a.md:2:")
	want(t, Whitespace(one("a.md", "one")), "does not end in a newline")
	want(t, Whitespace(one("testdata/a.txt", "one \n")))
	want(t, Whitespace(one("a.md", "one\n\ntwo\n")))
}

func TestPaths(t *testing.T) {
	work, tmp := "/wor"+"k", "/tm"+"p"
	for _, bad := range []string{
		"cd " + work + "/main", `"` + tmp + `/x"`, "(" + work + ")", "dir=" + tmp,
	} {
		want(t, Paths(one("a.sh", bad+"\n")), "names the absolute path")
	}
	for _, good := range []string{"/dev/shm", "a" + work + "/b", "$dir" + tmp + "/x", work + "er", "../tmp/x"} {
		want(t, Paths(one("a.sh", good+"\n")))
	}
}

func TestPresent(t *testing.T) {
	got := Present(Tree{"LICENSE": []byte("x"), "NOTICE": nil})
	if len(got) < 2 || got[0].Path != "NOTICE" || !strings.Contains(got[1].String(), "README.md: is missing") {
		t.Errorf("findings: %v", got)
	}
}

func TestLinks(t *testing.T) {
	other := "# Title\n\n## Two words, `code`\n"
	check := func(text string, parts ...string) {
		t.Helper()
		want(t, Links(Tree{"docs/a.md": []byte(text), "docs/b.md": []byte(other), "LICENSE": []byte("x")}), parts...)
	}
	check("[b](b.md) [l](../LICENSE) [d](../docs) [h](b.md#two-words-code) [w](https://x.y/z) [m](mailto:a@b)\n")
	check("# Here\n[self](#here)\n")
	check("text\n[c](c.md)\n", `docs/a.md:2: the link "c.md" leads to no file`)
	check("![pic](pic.png)\n", "leads to no file")
	check("[b](b.md#three)\n", "leads to no heading in docs/b.md")
	check("[x]: gone.md\n", "leads to no file")
	check("[up](../../else.md)\n", "leads to no file")
	check("`[c](c.md)`\n```\n[c](c.md)\n```\n")
}
