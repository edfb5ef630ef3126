//go:build invariants || race

package explore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"

	"github.com/ringbus/ringbus/internal/invariant"
)

// Memory is the build's simulated memory. The plain build has none: stores are
// seen at once.
var Memory = struct {
	Become func(party int)      // which party the next accesses are of
	Reset  func(parties int)    // forgets what is buffered
	Drain  func(party, n int)   // makes its n oldest buffered stores visible
	Held   func(party int) bool // has it buffered stores?
	Scale  int                  // divides the number of schedules
}{func(int) {}, func(int) {}, func(int, int) {}, func(int) bool { return false }, 1}

type state int

const (
	runs state = iota
	sleeps
	stands // until nobody else can go on
	killed
	ended
)

// Party is one participant: a goroutine that runs when the explorer says so.
type Party struct {
	X       *Explorer
	Name    string
	Rand    *rand.Rand
	KillAt  int          // it dies at this point of its; 0: it lives
	StopAt  int          // it stands still at this one; 0: never
	On      string       // and only points of this name count for the two; "": all
	Idle    func() error // says what is wrong with its being asleep at the end; nil: it must not be
	Alone   bool         // while it stands still, no sleeper may depend on it
	AtDeath func()

	index  int
	resume chan struct{}
	exited chan struct{}
	state  state
	until  func() bool // what a sleeper waits for
	why    string
	prio   int
	points int
}

// released unwinds a goroutine whose schedule is over.
type released struct{}

// Explorer runs one schedule.
type Explorer struct {
	Rand   *rand.Rand
	Limit  int                          // steps
	Watch  func() error                 // looked at now and then
	Passed func(p *Party, point string) // told of each point
	Steps  int

	parties []*Party
	cur     *Party
	done    chan struct{}
	failure error
	quiet   bool // we look ourselves: no scheduling
	over    bool

	switches int
	walk     float64 // chance of a switch at each point; 0: priorities
	lag      int     // steps that a buffered store takes to be seen, on average
	change   []int   // steps at which the running party falls behind
	lowest   int
	trace    []string
	tracing  bool
}

// newExplorer makes the schedule of a seed. Its upper half is about how many
// steps there will be, for the change points.
func newExplorer(seed uint64) *Explorer {
	last := int(seed >> 32)
	x := &Explorer{Rand: rand.New(rand.NewPCG(seed, 0x5eed)), done: make(chan struct{}), Limit: 200_000}
	if x.Rand.IntN(2) == 0 {
		x.walk = []float64{0.02, 0.1, 0.3, 0.6}[x.Rand.IntN(4)]
	}
	x.lag = []int{1, 8, 64, 1000}[x.Rand.IntN(4)]
	for range 1 + x.Rand.IntN(6) {
		x.change = append(x.change, x.Rand.IntN(max(last, 20)))
	}
	return x
}

// Add makes a party; it starts with the others.
func (x *Explorer) Add(name string, body func(p *Party)) *Party {
	p := &Party{
		X: x, index: len(x.parties), Name: name, prio: 1 + x.Rand.IntN(1000),
		Rand:   rand.New(rand.NewPCG(x.Rand.Uint64(), x.Rand.Uint64())),
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
				x.failure = fmt.Errorf("%s panics: %v\n%s", p.Name, r, debug.Stack())
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
func (p *Party) wait() {
	<-p.resume
	if p.X.over {
		panic(released{})
	}
}

// run explores one schedule.
func (x *Explorer) run() error {
	Memory.Reset(len(x.parties))
	defer Memory.Reset(0)
	invariant.SetHook(x.Point)
	defer invariant.SetHook(nil)
	x.cur = x.pick(nil)
	Memory.Become(x.cur.index)
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

// Point is what a crash point does; the parties may pass some of their own.
func (x *Explorer) Point(name string) {
	if x.quiet {
		return
	}
	if x.over {
		panic(released{})
	}
	p := x.cur
	x.Steps++
	if x.tracing {
		x.trace = append(x.trace, p.Name+" "+name[strings.LastIndexByte(name, '.')+1:])
	}
	if x.Steps > x.Limit {
		x.Fail("still running after %d steps", x.Steps)
	}
	if x.Passed != nil {
		x.Look(func() { x.Passed(p, name) })
	}
	if x.Watch != nil && x.Steps%61 == 0 {
		x.Look(func() {
			if err := x.Watch(); err != nil {
				x.failure = err
			}
		})
	}
	if x.failure != nil {
		panic(released{})
	}
	if p.On == "" || p.On == name {
		p.points++
		x.hit(p)
	}
	x.next(p)
}

// hit is about a point that counts.
func (x *Explorer) hit(p *Party) {
	switch p.points {
	case p.KillAt:
		p.state = killed
		x.Note("DIES")
		Memory.Drain(p.index, 1<<30) // its stores were executed
		if p.AtDeath != nil {
			x.Look(p.AtDeath)
		}
	case p.StopAt:
		p.state = stands
		x.Note("STOPS")
		Memory.Drain(p.index, 1<<30)
	}
}

// Note puts a line into the trace.
func (x *Explorer) Note(format string, args ...any) {
	if x.tracing {
		x.trace = append(x.trace, x.cur.Name+" "+fmt.Sprintf(format, args...))
	}
}

// Look runs f, which looks at shared words, without scheduling.
func (x *Explorer) Look(f func()) {
	was := x.quiet
	x.quiet = true
	defer func() { x.quiet = was }()
	f()
}

// Fail ends the schedule.
func (x *Explorer) Fail(format string, args ...any) {
	x.failure = fmt.Errorf("%s: "+format, append([]any{x.cur.Name}, args...)...)
	panic(released{})
}

// Sleep lets others run until the condition holds.
func (p *Party) Sleep(why string, until func() bool) {
	p.state, p.until, p.why = sleeps, until, why
	Memory.Drain(p.index, 1<<30) // a system call
	p.X.Note("sleeps: %s", why)
	p.X.next(p)
}

// next hands over from p to whoever is chosen.
func (x *Explorer) next(p *Party) {
	gone := p.state == ended
	if gone {
		Memory.Drain(p.index, 1<<30)
	}
	n := x.pick(p)
	if n == p {
		return
	}
	if n != nil {
		x.cur = n
		x.switches++
		Memory.Become(n.index)
		n.resume <- struct{}{}
	} else {
		if x.failure == nil {
			x.Look(func() { x.failure = x.stuck() })
		}
		close(x.done)
	}
	if !gone {
		p.wait()
	}
}

// pick chooses who runs next, nil if nobody can.
func (x *Explorer) pick(p *Party) *Party {
	for _, q := range x.parties {
		if Memory.Held(q.index) && x.Rand.IntN(x.lag) == 0 {
			Memory.Drain(q.index, 1)
		}
	}
	able := x.able()
	if len(able) == 0 {
		return nil
	}
	if x.walk > 0 {
		if p != nil && p.state == runs && x.Rand.Float64() >= x.walk {
			return p
		}
		return able[x.Rand.IntN(len(able))]
	}
	for _, at := range x.change {
		if at == x.Steps && p != nil {
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

// able lists who can go on; if nobody can, one of those that stand still does.
func (x *Explorer) able() (able []*Party) {
	x.Look(func() {
		for _, q := range x.parties {
			if q.state == sleeps && q.until() {
				q.state = runs
			}
			if q.state == runs {
				able = append(able, q)
			}
		}
	})
	for _, q := range x.parties {
		if len(able) > 0 || q.state != stands {
			continue
		}
		if q.Alone {
			x.Look(func() { x.failure = x.stuck() })
			if x.failure != nil {
				x.failure = fmt.Errorf("%s stands still, and %w", q.Name, x.failure)
				return nil
			}
		}
		q.state = runs
		able = append(able, q)
	}
	return able
}

// stuck says who sleeps although nobody is left to wake it.
func (x *Explorer) stuck() error {
	var errs []error
	for _, p := range x.parties {
		if p.state != sleeps {
			continue
		}
		err := errors.New("nobody is left to wake it")
		if p.Idle != nil {
			err = p.Idle()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s sleeps for ever: %s: %w", p.Name, p.why, err))
		}
	}
	return errors.Join(errs...)
}

// Tracing says whether notes are kept.
func (x *Explorer) Tracing() bool { return x.tracing }

// Over says whether the schedule is: what is looked at now, its parties may
// have left in the middle of a step.
func (x *Explorer) Over() bool { return x.over }

// MayStay says whether p may be asleep at the end.
func (p *Party) MayStay(yes bool) {
	p.Idle = nil
	if yes {
		p.Idle = func() error { return nil }
	}
}

// GiveWay lets others go on first: p only looks again and again.
func (p *Party) GiveWay() {
	p.X.lowest--
	p.prio = p.X.lowest
	p.X.Point("idle")
}
