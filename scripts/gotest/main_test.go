package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sample = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":1}
{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestB","Output":"no spin\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Elapsed":2}
{"Action":"skip","Package":"q"}
`

func summarise(t *testing.T, text string, allowed ...string) (summary, string) {
	t.Helper()
	var out strings.Builder
	s := summary{out: &out, allowed: map[string]bool{}}
	for _, a := range allowed {
		s.allowed[a] = true
	}
	if err := s.read(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return s, out.String()
}

func counted(t *testing.T, s summary, passed, failed, skipped int) {
	t.Helper()
	if s.passed != passed || s.failed != failed || s.skipped != skipped {
		t.Errorf("counted %d passed, %d failed, %d skipped; want %d, %d, %d",
			s.passed, s.failed, s.skipped, passed, failed, skipped)
	}
}

func TestASkipThatIsAllowedIsCountedAndShown(t *testing.T) {
	s, out := summarise(t, sample, "p TestB")
	counted(t, s, 1, 0, 1)
	if !strings.Contains(out, "no spin") || strings.Contains(out, "quiet") {
		t.Errorf("output:\n%s", out)
	}
}

func TestASkipThatIsNotAllowedFails(t *testing.T) {
	s, out := summarise(t, sample)
	counted(t, s, 1, 1, 0)
	if !strings.Contains(out, "FAIL: skipped") {
		t.Errorf("output:\n%s", out)
	}
}

func TestAFailedTestShowsItsOutput(t *testing.T) {
	s, out := summarise(t, strings.ReplaceAll(sample, `"pass"`, `"fail"`), "p TestB")
	counted(t, s, 0, 1, 1)
	if !strings.Contains(out, "quiet") {
		t.Errorf("output:\n%s", out)
	}
}

func TestAPackageThatDiesOutsideOfATestFails(t *testing.T) {
	s, out := summarise(t, `{"ImportPath":"p","Action":"build-output","Output":"undefined: x\n"}
{"ImportPath":"p","Action":"build-fail"}
{"Action":"output","Package":"p","Output":"FAIL p [build failed]\n"}
{"Action":"fail","Package":"p","FailedBuild":"p"}
`)
	counted(t, s, 0, 1, 0)
	if !strings.Contains(out, "undefined: x") || !strings.Contains(out, "[build failed]") {
		t.Errorf("output:\n%s", out)
	}
}

func TestATestThatNeverEndsShowsItsOutput(t *testing.T) {
	s, out := summarise(t, `{"Action":"output","Package":"p","Test":"TestA","Output":"panic: timed out\n"}
{"Action":"fail","Package":"p"}
`)
	counted(t, s, 0, 1, 0)
	if !strings.Contains(out, "timed out") {
		t.Errorf("output:\n%s", out)
	}
}

func TestTheListOfSkipsNeedsReasons(t *testing.T) {
	name := filepath.Join(t.TempDir(), "skips")
	write := func(text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# a comment\n\np TestB needs root\n")
	got, err := readSkips(name)
	if err != nil || len(got) != 1 || !got["p TestB"] {
		t.Errorf("read %v, %v", got, err)
	}
	write("p TestB\n")
	if _, err := readSkips(name); err == nil {
		t.Error("a skip without a reason was read")
	}
}

func TestCountsAreAppended(t *testing.T) {
	name := filepath.Join(t.TempDir(), "counts")
	for range 2 {
		s := summary{passed: 3, skipped: 1}
		if err := s.append(name); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "3 0 1\n3 0 1\n" {
		t.Errorf("wrote %q, %v", got, err)
	}
}
