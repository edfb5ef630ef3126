//go:build invariants && !race

package journal_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/journal"
)

// censusVar has a victim count the points that it passes, and say them at its
// end: what the harness wants to kill it at must be among them.
const censusVar = "RINGBUS_TEST_CENSUS"

func init() {
	for name, f := range map[string]func(v *victim) error{
		"writer": (*victim).write, "lapping writer": (*victim).lap, "reader": (*victim).read,
		"corpse": (*victim).lie, "recoverer": (*victim).recover, "operator": (*victim).evict,
	} {
		roles[name] = func(args []string) error { return runVictim(args, f) }
	}
}

// A victim is a process that is going to be killed, or stopped. What it says
// must be the last thing it did: who says that a record is there has written it.
type victim struct {
	dir, kind string
	ctx       context.Context
	in        *bufio.Scanner
}

func runVictim(args []string, f func(*victim) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Deadline)
	defer cancel()
	v := &victim{dir: args[0], kind: args[1], ctx: ctx, in: bufio.NewScanner(os.Stdin)}
	var mu sync.Mutex
	passed := make(map[string]int)
	if os.Getenv(censusVar) != "" {
		invariant.SetHook(func(name string) {
			mu.Lock()
			defer mu.Unlock()
			passed[name]++
		})
	}
	if err := f(v); err != nil {
		return err
	}
	invariant.SetHook(nil)
	for name, n := range passed {
		fmt.Println("passed", name, n)
	}
	return nil
}

func (v *victim) say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// hear waits for the starter's word.
func (v *victim) hear(word string) error {
	if !v.in.Scan() || v.in.Text() != word {
		return fmt.Errorf("heard %q, want %q", v.in.Text(), word)
	}
	return nil
}

// victimTotal is how many records a writer appends that is not killed: more
// than go around the journal.
const victimTotal = 150

// write is a writer of a journal that readers hold. It lets them go to sleep
// before it begins; later it sleeps over them.
func (v *victim) write() error {
	node, end, err := joinAs(v.dir, "victim", 0)
	if err != nil {
		return err
	}
	w, err := journal.NewWriter(node, "log", keyed(held(), "victim"))
	if err != nil {
		return err
	}
	v.say("open")
	if err := v.hear("go"); err != nil {
		return err
	}
	for n := range uint64(victimTotal) {
		if err := put(v.ctx, w, "victim", n); err != nil {
			return err
		}
		v.say("acked %d", n+1)
	}
	return errors.Join(w.Close(), end())
}

// lap is a writer that is lapped over a record of its own, and laps another.
func (v *victim) lap() error {
	node, end, err := joinAs(v.dir, "victim", 0)
	if err != nil {
		return err
	}
	w, err := journal.NewWriter(node, "log", keyed(loose(), "victim"))
	if err != nil {
		return err
	}
	v.say("open")
	if err := v.hear("go"); err != nil {
		return err
	}
	for n := uint64(0); n < victimTotal; {
		if n == 10 {
			r, err := w.Reserve(v.ctx, 300, 300, nil)
			if err != nil {
				return err
			}
			v.say("reserved")
			if err := v.hear("lapped"); err != nil {
				return err
			}
			if err := r.Commit(len(fill(r.Data(), "victim", n))); !errors.Is(err, journal.ErrLapped) {
				return fmt.Errorf("commit of what was lapped: %w", err)
			}
			v.say("laps")
			if err := v.hear("reserved"); err != nil {
				return err
			}
		}
		err := put(v.ctx, w, "victim", n)
		if errors.Is(err, journal.ErrLapped) {
			continue // it was stopped
		}
		if err != nil {
			return err
		}
		n++
		v.say("acked %d", n)
	}
	return errors.Join(w.Close(), end())
}

// read is a reader. It sleeps until there are records; then it reads no more
// until writers sleep over it, if it holds; in the end it looks for old ones.
func (v *victim) read() error {
	node, end, err := joinAs(v.dir, "victim", 0)
	if err != nil {
		return err
	}
	r, err := journal.NewReader(node, "log", &journal.ReaderOptions{Hold: v.kind == "holds", Wait: asleep})
	if err != nil {
		return err
	}
	v.say("joined")
	c := tally{late: true} // it may have been stopped before it joined
	for c.seen() < 120 {
		if c.got == 8 && v.kind == "holds" && !eventually(func() bool { return sleeping(node.Segment(), "log") > 0 }) {
			return errors.New("no writer sleeps over us")
		}
		rec, err := r.Read(v.ctx)
		if err == nil {
			err = c.take(rec)
		}
		if err != nil {
			return err
		}
		v.say("read %d", c.seen())
	}
	if v.kind == "holds" && c.skip != (journal.Skipped{}) {
		return fmt.Errorf("skipped %+v", c.skip)
	}
	for range 2 {
		if err := r.Last(3); err != nil {
			return err
		}
		if _, err := r.Read(v.ctx); err != nil {
			return err
		}
		var gone *journal.GoneError
		if err := r.After(c.pos); err != nil && !errors.As(err, &gone) {
			return err
		}
		for rec, err := range r.Records() {
			if err != nil {
				return err
			}
			c.pos = rec.Position
		}
	}
	return errors.Join(r.Close(), end())
}

// lie holds all there is to hold until it is killed: a record that is lapped
// and one that is not, a reader that holds, a writer that sleeps over it.
func (v *victim) lie() error {
	join := joinAs
	if v.kind == "guest" {
		join = joinAsGuest
	}
	node, end, err := join(v.dir, v.kind, 0)
	if err != nil {
		return err
	}
	w, err := journal.NewWriter(node, "log", keyed(loose(), v.kind))
	if err != nil {
		return err
	}
	lapped, err := w.Reserve(v.ctx, 300, 300, nil)
	if err != nil {
		return err
	}
	v.say("reserved")
	if err := v.hear("lapped"); err != nil {
		return err
	}
	open, err := w.Reserve(v.ctx, 700, 700, nil)
	if err != nil {
		return err
	}
	full, err := journal.NewWriter(node, "full", keyed(held(), v.kind))
	if err != nil {
		return err
	}
	r, err := journal.NewReader(node, "full", holding())
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		for n := uint64(0); ; n++ {
			if err := put(v.ctx, full, v.kind, n); err != nil {
				failed <- err
				return
			}
		}
	}()
	if !eventually(func() bool { return sleeping(node.Segment(), "full") > 0 }) {
		return errors.New("the writer does not sleep")
	}
	v.say("holds")
	if err := v.hear("go"); err != nil {
		return err
	}
	// A zombie that woke up: all that it writes is late.
	for range 3 {
		fill(lapped.Data(), "zombie", 1)
		fill(open.Data(), "zombie", 2)
	}
	_, rerr := r.Read(v.ctx)
	_, werr := w.Write(nil)
	for what, err := range map[string]error{"lapped": lapped.Commit(300), "open": open.Commit(700), "read": rerr, "write": werr, "sleeper": <-failed} {
		if !errors.Is(err, journal.ErrFenced) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if err := errors.Join(w.Close(), full.Close(), r.Close(), end()); !errors.Is(err, journal.ErrFenced) {
		return fmt.Errorf("end: %w", err)
	}
	v.say("ended")
	return nil
}

// recover joins, which takes a dead node's slot, and recovers the others.
func (v *victim) recover() error {
	node, end, err := joinAs(v.dir, "victim", 0)
	if err != nil {
		return err
	}
	if _, err := node.Recover(); err != nil {
		return err
	}
	return end()
}

// evict says that all nodes of other kernels are gone.
func (v *victim) evict() error {
	node, end, err := joinAs(v.dir, "victim", 0)
	if err != nil {
		return err
	}
	operator, err := node.Segment().Join("operator")
	if err != nil {
		return err
	}
	for _, n := range node.Segment().Nodes() {
		if n.Foreign {
			if err := operator.Evict(n.Slot); err != nil {
				return err
			}
		}
	}
	return errors.Join(operator.Leave(), end())
}

// passedPoint reads a line of a census.
func passedPoint(line string) (point string, n int, ok bool) {
	rest, ok := strings.CutPrefix(line, "passed ")
	if !ok {
		return "", 0, false
	}
	_, err := fmt.Sscan(rest, &point, &n)
	return point, n, err == nil
}
