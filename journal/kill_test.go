//go:build invariants && !race

package journal_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/segment"
)

// A part is what a process does that is killed, and stopped, at each of its
// steps.
type part struct {
	name string
	// points are those of package multilog that the process passes each time
	// it is not killed.
	points string
	// claims are points at which a process that is stopped holds others up: it
	// has a record open that readers wait for, or did not read one.
	claims string
	kernel uint64 // of the stage's keeper
	// play has the process started, lets it do its part, and judges what it left
	// behind, wherever it ended.
	play func(a *act)
}

// filling are the points of who gives up old records.
const filling = "E2 E4 E5 E5b E6 "

var parts = []part{
	{"writer among readers that hold", filling + "W6 W7 W8 W9 W10 W10p J4 J5 K2w K2x K4w L2 K5 K6", "W7 W8 W9", 0, playWriter},
	{"writer that is lapped and laps", filling + "W6 W7 W8 W9 W10 W10p W11 E2s", "", 0, playLapper},
	{"reader that holds", "J0 J1 J2 J2a J2b J3 K2 K2a K4 R3 R6 R7 L1", "J2a J2b J3 K2 K2a K4 R3 R6 R7 K5 K6", 0, playReader("holds")},
	{"reader that does not hold", "J0 J1 J2 J2a K2 K2a K4 R3 R7 L1", "", 0, playReader("tails")},
	{"recoverer", "V1 V3 V4 V5", "", 2, playRecoverer},
	{"operator who evicts", "V1 V3 V4 V5", "", 0, playOperator},
}

func fullNames(points string) []string {
	var out []string
	for _, p := range strings.Fields(points) {
		out = append(out, "multilog."+p)
	}
	slices.Sort(out)
	return out
}

// An act is one playing of a part.
type act struct {
	*stage
	part   *part
	traps  string // "", or where the process is killed or stopped
	stops  bool
	passed map[string]int // in a census
	crowd  int            // survivors that write: 1 to 8 writers with the victim
	gate   atomic.Bool    // for survivors: do not wait for the victim

	victim    *shmtest.Proc
	watched   chan struct{}
	meanwhile func() // what is to be while the victim is stopped
	rest      func() // waits until what that began is over
	stopped   bool
}

// TestKillAndStopAtEachStep kills a real process at each step, in each part that
// has it, and proves on what it left that nothing is lost, leaked, or asleep;
// then it stops one there, and has it go on when everybody else has.
func TestKillAndStopAtEachStep(t *testing.T) {
	hit := make(map[string]int)
	crowd := 0
	for i := range parts {
		p := &parts[i]
		t.Run(p.name, func(t *testing.T) {
			passed := census(t, p)
			for _, point := range slices.Sorted(maps.Keys(passed)) {
				if !strings.HasPrefix(point, "multilog.") {
					continue
				}
				n := passed[point]
				for stop, times := range map[bool][]int{false: {1, n / 3, n}, true: {1, n / 2}} {
					for _, n := range slices.Compact(times) {
						if n == 0 {
							continue
						}
						a := &act{part: p, traps: fmt.Sprintf("%s:%d", point, n), stops: stop, crowd: crowd % 8}
						crowd++
						t.Run(fmt.Sprintf("%s, stop %v, %d survivors", a.traps, stop, a.crowd), func(t *testing.T) {
							if a.run(t) {
								hit[point]++
							} else if n == 1 && slices.Contains(fullNames(p.points), point) {
								t.Error("it was not passed") // how often may depend on who is faster
							}
						})
					}
				}
			}
		})
	}
	for _, p := range invariant.Points() {
		if strings.HasPrefix(p, "multilog.") && hit[p] < 2 && !t.Failed() {
			t.Errorf("no process was killed and stopped at %s", p)
		}
	}
}

// census plays a part without a kill and counts the points that are passed.
func census(t *testing.T, p *part) map[string]int {
	a := &act{part: p, crowd: 1, passed: make(map[string]int)}
	t.Run("census", func(t *testing.T) {
		a.run(t)
		for _, point := range fullNames(p.points) {
			if a.passed[point] == 0 {
				t.Errorf("%s is not passed", point)
			}
		}
	})
	return a.passed
}

// run plays the part, and says whether the victim was killed, or stopped.
func (a *act) run(t *testing.T) bool {
	a.stage = newStage(t, a.part.kernel)
	a.watched = make(chan struct{})
	a.meanwhile, a.rest = func() {}, func() {}
	t.Cleanup(func() { a.gate.Store(true) })
	a.part.play(a)
	if a.stops {
		return a.stopped
	}
	return a.victim.Killed()
}

// start starts the victim.
func (a *act) start(role, kind string) *shmtest.Proc {
	a.Helper()
	var env []string
	switch {
	case a.traps == "":
		env = []string{censusVar + "=1"}
	case a.stops:
		env = []string{"RINGBUS_STOP=" + a.traps}
	default:
		env = []string{"RINGBUS_CRASH=" + a.traps}
	}
	a.victim = shmtest.Start(a, role, env, a.dir, kind)
	go func() {
		defer close(a.watched)
		if !a.stops {
			return
		}
		var state byte
		eventually(func() bool {
			state = condition(a.victim)
			return state == 'T' || state == 'Z' || state == 0
		})
		if a.stopped = state == 'T'; a.stopped {
			defer a.victim.Continue()
			a.gate.Store(true)
			a.meanwhile()
		}
	}()
	return a.victim
}

// attend reads what the victim says until it ends.
func (a *act) attend(heard func(line string)) {
	a.Helper()
	a.victim.Each(func(line string) {
		if point, n, ok := passedPoint(line); ok {
			a.passed[point] = n
		} else if heard != nil {
			heard(line)
		}
	})
	a.gate.Store(true)
	<-a.watched
	if a.stops || a.traps == "" {
		a.victim.Success()
	} else {
		a.victim.Killed() // or ended well
	}
	a.rest()
}

// others has others write while the victim is stopped: they come to an end, or,
// where it holds them up, to a wait.
func (a *act) others(name string, mode journal.Mode) func() {
	return func() {
		count := uint64(60)
		if mode == journal.Overwrite {
			count = 160 // twice around and more
		}
		wait := a.crew(name, "x/", mode, 1+a.crowd%3, count)
		point, _, _ := strings.Cut(a.traps, ":")
		if !slices.Contains(fullNames(a.part.claims), point) {
			wait()
			return
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			wait()
		}()
		a.rest = func() { <-done }
		until(a, "the others sleep, or are done", func() bool {
			select {
			case <-done:
				return true
			default:
				return sleeping(a.node.Segment(), name) > 0
			}
		})
	}
}

// crew starts k writers, each in a node of its own, that append count records
// each, and returns a function that waits until they have done so.
func (s *stage) crew(name, prefix string, mode journal.Mode, k int, count uint64) func() {
	var all sync.WaitGroup
	errs := make([]error, k)
	for i := range k {
		key := fmt.Sprint(prefix, i)
		n := s.join(key, 0)
		w := s.writer(n, name, &journal.Options{Mode: mode, Key: key, Wait: asleep})
		all.Go(func() { errs[i] = s.appends(w, mode, key, count) })
	}
	return func() {
		s.Helper()
		all.Wait()
		s.check(errors.Join(errs...))
	}
}

// acked is how many records writers of this process have written.
func (s *stage) acked() (sum uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.acks {
		sum += n
	}
	return sum
}

// gone is how many cells of a small journal are lost to writers that were
// evicted, by its state words.
func (s *stage) gone(name string) (cells uint64) {
	s.Helper()
	area, err := s.node.Segment().Find(segment.Key{Kind: segment.KindJournal, Name: name})
	s.check(err)
	for i := range 256 {
		if w := mem.U64(area, statesAt+8*i).Load(); w&7 == 6 {
			cells += w >> 23 & (1<<13 - 1)
		}
	}
	return cells
}

// condition is the state of a process as /proc tells it: T is stopped, Z and 0
// are dead.
func condition(p *shmtest.Proc) byte {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if _, state, ok := strings.Cut(string(b), ") "); ok && err == nil {
		return state[0]
	}
	return 0
}

// number reads the number of a line that begins with word.
func number(line, word string) (n uint64, ok bool) {
	rest, ok := strings.CutPrefix(line, word+" ")
	if !ok {
		return 0, false
	}
	_, err := fmt.Sscan(rest, &n)
	return n, err == nil
}

// ended checks the writer victim's records, which said that acked of them are
// there, by what a reader was told of, and those of all others.
func (a *act) ended(c tally, acked uint64) {
	a.Helper()
	slack := uint64(1) // it may have died before it said so
	if a.stops || a.traps == "" {
		slack = 0
	}
	if total := acked + a.acked(); c.seen() < total || c.seen() > total+slack || c.skip.Corrupt != 0 || c.skip.Tombs > slack {
		a.Errorf("%d records were acknowledged, and a reader was told of %d: %+v", total, c.seen(), c)
	}
	if c.skip.Lost != 0 {
		return
	}
	for key, n := range a.acks {
		if c.next[key] != n {
			a.Errorf("%d records of %q were acknowledged, and a reader was given %d", n, key, c.next[key])
		}
	}
	if n := c.next["victim"]; n < acked || n > acked+slack {
		a.Errorf("%d records of the victim were acknowledged, and a reader was given %d", acked, n)
	}
}

func playWriter(a *act) {
	a.writer(a.node, "log", held())
	a.meanwhile = a.others("log", journal.Reject)
	victimSleeps := func() bool {
		for _, o := range look(a.node.Segment(), "log").info.Waiting {
			if a.node.Segment().NameOf(segment.Owner(o)) == "victim" {
				return true
			}
		}
		return a.gate.Load()
	}
	all := a.listen(a.reader(a.node, "log", holding()), func() { eventually(victimSleeps) })
	few := a.listen(a.reader(a.node, "log", &journal.ReaderOptions{Wait: asleep}), nil)
	acked := uint64(0)
	wait := func() {}
	a.start("writer", "")
	a.attend(func(line string) {
		if n, ok := number(line, "acked"); ok {
			if acked = n; n == 1 {
				wait = a.crew("log", "s/", journal.Reject, a.crowd, 40)
			}
		}
		if line == "open" {
			until(a, "a reader sleeps", func() bool { readers, _ := sleepers(a.node.Segment(), "log"); return readers > 0 })
			a.victim.Say("go")
		}
	})
	wait()
	a.catchesUp("the reader that holds", all, "log") // whom nobody but the recovery wakes
	a.catchesUp("the reader that does not hold", few, "log")
	heir := a.writer(a.join("victim", 0), "log", keyed(held(), "heir"))
	a.check(a.appends(heir, journal.Reject, "heir", 20))
	c := a.catchesUp("the reader that holds", all, "log")
	if a.ended(c, acked); c.skip.Lost+c.skip.Holes != 0 {
		a.Errorf("the reader that holds skipped %+v", c.skip)
	}
	a.ended(a.catchesUp("the reader that does not hold", few, "log"), acked)
	a.quit(all, few)
	a.sound("log")
	a.exercise("log")
}

func playLapper(a *act) {
	own := a.writer(a.node, "log", loose())
	laps := a.writer(a.node, "log", keyed(loose(), "tiny"))
	a.meanwhile = a.others("log", journal.Overwrite)
	few := a.listen(a.reader(a.node, "log", &journal.ReaderOptions{Wait: asleep}), nil)
	acked := uint64(0)
	wait := func() {}
	var mine journal.Reservation // which the victim laps
	laid := false
	a.start("lapping writer", "")
	a.attend(func(line string) {
		n, _ := number(line, "acked")
		acked = max(acked, n)
		switch {
		case line == "open":
			until(a, "a reader sleeps", func() bool { readers, _ := sleepers(a.node.Segment(), "log"); return readers > 0 })
			a.victim.Say("go")
		case line == "reserved":
			a.check(a.appends(laps, journal.Overwrite, "tiny", 300))
			a.victim.Say("lapped")
		case line == "laps":
			laid = true
			var err error
			mine, err = own.Reserve(a.ctx, 300, 300, &journal.RecordOptions{Key: "mine"})
			a.check(err)
			a.victim.Say("reserved")
		case n == 140:
			wait = a.crew("log", "s/", journal.Overwrite, a.crowd, 40)
		}
	})
	wait()
	if laid {
		switch err := mine.Commit(len(fill(mine.Data()[:sizeOf(0)], "mine", 0))); {
		case err == nil:
			a.acks["mine"] = 1
		case !errors.Is(err, journal.ErrLapped):
			a.Error(err)
		}
	}
	a.check(a.appends(laps, journal.Overwrite, "tiny", 30))
	a.ended(a.catchesUp("the reader", few, "log"), acked)
	a.quit(few)
	a.sound("log")
	a.exercise("log")
}

func playReader(kind string) func(*act) {
	return func(a *act) {
		o, mode := held(), journal.Reject
		if kind == "tails" {
			o, mode = loose(), journal.Overwrite
		}
		a.writer(a.node, "log", o)
		a.meanwhile = a.others("log", mode)
		all := a.listen(a.reader(a.node, "log", holding()), nil)
		var over atomic.Bool
		begun, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			<-begun
			eventually(func() bool { // it sleeps, or is gone
				readers, _ := sleepers(a.node.Segment(), "log")
				return over.Load() || readers == 2 || a.gate.Load()
			})
			a.crew("log", "s/", mode, 1+a.crowd, uint64(130/(1+a.crowd)+1))()
		}()
		told := false
		a.start("reader", kind)
		a.attend(func(line string) {
			if line == "joined" {
				close(begun)
				told = true
			}
		})
		if over.Store(true); !told {
			close(begun)
		}
		<-done // the dead do not hold it up
		c := a.catchesUp("the other reader", all, "log")
		if a.ended(c, 0); kind == "holds" && c.skip != (journal.Skipped{}) {
			a.Errorf("the other reader skipped %+v", c.skip)
		}
		a.quit(all)
		a.sound("log")
		a.exercise("log")
	}
}

// corpses are processes that have all there is to have, and do nothing more.
func (a *act) corpses(kinds ...string) (all []*shmtest.Proc) {
	a.writer(a.node, "full", held())
	laps := a.writer(a.node, "log", keyed(loose(), "tiny"))
	for _, kind := range kinds {
		p := shmtest.Start(a, "corpse", nil, a.dir, kind)
		p.Expect("reserved")
		a.check(a.appends(laps, journal.Overwrite, "tiny", 300))
		p.Say("lapped")
		p.Expect("holds")
		all = append(all, p)
	}
	for _, p := range all {
		p.Stop() // or one would recover the other
	}
	return all
}

func playRecoverer(a *act) {
	a.writer(a.node, "log", loose())
	few := a.listen(a.reader(a.node, "log", &journal.ReaderOptions{Wait: asleep}), nil)
	for _, p := range a.corpses("corpse/1", "corpse/2") {
		p.Kill()
	}
	a.meanwhile = func() {
		a.others("log", journal.Overwrite)()
		a.others("full", journal.DefaultMode)() // the dead hold nothing
	}
	a.start("recoverer", "")
	a.attend(nil)
	a.node = a.join("undertaker", 0)
	a.crew("log", "s/", journal.Overwrite, a.crowd, 30)()
	a.sound("log", "full")
	if c := a.catchesUp("the reader", few, "log"); c.skip.Corrupt != 0 {
		a.Errorf("%+v", c)
	}
	a.quit(few)
	a.exercise("log")
	a.exercise("full")
}

func playOperator(a *act) {
	a.writer(a.node, "log", loose())
	few := a.listen(a.reader(a.node, "log", &journal.ReaderOptions{Wait: asleep}), nil)
	zombies := a.corpses("guest")
	a.meanwhile = a.others("log", journal.Overwrite)
	a.start("operator", "")
	a.attend(nil)
	operator, err := a.node.Segment().Join("operator")
	a.check(err)
	for _, n := range a.node.Segment().Nodes() {
		if n.Foreign {
			a.check(operator.Evict(n.Slot))
		}
	}
	a.check(operator.Leave())
	a.crew("log", "s/", journal.Overwrite, a.crowd, 30)()
	if n := a.gone("log"); n != 9 {
		a.Errorf("%d cells are out of use, though the evicted may still write into 9", n)
	}
	zombies[0].Continue()
	zombies[0].Say("go")
	zombies[0].Expect("ended")
	zombies[0].Success()
	a.crew("log", "z/", journal.Overwrite, 2, 100)()
	a.ended(a.catchesUp("the reader", few, "log"), 0)
	a.quit(few)
	a.sound("log", "full")
	if n := a.gone("log"); n != 9 {
		a.Errorf("%d cells are out of use after the evicted has ended", n)
	}
	a.exercise("full")
}
