//go:build !race && !invariants

package mutation

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

var (
	binaries string // their directory
	built    atomic.Int64
)

func TestMain(m *testing.M) {
	var err error
	if binaries, err = os.MkdirTemp("", "ringbus-mutation-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(binaries)
	os.Exit(code)
}

// all are the rings' mutants.
var all = map[ring][]mutant{
	fanout: fanoutMutants, cells: cellsMutants, multilog: multilogMutants, virtq: virtqMutants, mpsc: mpscMutants, calls: callsMutants,
}

// TestMutants breaks the rings in one place after the other. As none of its
// mutants, a ring on simulated memory must pass what its explorer tests with
// every atomic access as a crash point, and store buffers.
func TestMutants(t *testing.T) {
	for r, mutants := range all {
		t.Run(r.name(), func(t *testing.T) {
			t.Parallel()
			for _, simulate := range []bool{false, true} {
				t.Run(map[bool]string{false: "plain", true: "simulated"}[simulate], func(t *testing.T) {
					t.Parallel()
					r.each(t, simulate, mutants)
				})
			}
		})
	}
}

// each runs those mutants that are to be simulated, or not, in as many
// processes at once as there are CPUs.
func (r ring) each(t *testing.T, simulate bool, mutants []mutant) {
	m := merged{files{r.file("switched.go"): r.named(switched)}, map[string]string{}, map[string]map[string]string{}}
	if simulate {
		if r == mpsc {
			return // its explorer knows no memory
		}
		m.as.simulate(t, r)
	}
	apart := make(map[int]files)
	for i, x := range mutants {
		if x.simulate != simulate {
			continue
		}
		f := maps.Clone(m.as)
		for _, c := range x.changes {
			f.change(t, r, c)
		}
		if !m.add(t, i+1, f) {
			apart[i+1] = f
		}
	}
	binary := r.build(t, m.files(t), "-tags=invariants")
	if simulate {
		t.Run("every access", func(t *testing.T) {
			t.Parallel()
			if out, pass := r.run(t, binary, 0, "^TestExplore"); !pass {
				t.Error(out)
			}
		})
	}
	for i, x := range mutants {
		if x.simulate != simulate {
			continue
		}
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			binary := binary
			if f := apart[i+1]; f != nil {
				binary = r.build(t, f, "-tags=invariants")
			}
			r.breaks(t, binary, i+1, x)
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
	f := files{fanout.file("switched.go"): fanout.named(switched)}
	f.change(t, fanout, fanoutMutants[0].changes[0])
	// The first round notices, most of the time; on CPUs that others use a later one.
	if _, pass := fanout.run(t, fanout.build(t, f), 0, "^TestLitmusWakeSubscriber$", "-test.count=300"); pass {
		t.Error("no round of 300 notices")
	}
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|^(panic: .*)`)

// breaks fails unless one of the tests of mutant number n does.
func (r ring) breaks(t *testing.T, binary string, n int, m mutant) {
	out, pass := r.run(t, binary, n, m.run, "-explore.runs=20000", "-explore.base=1")
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
