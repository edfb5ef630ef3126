package segment

import (
	"errors"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/shmtest"
)

// until waits for a condition that must come true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(shmtest.Deadline); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func TestKilledNodeIsRecoveredByTheOthers(t *testing.T) {
	dir := shmtest.Dir(t)
	n := join(t, bus(t, dir), "survivor")
	p := shmtest.Start(t, "node", nil, dir, "topic")
	o := ownerOf(t, p.Line())
	if st := n.Status(o); st != Alive {
		t.Fatalf("the node is %v", st)
	}
	p.Stop()
	if st := n.Status(o); st != Alive || n.RecoverOwner(o) {
		t.Fatalf("the stopped node is %v", st)
	}
	p.Continue()
	key := Key{KindTopic, 0, "topic"}
	if err := n.Remove(key); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v", err)
	}
	p.Kill()
	if st := n.Status(o); st != Dead {
		t.Fatalf("the killed node is %v", st)
	}
	// Nobody asks for it: the survivor's goroutine does it.
	until(t, "recovered", func() bool { return n.s.load(o.Slot()).state() == NodeFree })
	sound(t, n, 1)
	if err := n.Remove(key); err != nil {
		t.Fatal(err)
	}
	sound(t, n, 0)
}

func TestDeadUserDoesNotHinderRemoval(t *testing.T) {
	s := memory(t, nil)
	a, b := join(t, s, "a"), join(t, s, "b")
	create(t, a, lane, 1000)
	a.Abandon()
	if err := b.Remove(lane); err != nil {
		t.Fatal(err)
	}
	if !b.RecoverOwner(a.Owner()) || b.Status(a.Owner()) != Dead {
		t.Error("the dead node is still there")
	}
	sound(t, b, 0)
}

func TestWhoJoinsRecoversTheDead(t *testing.T) {
	s := memory(t, nil)
	for _, n := range []*Node{join(t, s, "a"), join(t, s, "b"), join(t, s, "c")} {
		n.Abandon()
	}
	n := join(t, s, "d")
	if have := s.Nodes(); len(have) != 1 || have[0].Owner != n.Owner() {
		t.Errorf("nodes are %+v", have)
	}
}

func TestLeaveCleansUp(t *testing.T) {
	s := memory(t, nil)
	a, b := join(t, s, "a"), join(t, s, "b")
	area := create(t, a, lane, 1000)
	if err := a.Leave(); err != nil {
		t.Fatal(err)
	}
	if err := area.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Leave(); err != nil {
		t.Errorf("leaving twice: %v", err)
	}
	if a.Err() == nil || errors.Is(a.Err(), ErrFenced) {
		t.Errorf("got %v", a.Err())
	}
	if _, err := a.Lookup(lane); err == nil {
		t.Error("a node that left can look up")
	}
	if err := b.Remove(lane); err != nil {
		t.Error(err)
	}
	sound(t, b, 0)
}

func TestSlotsRunOutInWordsAndAreUsedAgain(t *testing.T) {
	s := memory(t, nil)
	var nodes []*Node
	for range nodeCount {
		n, err := s.Join("x")
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	if _, err := s.Join("x"); !errors.Is(err, ErrNoSlot) {
		t.Fatalf("got %v", err)
	}
	for _, n := range nodes[1:] {
		n.Abandon()
	}
	fresh, err := s.Join("y")
	if err != nil {
		t.Fatal(err)
	}
	r, err := fresh.Recover()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("recovered %d", len(r.Dead))
	if have := len(s.Nodes()); have != 2 {
		t.Errorf("%d nodes, want 2", have)
	}
	if err := errors.Join(fresh.Leave(), nodes[0].Leave()); err != nil {
		t.Error(err)
	}
}

func TestOwnerIsNotTheSameInTheNextLife(t *testing.T) {
	s := memory(t, nil)
	seen := make(map[Owner]bool)
	for range 50 {
		n, err := s.Join("x")
		if err != nil {
			t.Fatal(err)
		}
		if seen[n.Owner()] || n.Owner() == Nobody {
			t.Fatalf("owner %v twice", n.Owner())
		}
		seen[n.Owner()] = true
		if err := n.Leave(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProcessIsWatchedForItsEnd(t *testing.T) {
	dir := shmtest.Dir(t)
	n := join(t, bus(t, dir), "survivor")
	p := shmtest.Start(t, "node", nil, dir)
	o := ownerOf(t, p.Line())
	watches := func() int {
		n.watch.Lock()
		defer n.watch.Unlock()
		return len(n.watch.of)
	}
	until(t, "watched", func() bool { return watches() == 1 })
	// A node that leaves while its process may go on is not watched any more.
	p.Success()
	until(t, "not watched", func() bool { return watches() == 0 })
	if n.s.load(o.Slot()).state() != NodeFree {
		t.Error("its slot is not free")
	}
}
