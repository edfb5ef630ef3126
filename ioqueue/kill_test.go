//go:build invariants && !race

package ioqueue_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/ioqueue"
)

// A part is what a process does that is killed at each of its steps.
type part struct {
	name   string
	points string // of package mpsc, that it passes each time it is not killed
	often  string // that it passes nearly each time, by who is faster: it is tried a few times
	kernel uint64 // of the survivors: 2 cannot bury the dead of ours
	play   func(s *stage, start func(kind string) *shmtest.Proc)
}

var parts = []part{
	{"submitter that executes", "S1 S4 S5 S7", "X2 X3 X4 X5 X6 X7 X7r X8 X9 S5r W2 S6", 0,
		func(s *stage, start func(string) *shmtest.Proc) {
			p := start("do") // a fork would hold the diary's lock
			end := s.keep(4, s.doing)
			s.attend(p)
			end()
		}},
	{"submitter alone", "S1 S4 S5 S7 X1 X2 X3 X4 X5 X6 X7 X7r X8", "", 0,
		func(s *stage, start func(string) *shmtest.Proc) { s.attend(start("do")) }},
	{"one alone, whose op is in no node", "S6 X8", "", 0,
		func(s *stage, start func(string) *shmtest.Proc) { s.attend(start("alone")) }},
	{"crowd that hands on", "S1 S4 S5 S6 S7 W2 X2 X3 X4 X5 X6 X7 X7r X8 X9", "", 0,
		func(s *stage, start func(string) *shmtest.Proc) { s.attend(start("crowd")) }},
	{"submitter without a device", "S1 S4 S5 S5r S7 W2", "", 0,
		func(s *stage, start func(string) *shmtest.Proc) {
			p := start("ask")
			end := s.serve()
			s.attend(p)
			end()
		}},
	{"one that serves", "X2 X3 X4 X5 X6 X7 X7r X8 K2 S6", "W2 T2 T1", 0,
		func(s *stage, start func(string) *shmtest.Proc) {
			p := start("serve")
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				s.attend(p)
			}()
			until := func(f func() bool) {
				eventually(func() bool {
					select {
					case <-gone:
						return true
					default:
						return f()
					}
				})
			}
			until(func() bool { v := s.view(); return v != nil && v.Asleep() })
			end := s.keep(2, s.asking)
			until(func() bool { return len(s.dev.read(s)) > 40 })
			s.check(os.WriteFile(filepath.Join(s.dev.dir, "stop"), nil, 0o600))
			<-gone
			rescue := s.serve()
			end()
			rescue()
		}},
	{"one that cancels and forgets", "S1 S4 S5 L1 N1", "G3 L3", 0,
		func(s *stage, start func(string) *shmtest.Proc) {
			p := start("cancel")
			end := s.keep(1, s.doing)
			s.attend(p)
			end()
		}},
	{"heir of one that died at the device", "T0 T1 T2 G1 G3 G4", "", 0,
		func(s *stage, start func(string) *shmtest.Proc) {
			s.bereave()
			s.attend(start("do"))
		}},
	{"recoverer", "R1 R2 R3 R4", "", 2,
		func(s *stage, start func(string) *shmtest.Proc) {
			s.bereave()
			p := start("recover")
			s.attend(p)
			again, seg, err := joinAs(s.dir, "again", 0) // whoever can
			s.check(err)
			_, err = again.Recover()
			s.check(errors.Join(err, again.Close(), seg.Close()))
		}},
}

// rare are points that take two to meet in the instant; the explorer in package
// mpsc kills there.
const rare = "X10 L3"

// bereave leaves a queue whose executor has died between two of four ops that
// it was issuing; another one's were cancelled, and one died before it could submit.
func (s *stage) bereave() {
	s.Helper()
	for _, v := range []struct{ kind, crash string }{{"four", "mpsc.X3:3"}, {"ask", "mpsc.S4:1"}} {
		p := shmtest.Start(s, "victim", []string{"RINGBUS_CRASH=" + v.crash}, s.dir, s.dev.dir, v.kind)
		s.attend(p)
		if !p.Killed() {
			s.Fatalf("%s lives", v.kind)
		}
	}
	if in := s.view().Inspect(); in.Issued != 3 {
		s.Fatalf("%+v", in)
	}
}

// TestKillAtEachStep kills a real process at each step, in each part that has
// it, and proves on what it left that nothing is lost, done twice, or asleep.
func TestKillAtEachStep(t *testing.T) {
	hit := make(map[string]bool)
	for _, p := range strings.Fields(rare) {
		hit["mpsc."+p] = true
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			passed := census(t, p)
			for _, point := range strings.Fields(p.points + " " + p.often) {
				point = "mpsc." + point
				for _, n := range slices.Compact([]int{1, max(1, passed[point]/2)}) {
					t.Run(fmt.Sprintf("%s:%d", point, n), func(t *testing.T) {
						if killAt(t, p, point, n) {
							hit[point] = true
						} else if n == 1 && slices.Contains(strings.Fields(p.points), point[5:]) {
							t.Error("it was not killed")
						}
					})
				}
			}
		})
	}
	for _, p := range invariant.Points() {
		if strings.HasPrefix(p, "mpsc.") && !hit[p] && !t.Failed() {
			t.Errorf("no process was killed at %s", p)
		}
	}
}

// census plays a part without a kill and counts the points that are passed.
func census(t *testing.T, p part) map[string]int {
	passed := make(map[string]int)
	t.Run("census", func(t *testing.T) {
		s := newStage(t, p.kernel)
		s.passed = passed
		p.play(s, func(kind string) *shmtest.Proc {
			return shmtest.Start(t, "victim", []string{"RINGBUS_TEST_CENSUS=1"}, s.dir, s.dev.dir, kind)
		})
		s.judge()
		for _, point := range strings.Fields(p.points) {
			if passed["mpsc."+point] == 0 {
				t.Errorf("%s is not passed", point)
			}
		}
	})
	return passed
}

// killAt plays a part with a kill and says whether that came.
func killAt(t *testing.T, p part, point string, n int) bool {
	s := newStage(t, p.kernel)
	var victim *shmtest.Proc
	p.play(s, func(kind string) *shmtest.Proc {
		victim = shmtest.Start(t, "victim", []string{fmt.Sprintf("RINGBUS_CRASH=%s:%d", point, n)}, s.dir, s.dev.dir, kind)
		return victim
	})
	s.judge()
	return victim.Killed()
}

// attend reads what the victim says until it ends.
func (s *stage) attend(p *shmtest.Proc) {
	s.Helper()
	p.Each(func(line string) {
		var point string
		var n int
		if k, _ := fmt.Sscanf(line, "passed %s %d", &point, &n); k == 2 {
			s.passed[point] = n
			return
		}
		s.hear(line)
	})
	p.Killed() // or ended well
}

func init() { roles["victim"] = victim }

// victim is a process that is going to be killed. What it says must be the last
// thing it did.
func victim(args []string) error {
	dir, dev, kind := args[0], diary{args[1]}, args[2]
	var mu sync.Mutex
	passed := make(map[string]int)
	if os.Getenv("RINGBUS_TEST_CENSUS") != "" {
		invariant.SetHook(func(name string) {
			mu.Lock()
			defer mu.Unlock()
			passed[name]++
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Deadline)
	defer cancel()
	node, seg, err := joinAs(dir, "victim", 0)
	if err != nil {
		return err
	}
	if err := play(ctx, node, kind, dev); err != nil {
		return err
	}
	invariant.SetHook(nil)
	if err := errors.Join(node.Close(), seg.Close()); err != nil {
		return err
	}
	for name, n := range passed {
		fmt.Println("passed", name, n)
	}
	return nil
}

func play(ctx context.Context, node *ringbus.Node, kind string, dev diary) error {
	if kind == "recover" {
		_, err := node.Recover()
		return err
	}
	o := small()
	if kind == "four" {
		o.Batch = 8
	}
	q, err := ioqueue.Open(node, "q", o)
	if err != nil {
		return err
	}
	defer q.Close()
	told := func(n int64, err error) error {
		switch {
		case err == nil:
			say("done", n)
		case errors.Is(err, ioqueue.ErrInterrupted):
			say("interrupted", n)
		default:
			return err
		}
		return nil
	}
	switch kind {
	case "do":
		for n := range 6 { // the first of two is queued, so that the second is
			first, id := number(victims, 2*n+1), number(victims, 2*n+2)
			t, err := q.Submit(ctx, opOf(first))
			if err != nil {
				return err
			}
			_, err = q.Do(ctx, opOf(id), dev)
			if err = told(id, err); err == nil {
				_, err = t.Wait(ctx)
				err = told(first, err)
			}
			if err != nil {
				return err
			}
		}
	case "alone":
		for n := range 4 {
			id := number(victims, n+1)
			_, err := q.Do(ctx, opOf(id), dev)
			if err := told(id, err); err != nil {
				return err
			}
		}
	case "crowd":
		var wg sync.WaitGroup
		errs := make([]error, 4)
		for k := range errs {
			wg.Go(func() {
				for n := 0; n < 15 && errs[k] == nil; n++ {
					id := number(victims+3+k, n+1)
					_, err := q.Do(ctx, opOf(id), dev)
					errs[k] = told(id, err)
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	case "four": // and executes them, two of which are repeatable
		var ops []ioqueue.Op
		for n := range 2 {
			ops = append(ops, opOf(number(faithful, n+1)), opOf(number(victims+1, n+1)))
		}
		tickets, err := q.SubmitBatch(ctx, ops, nil)
		if err != nil {
			return err
		}
		tickets[1].Cancel()
		say("cancelled", number(victims+1, 1))
		_, err = q.Do(ctx, opOf(number(victims+2, 1)), dev)
		return err
	case "ask":
		for n := range 12 {
			id := number(victims, n+1)
			t, err := q.Submit(ctx, opOf(id))
			if err != nil {
				return err
			}
			say("submitted", id)
			_, err = t.Wait(ctx)
			if err := told(id, err); err != nil {
				return err
			}
		}
	case "cancel":
		for n := range 30 {
			id := number(victims, n+1)
			t, err := q.Submit(ctx, opOf(id))
			switch {
			case err != nil:
				return err
			case n%2 == 0 && t.Cancel():
				say("cancelled", id)
			default:
				say("submitted", id)
				t.Forget()
			}
		}
	case "serve":
		serve, end := context.WithCancel(ctx)
		go func() {
			eventually(func() bool {
				_, err := os.Stat(filepath.Join(dev.dir, "stop"))
				return err == nil
			})
			end()
		}()
		if err := q.Serve(serve, dev); !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}
