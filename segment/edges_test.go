//go:build invariants || race

package segment

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/shmtest"
)

// heldAt starts f and returns when it has come to the point, where it stays
// until resume is called; resume returns when f has. Only one f may be held at
// a time.
func heldAt(t *testing.T, point string, f func()) (resume func()) {
	t.Helper()
	there, let, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	set := make(chan struct{})
	go func() {
		defer close(done)
		self, first := goroutine(), true
		invariant.SetHook(func(name string) {
			if name == point && goroutine() == self && first {
				first = false
				close(there)
				<-let
			}
		})
		close(set)
		f()
	}()
	<-set
	select {
	case <-there:
	case <-done:
		t.Fatalf("%s was not passed", point)
	}
	return func() {
		invariant.SetHook(nil)
		close(let)
		<-done
	}
}

// Each test holds one party in the middle of an edge of the package comment,
// and lets the other one run into it.

func TestCreatorThatHasTheTurnHasTheKey(t *testing.T) {
	s := memory(t, nil)
	a, b := join(t, s, "a"), join(t, s, "b")
	var first *Area
	resume := heldAt(t, "segment.create.turn", func() {
		first, _, _ = a.Create(t.Context(), lane, 1000, nil)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, created, err := b.Create(ctx, lane, 1000, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("created %v, %v", created, err)
	}
	resume()
	second, created, err := b.Create(t.Context(), lane, 1000, nil)
	if err != nil || created || first == nil || second.Index() != first.Index() {
		t.Errorf("created %v, %v", created, err)
	}
	sound(t, b, 1)
}

func TestCreatorWhoseTurnHasPassedLooksAgain(t *testing.T) {
	for _, point := range []string{"segment.create.pending", "segment.create.written"} {
		s := memory(t, nil)
		a, b := join(t, s, "a"), join(t, s, "b")
		var first *Area
		var created bool
		resume := heldAt(t, point, func() { first, created, _ = a.Create(t.Context(), lane, 1000, nil) })
		second := create(t, b, lane, 1000)
		resume()
		if created || first == nil || first.Index() != second.Index() {
			t.Errorf("held at %s: it has made another", point)
		}
		sound(t, b, 1)
	}
}

func TestRemoverSeesWhoIsOpening(t *testing.T) {
	s := memory(t, nil)
	a, b := join(t, s, "a"), join(t, s, "b")
	if err := create(t, a, lane, 1000).Close(); err != nil {
		t.Fatal(err)
	}
	var got *Area
	resume := heldAt(t, "segment.open.held", func() { got, _ = b.Lookup(lane) })
	if err := a.Remove(lane); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v", err)
	}
	resume()
	if got == nil {
		t.Fatal("it was not opened")
	}
	if err := a.Remove(lane); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v", err)
	}
	sound(t, a, 1)
}

func TestOpenerLooksAgainAtWhatItFound(t *testing.T) {
	s := memory(t, nil)
	a, b := join(t, s, "a"), join(t, s, "b")
	if err := create(t, a, lane, 1000).Close(); err != nil {
		t.Fatal(err)
	}
	var got *Area
	var err error
	resume := heldAt(t, "segment.open.found", func() { got, err = b.Lookup(lane) })
	if err := a.Remove(lane); err != nil {
		t.Fatal(err)
	}
	other := create(t, a, Key{KindTopic, 0, "other"}, 1000) // in the very same entry
	resume()
	if got != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it opened %+v (%v), where %+v is", got, err, other)
	}
	if s.uses(b.Owner(), other.Index()) {
		t.Error("its use bit stayed")
	}
}

func TestCreatorThatIsEvictedOnTheWayLeavesNothing(t *testing.T) {
	for _, point := range pointsOf("create") {
		host, guest := kernels(t)
		h, g := join(t, host, "host"), join(t, guest, "guest")
		var err error
		resume := heldAt(t, point, func() { _, _, err = g.Create(t.Context(), lane, 3*minBlock, nil) })
		if err := h.Evict(g.Owner().Slot()); err != nil {
			t.Fatal(err)
		}
		next := create(t, h, Key{KindTopic, 0, "next"}, 1000) // where it was at work
		copy(next.Bytes(), "kept")
		resume()
		if string(next.Bytes()[:4]) != "kept" {
			t.Errorf("held at %s: it wrote into another area", point)
		}
		if point != "segment.create.ready" && !errors.Is(err, ErrFenced) {
			t.Errorf("held at %s: %v", point, err)
		}
		if err := next.Close(); err != nil {
			t.Error(err)
		}
		sound(t, h, -1)
		if a, err := h.Lookup(next.Key()); err != nil || a.Offset() != next.Offset() {
			t.Errorf("the other area was moved: %v", err)
		}
		if t.Failed() {
			t.Fatalf("held at %s", point)
		}
	}
}

func TestOneRecovererAtATime(t *testing.T) {
	s := memory(t, nil)
	a, b, dead := join(t, s, "a"), join(t, s, "b"), join(t, s, "dead")
	dead.Abandon()
	resume := heldAt(t, "segment.bury.burying", func() { a.RecoverOwner(dead.Owner()) })
	if b.RecoverOwner(dead.Owner()) || b.Status(dead.Owner()) != Dead {
		t.Error("two recover one node")
	}
	if a.burial.TryLock() { // our own lock holder would not keep us out
		t.Error("one node may recover it twice")
	}
	resume()
	if !b.RecoverOwner(dead.Owner()) {
		t.Error("it was not recovered")
	}
}

func TestNobodyOpensWhatIsBeingRemoved(t *testing.T) {
	for _, point := range []string{"segment.remove.removing", "segment.remove.freeing"} {
		s := memory(t, nil)
		a, b := join(t, s, "a"), join(t, s, "b")
		if err := create(t, a, lane, 1000).Close(); err != nil {
			t.Fatal(err)
		}
		resume := heldAt(t, point, func() { _ = a.Remove(lane) })
		if _, err := b.Lookup(lane); err == nil {
			t.Errorf("held at %s: it could be opened", point)
		}
		resume()
		sound(t, a, 0)
	}
}

func TestWhoIsJoiningIsAlive(t *testing.T) {
	for _, point := range []string{"segment.join.live", "segment.join.fields"} {
		s := memory(t, nil)
		n := join(t, s, "a")
		var late *Node
		resume := heldAt(t, point, func() { late, _ = s.Join("late") })
		if r, err := n.Recover(); err != nil || len(r.Dead) != 0 {
			t.Errorf("held at %s: recovered %+v, %v", point, r, err)
		}
		resume()
		if late == nil || late.Err() != nil {
			t.Fatalf("held at %s: it has not joined", point)
		}
		if err := late.Leave(); err != nil {
			t.Error(err)
		}
	}
}

func TestBusRemoverSeesWhoIsJoining(t *testing.T) {
	for _, point := range []string{"segment.join.locked", "segment.join.live", "segment.join.fields"} {
		dir := shmtest.Dir(t)
		s := bus(t, dir)
		var n *Node
		resume := heldAt(t, point, func() { n, _ = s.Join("late") })
		if err := Remove("bus", options(dir)); !errors.Is(err, ErrInUse) {
			t.Errorf("held at %s: %v", point, err)
		}
		resume()
		if n == nil {
			t.Fatalf("held at %s: it has not joined", point)
		}
		if err := n.Leave(); err != nil {
			t.Error(err)
		}
	}
}

func TestNobodyJoinsABusThatIsBeingRemoved(t *testing.T) {
	dir := shmtest.Dir(t)
	s := bus(t, dir)
	var err error
	resume := heldAt(t, "segment.rm.removing", func() { err = Remove("bus", options(dir)) })
	joined := make(chan error)
	go func() {
		n, jerr := s.Join("late")
		if jerr == nil {
			_ = n.Leave()
		}
		joined <- jerr
	}()
	until(t, "the joiner has its slot", func() bool { return len(s.Nodes()) == 1 })
	resume()
	jerr := <-joined
	// One sees the other: either the bus is gone for the joiner, or it stays.
	if (err == nil) != errors.Is(jerr, ErrRemoved) {
		t.Errorf("removal: %v; join: %v", err, jerr)
	}
}
