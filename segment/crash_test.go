//go:build invariants || race

package segment

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/shmtest"
)

// dieAt runs f until it passes the point for the n-th time, where its
// goroutine ends, and says whether it got that far.
func dieAt(point string, n int, f func()) bool {
	died := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		self := goroutine()
		invariant.SetHook(func(name string) {
			if name != point || goroutine() != self {
				return
			}
			if n--; n == 0 {
				died = true
				runtime.Goexit()
			}
		})
		f()
	}()
	<-done
	invariant.SetHook(nil)
	return died
}

// goroutine returns what the runtime calls the current goroutine.
func goroutine() string {
	var b [32]byte
	name, _, _ := strings.Cut(string(b[:runtime.Stack(b[:], false)]), "[")
	return name
}

func pointsOf(prefixes ...string) []string {
	return slices.DeleteFunc(invariant.Points(), func(p string) bool {
		return !slices.ContainsFunc(prefixes, func(pre string) bool { return strings.HasPrefix(p, "segment."+pre+".") })
	})
}

// Death at each step of create and remove, seen by the survivor at once, or
// only after it has itself asked for the same key.
func TestDeathInTheDirectoryLeavesNothing(t *testing.T) {
	for _, point := range pointsOf("create", "remove", "free") {
		for nth := 1; nth <= 3; nth += 2 { // a block is claimed three times
			for _, asks := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s:%d asks=%v", point, nth, asks), func(t *testing.T) {
					s := memory(t, nil)
					survivor, dead := join(t, s, "survivor"), join(t, s, "dead")
					died := dieAt(point, nth, func() {
						if a, _, err := dead.Create(context.Background(), lane, 3*minBlock, nil); err == nil {
							_ = a.Close()
							_ = dead.Remove(lane)
						}
					})
					if died == (nth == 3 && !strings.HasSuffix(point, ".block")) {
						t.Fatalf("died is %v", died)
					}
					dead.Abandon()
					check := 0
					if asks {
						a, _, err := survivor.Create(t.Context(), lane, 3*minBlock, nil)
						if err != nil {
							t.Fatal(err)
						}
						_, check = a.Close(), 1
					}
					if !survivor.RecoverOwner(dead.Owner()) {
						t.Fatal("the dead node is still there")
					}
					for i := range entryCount {
						if e := s.entry(i); e.owner() == dead.Owner() {
							t.Errorf("entry %d is %v and belongs to the dead node", i, e.state())
						}
					}
					if n := len(s.Areas()); !asks {
						check = n // READY or not, by where the death came
					}
					sound(t, survivor, check)
				})
			}
		}
	}
}

func TestDeathOfJoinerLeaverAndRecoverer(t *testing.T) {
	for _, point := range pointsOf("join", "leave", "bury") {
		t.Run(point, func(t *testing.T) {
			s := memory(t, nil)
			first, survivor := join(t, s, "first"), join(t, s, "survivor")
			create(t, first, lane, 1000)
			second := join(t, s, "second")
			first.Abandon()  // the joiner takes this one's slot
			second.Abandon() // and recovers that one
			var n *Node
			var err error
			if !dieAt(point, 1, func() {
				if n, err = s.Join("dying"); err == nil {
					_, _ = n.Recover()
					_ = n.Leave()
				}
			}) {
				t.Logf("not passed: the survivor's goroutine was faster")
			}
			if n != nil {
				n.Abandon()
			}
			dropLocks(s, survivor)
			until(t, "sound", func() bool {
				_, err := survivor.Recover()
				return err == nil && len(s.Nodes()) == 1
			})
			if err := survivor.Remove(lane); err != nil {
				t.Error(err)
			}
			sound(t, survivor, 0)
		})
	}
}

// dropLocks does what the kernel does for a process that died: it drops the
// locks of all holders but those of the living.
func dropLocks(s *Segment, living *Node) {
	lt := living.locks.(*tableLocks)
	lt.t.Lock()
	defer lt.t.Unlock()
	for i, h := range lt.t.held {
		if h != lt && h != s.own {
			delete(lt.t.held, i)
		}
	}
}

func TestKilledCreatorIsTakenOver(t *testing.T) {
	for _, point := range pointsOf("format") {
		t.Run(point, func(t *testing.T) {
			dir := shmtest.Dir(t)
			p := shmtest.Start(t, "creator", []string{"RINGBUS_CRASH=" + point + ":1"}, dir)
			if !p.Killed() {
				t.Fatal("the creator lives")
			}
			others := []*shmtest.Proc{shmtest.Start(t, "creator", nil, dir), shmtest.Start(t, "creator", nil, dir)}
			if a, b := others[0].Line(), others[1].Line(); a != b {
				t.Errorf("two buses: %s and %s", a, b)
			}
			sound(t, join(t, bus(t, dir), "heir"), 0)
		})
	}
}

func TestKilledRemoverOfABus(t *testing.T) {
	for _, point := range pointsOf("rm") {
		t.Run(point, func(t *testing.T) {
			dir := shmtest.Dir(t)
			old := bus(t, dir)
			p := shmtest.Start(t, "remover", []string{"RINGBUS_CRASH=" + point + ":1"}, dir)
			if !p.Killed() {
				t.Fatal("the remover lives")
			}
			_, statErr := os.Stat(filepath.Join(dir, "bus"))
			have, err := List(options(dir))
			if err != nil || (len(have) == 1) != (statErr == nil) || len(have) == 1 && have[0].Err != nil {
				t.Errorf("the file: %v, the list: %+v, %v", statErr, have, err)
			}
			n, err := old.Join("x")
			if (err == nil) != (statErr == nil) {
				t.Errorf("the file: %v, the join: %v", statErr, err)
			}
			if err == nil {
				sound(t, n, 0)
				if err := n.Leave(); err != nil {
					t.Error(err)
				}
			}
			sound(t, join(t, bus(t, dir), "y"), 0)
		})
	}
}

func TestKilledNodeAtEachStep(t *testing.T) {
	dir := shmtest.Dir(t)
	n := join(t, bus(t, dir), "survivor")
	for _, point := range pointsOf("join", "leave", "create", "remove", "free", "bury") {
		p := shmtest.Start(t, "maker", []string{"RINGBUS_CRASH=" + point + ":1"}, dir)
		p.Killed()
		if _, err := n.Recover(); err != nil {
			t.Fatal(err)
		}
		if a, err := n.Lookup(lane); err == nil {
			_ = a.Close()
			if err := n.Remove(lane); err != nil {
				t.Errorf("%s: %v", point, err)
			}
		}
		sound(t, n, 0)
		if t.Failed() {
			t.Fatalf("after death at %s", point)
		}
	}
}
