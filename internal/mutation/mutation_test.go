//go:build !race && !invariants

package mutation

import (
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// running bounds how many go commands run at once.
var running = make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))

// goTest runs tests of the ring over the changed files and returns what they
// print and whether they pass.
func goTest(t *testing.T, r ring, f files, pattern string, args ...string) (out string, pass bool) {
	t.Helper()
	running <- struct{}{}
	defer func() { <-running }()
	args = append([]string{"test", "-vet=off", "-failfast", "-timeout=60s", "-ldflags=-s -w",
		"-overlay=" + f.overlay(t), "-run=" + pattern, "./" + string(r)}, args...)
	cmd := exec.Command("go", args...)
	cmd.Dir = root(t)
	b, err := cmd.CombinedOutput()
	out = string(b)
	if strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]") {
		t.Fatalf("does not build:\n%s", out)
	}
	if strings.Contains(out, "no tests to run") {
		t.Fatalf("no test matches %q", pattern)
	}
	return out, err == nil
}

// TestExploreEveryAccess is the explorer's tests with every atomic access as a
// crash point and store buffers: nothing but the mutants may fail there.
func TestExploreEveryAccess(t *testing.T) {
	for _, r := range []ring{fanout, multilog, virtq, calls} {
		t.Run(r.name(), func(t *testing.T) {
			t.Parallel()
			f := files{}
			f.simulate(t, r)
			if out, pass := goTest(t, r, f, "^TestExplore", "-count=1", "-tags=invariants"); !pass {
				t.Error(out)
			}
		})
	}
}

// TestLitmusNoticesAMissingBarrier breaks P7 for the CPUs at hand. Where they
// are fewer than two, or of a kind on which a release store is enough, the
// simulated memory is all there is.
func TestLitmusNoticesAMissingBarrier(t *testing.T) {
	if runtime.GOARCH != "amd64" || runtime.NumCPU() < 2 {
		return
	}
	t.Parallel()
	f := files{fanout.file("plainly.go"): fanout.named(plainly)}
	f.change(t, fanout, fanoutMutants[0].changes[0])
	if _, pass := goTest(t, fanout, f, "^TestLitmusWakeSubscriber$", "-count=10"); pass {
		t.Error("no round of ten notices")
	}
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|^(panic: .*)`)

// TestMutants breaks the rings in one place after the other.
func TestMutants(t *testing.T) {
	for r, mutants := range map[ring][]mutant{fanout: fanoutMutants, multilog: multilogMutants, virtq: virtqMutants, mpsc: mpscMutants, calls: callsMutants} {
		t.Run(r.name(), func(t *testing.T) {
			for _, m := range mutants {
				t.Run(m.name, func(t *testing.T) {
					t.Parallel()
					r.breaks(t, m)
				})
			}
		})
	}
}

// breaks fails unless one of m's tests does.
func (r ring) breaks(t *testing.T, m mutant) {
	f := files{}
	if m.simulate {
		f.simulate(t, r)
	}
	f[r.file("plainly.go")] = r.named(plainly)
	for _, c := range m.changes {
		f.change(t, r, c)
	}
	out, pass := goTest(t, r, f, m.run, "-count=1", "-tags=invariants", "-explore.runs=20000", "-explore.base=1")
	if pass {
		t.Errorf("no test of %s notices; broken edge: %s", m.run, m.edge)
		return
	}
	if strings.Contains(out, "panic: test timed out") {
		t.Fatalf("no test of %s noticed in time; broken edge: %s", m.run, m.edge)
	}
	by := failed.FindString(out)
	if by == "" {
		t.Fatalf("failed, but not in a test:\n%s", out)
	}
	t.Logf("%s: %s: %s", m.edge, strings.TrimSpace(by), reason(out))
}

// reason is the line that says what a failed test saw.
func reason(out string) string {
	lines := strings.Split(out, "\n")
	for i, l := range lines {
		if strings.Contains(l, "--- FAIL") && i+1 < len(lines) {
			return strings.TrimSpace(lines[i+1])
		}
	}
	return ""
}
