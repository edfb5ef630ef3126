package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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

func TestFilesAreAppendedTo(t *testing.T) {
	name := filepath.Join(t.TempDir(), "counts")
	for range 2 {
		if err := add(name, "3 0 1\n"); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "3 0 1\n3 0 1\n" {
		t.Errorf("wrote %q, %v", got, err)
	}
}

func TestTheReportHasTheEndOfWhatFailed(t *testing.T) {
	var text strings.Builder
	event := func(action, test, output string) {
		b, err := json.Marshal(event{Action: action, Package: "p", Test: test, Output: output})
		if err != nil {
			t.Fatal(err)
		}
		text.Write(append(b, '\n'))
	}
	for i := range 100 {
		event("output", "TestA/part", fmt.Sprintf("line %d\n", i))
	}
	event("fail", "TestA/part", "")
	event("output", "TestA", "its parent\n")
	event("fail", "TestA", "")
	event("output", "TestB", "hangs\n")
	event("fail", "", "")
	s, _ := summarise(t, text.String())
	got := strings.Join(s.report, "")
	for _, want := range []string{"--- p TestA/part\n    [70 lines before]\nline 70\n", "line 99\n--- p TestB\nhangs\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "line 69\n") || strings.Contains(got, "its parent") {
		t.Errorf("too much:\n%s", got)
	}
}

// What was ignored where the tests are started is not in what they start.
func TestIgnoredSignalsAreHeardAgain(t *testing.T) {
	const role = "GOTEST_SIGNALS"
	ignored := func() string {
		out, err := exec.Command("grep", "SigIgn", "/proc/self/status").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if os.Getenv(role) != "" {
		before := ignored()
		hearSignals()
		fmt.Print(before, ignored())
		return
	}
	cmd := exec.Command("sh", "-c", `trap "" HUP INT; exec "$0" -test.run=^TestIgnoredSignalsAreHeardAgain$`, os.Args[0])
	cmd.Env = append(os.Environ(), role+"=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var sets []uint64
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(line, "SigIgn:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(rest), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			sets = append(sets, n&3) // SIGHUP and SIGINT
		}
	}
	if !slices.Equal(sets, []uint64{3, 0}) {
		t.Errorf("ignored before and after: %v\n%s", sets, out)
	}
}
