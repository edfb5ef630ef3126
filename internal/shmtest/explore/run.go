//go:build invariants || race

package explore

import (
	"flag"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
)

var (
	seedFlag = flag.Uint64("explore.seed", 0, "explore this schedule only, and print its steps")
	baseFlag = flag.Uint("explore.base", 0, "explore the schedules from this one on; 0: any")
	runsFlag = flag.Int("explore.runs", 0, "schedules for each scenario; 0: as many as take a moment")
)

// A Scenario adds the parties of one schedule, and returns what checks it when
// all is quiet.
type Scenario func(x *Explorer) (check func() error)

func (s Scenario) once(seed uint64, tracing bool) (*Explorer, error) {
	x := newExplorer(seed)
	x.tracing = tracing
	check := s(x)
	err := x.run()
	if err == nil {
		err = check()
	}
	return x, err
}

// Run runs the scenario under many schedules. The failure that it reports is
// the one with the fewest switches among some.
func Run(t *testing.T, runs int, s Scenario) {
	t.Helper()
	if runs /= Memory.Scale; raceEnabled {
		runs /= 4
	}
	if *runsFlag > 0 {
		runs = *runsFlag
	}
	if *seedFlag != 0 {
		x, err := s.once(*seedFlag, true)
		t.Logf("%d steps, %d switches:\n%s", x.Steps, x.switches, strings.Join(x.trace, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	var bad uint64
	var failure error
	steps, last, fewest := 0, 200, 0
	base := uint32(*baseFlag)
	if base == 0 {
		base = uint32(shmtest.Seed()) // a failure names its own
	}
	for i := 0; i < runs; i++ {
		seed := uint64(last)<<32 | uint64(base+uint32(i))
		x, err := s.once(seed, false)
		steps += x.Steps
		last = x.Steps
		if err != nil && (failure == nil || x.switches < fewest) {
			if failure == nil {
				runs = i + 200 // look for a simpler one
			}
			bad, failure, fewest = seed, err, x.switches
		}
	}
	if failure == nil {
		t.Logf("%d schedules, %d steps", runs, steps)
		return
	}
	x, _ := s.once(bad, true)
	t.Fatalf("%v\nin %d steps and %d switches; -explore.seed %d; its last steps:\n%s",
		failure, x.Steps, x.switches, bad, strings.Join(x.trace[max(0, len(x.trace)-160):], "\n"))
}
