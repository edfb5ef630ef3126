//go:build invariants || race

package cells

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/shmtest"
)

// The explorer runs the parties of a ring as goroutines of which one runs at a
// time. Each crash point is a place where it may let another one go on, or let
// the one that is there never run again. What it chooses follows from a seed
// alone, so a failure is replayed with
//
//	go test -tags invariants -run TestName -explore.seed N ./internal/ring/cells
var (
	exploreSeed = flag.Uint64("explore.seed", 0, "explore this schedule only, and print its steps")
	exploreBase = flag.Uint("explore.base", 0, "explore the same schedules each time; 0: others")
	exploreRuns = flag.Int("explore.runs", 0, "schedules for each scenario; 0: as many as take a moment")
)

type state int

const (
	runs state = iota
	sleeps
	killed
	ended
)

// party is one participant: a goroutine that runs when the explorer says so.
type party struct {
	x       *explorer
	index   int
	name    string
	rng     *rand.Rand
	resume  chan struct{}
	exited  chan struct{}
	state   state
	until   func() bool // what a sleeper waits for
	why     string
	prio    int
	points  int
	killAt  int    // it dies at this point of its; 0: it lives
	killOn  string // and only points of this name count; "": all
	mayStay bool   // asleep at the end is no failure
	atDeath func()
}

// released unwinds a goroutine whose schedule is over.
type released struct{}

type explorer struct {
	rng     *rand.Rand
	parties []*party
	cur     *party
	done    chan struct{}
	failure error
	quiet   bool // we look ourselves: no scheduling
	over    bool

	steps    int
	switches int
	limit    int
	walk     float64 // chance of a switch at each point; 0: priorities
	change   []int   // steps at which the running party falls behind
	lowest   int
	watch    func() error // looked at now and then
	trace    []string
	tracing  bool
}

// newExplorer makes the schedule of a seed. Its upper half is about how many
// steps there will be, for the change points.
func newExplorer(seed uint64) *explorer {
	last := int(seed >> 32)
	x := &explorer{rng: rand.New(rand.NewPCG(seed, 0x5eed)), done: make(chan struct{}), limit: 200_000}
	if x.rng.IntN(2) == 0 {
		x.walk = []float64{0.02, 0.1, 0.3, 0.6}[x.rng.IntN(4)]
	}
	for range 1 + x.rng.IntN(6) {
		x.change = append(x.change, x.rng.IntN(max(last, 20)))
	}
	return x
}

// add makes a party; it starts with the others.
func (x *explorer) add(name string, body func(p *party)) *party {
	p := &party{
		x: x, index: len(x.parties), name: name, prio: 1 + x.rng.IntN(1000),
		rng:    rand.New(rand.NewPCG(x.rng.Uint64(), x.rng.Uint64())),
		resume: make(chan struct{}, 1), exited: make(chan struct{}),
	}
	x.parties = append(x.parties, p)
	go func() {
		defer close(p.exited)
		defer func() {
			r := recover()
			if x.over {
				return
			}
			if _, ok := r.(released); r != nil && !ok {
				x.failure = fmt.Errorf("%s panics: %v\n%s", p.name, r, debug.Stack())
			}
			p.state = ended
			if x.failure != nil {
				close(x.done)
				return
			}
			x.next(p)
		}()
		p.wait()
		body(p)
	}()
	return p
}

// wait parks the goroutine until it is its turn.
func (p *party) wait() {
	<-p.resume
	if p.x.over {
		panic(released{})
	}
}

// run explores one schedule.
func (x *explorer) run() error {
	invariant.SetHook(x.point)
	defer invariant.SetHook(nil)
	x.cur = x.pick(nil)
	x.cur.resume <- struct{}{}
	<-x.done
	x.over = true
	for _, p := range x.parties {
		select {
		case p.resume <- struct{}{}:
		default:
		}
		<-p.exited
	}
	return x.failure
}

// point is what a crash point does.
func (x *explorer) point(name string) {
	if x.quiet {
		return
	}
	if x.over {
		panic(released{})
	}
	p := x.cur
	x.steps++
	if p.killOn == "" || p.killOn == name {
		p.points++
	}
	if x.tracing {
		x.trace = append(x.trace, p.name+" "+strings.TrimPrefix(name, "cells."))
	}
	if x.steps > x.limit {
		x.fail("still running after %d steps", x.steps)
	}
	if x.watch != nil && x.steps%61 == 0 {
		x.look(func() {
			if err := x.watch(); err != nil {
				x.failure = err
			}
		})
		if x.failure != nil {
			panic(released{})
		}
	}
	if p.killAt == p.points && p.killAt > 0 && (p.killOn == "" || p.killOn == name) {
		p.state = killed
		if x.tracing {
			x.trace = append(x.trace, p.name+" DIES")
		}
		if p.atDeath != nil {
			p.atDeath()
		}
	}
	x.next(p)
}

// look runs f, which looks at shared words, without scheduling.
func (x *explorer) look(f func()) {
	was := x.quiet
	x.quiet = true
	defer func() { x.quiet = was }()
	f()
}

// fail ends the schedule.
func (x *explorer) fail(format string, args ...any) {
	x.failure = fmt.Errorf("%s: "+format, append([]any{x.cur.name}, args...)...)
	panic(released{})
}

// sleep lets others run until the condition holds.
func (p *party) sleep(why string, until func() bool) {
	p.state, p.until, p.why = sleeps, until, why
	if p.x.tracing {
		p.x.trace = append(p.x.trace, p.name+" sleeps: "+why)
	}
	p.x.next(p)
}

// next hands over from p to whoever is chosen.
func (x *explorer) next(p *party) {
	gone := p.state == ended
	n := x.pick(p)
	if n == p {
		return
	}
	if n != nil {
		x.cur = n
		x.switches++
		n.resume <- struct{}{}
	} else {
		x.failure = x.stuck()
		close(x.done)
	}
	if !gone {
		p.wait()
	}
}

// pick chooses who runs next, nil if nobody can.
func (x *explorer) pick(p *party) *party {
	var able []*party
	x.look(func() {
		for _, q := range x.parties {
			if q.state == sleeps && q.until() {
				q.state = runs
			}
			if q.state == runs {
				able = append(able, q)
			}
		}
	})
	if len(able) == 0 {
		return nil
	}
	if x.walk > 0 {
		if p != nil && p.state == runs && x.rng.Float64() >= x.walk {
			return p
		}
		return able[x.rng.IntN(len(able))]
	}
	for _, at := range x.change {
		if at == x.steps && p != nil {
			x.lowest--
			p.prio = x.lowest
		}
	}
	best := able[0]
	for _, q := range able[1:] {
		if q.prio > best.prio {
			best = q
		}
	}
	return best
}

// stuck says who sleeps although nobody is left to wake it.
func (x *explorer) stuck() error {
	var errs []error
	for _, p := range x.parties {
		if p.state == sleeps && !p.mayStay {
			errs = append(errs, fmt.Errorf("%s sleeps for ever: %s", p.name, p.why))
		}
	}
	return errors.Join(errs...)
}

// explore runs the scenario under many schedules. The failure that it reports
// is the one with the fewest switches among some.
func explore(t *testing.T, runs int, scenario func(x *explorer) (check func() error)) {
	t.Helper()
	if raceEnabled {
		runs /= 4
	}
	if *exploreRuns > 0 {
		runs = *exploreRuns
	}
	one := func(seed uint64, tracing bool) (*explorer, error) {
		x := newExplorer(seed)
		x.tracing = tracing
		check := scenario(x)
		err := x.run()
		if err == nil {
			err = check()
		}
		return x, err
	}
	if *exploreSeed != 0 {
		x, err := one(*exploreSeed, true)
		t.Logf("%d steps, %d switches:\n%s", x.steps, x.switches, strings.Join(x.trace, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	var bad uint64
	var failure error
	steps, last, fewest := 0, 200, 0
	base := uint32(*exploreBase)
	if base == 0 {
		base = uint32(shmtest.Seed()) // a failure names its own
	}
	for i := 0; i < runs; i++ {
		seed := uint64(last)<<32 | uint64(base+uint32(i))
		x, err := one(seed, false)
		steps += x.steps
		last = x.steps
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
	x, _ := one(bad, true)
	t.Fatalf("%v\nin %d steps and %d switches; -explore.seed %d; its last steps:\n%s",
		failure, x.steps, x.switches, bad, strings.Join(x.trace[max(0, len(x.trace)-120):], "\n"))
}
