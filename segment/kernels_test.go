package segment

import (
	"errors"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
)

// kernels opens one bus as two kernels see it.
func kernels(t *testing.T) (host, guest *Segment) {
	t.Helper()
	b := mem.Alloc(minSize)
	open := func(id uint64) *Segment {
		s, err := FromBytes(b, &Options{Kernel: id, SuspectAfter: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	return open(1), open(2)
}

func TestNodeOfAnotherKernelIsOnlySuspect(t *testing.T) {
	host, guest := kernels(t)
	h, g := join(t, host, "host"), join(t, guest, "guest")
	create(t, g, lane, 1000)
	if st := h.Status(g.Owner()); st != Alive {
		t.Fatalf("the guest is %v", st)
	}
	g.Abandon()
	until(t, "suspect", func() bool { return h.Status(g.Owner()) == Suspect })
	if h.RecoverOwner(g.Owner()) {
		t.Fatal("a suspect was recovered")
	}
	if r, err := h.Recover(); err != nil || len(r.Dead) != 0 {
		t.Fatalf("recovered %+v, %v", r, err)
	}
	if err := h.Remove(lane); !errors.Is(err, ErrInUse) {
		t.Fatalf("a suspect's area: %v", err)
	}
	other := join(t, host, "another")
	if other.Owner().Slot() == g.Owner().Slot() {
		t.Fatal("a suspect's slot was used again")
	}
	if err := h.Evict(g.Owner().Slot()); err != nil {
		t.Fatal(err)
	}
	if st := h.Status(g.Owner()); st != Dead {
		t.Fatalf("the evicted guest is %v", st)
	}
	if err := h.Remove(lane); err != nil {
		t.Fatal(err)
	}
	sound(t, h, 0)
}

func TestSuspectThatBeatsIsAliveAgain(t *testing.T) {
	host, guest := kernels(t)
	h, g := join(t, host, "host"), join(t, guest, "guest")
	until(t, "suspect", func() bool { return h.Status(g.Owner()) == Suspect }) // 20 ms are fewer than a beat's 250
	until(t, "alive", func() bool { return h.Status(g.Owner()) == Alive })
}

func TestEvictedNodeIsToldAndHarmsNobody(t *testing.T) {
	host, guest := kernels(t)
	h, g := join(t, host, "host"), join(t, guest, "guest")
	area := create(t, g, lane, 1000)
	if err := h.Evict(g.Owner().Slot()); err != nil {
		t.Fatal(err)
	}
	if err := g.Err(); !errors.Is(err, ErrFenced) {
		t.Errorf("got %v", err)
	}
	if _, err := g.Lookup(lane); !errors.Is(err, ErrFenced) {
		t.Errorf("got %v", err)
	}
	if err := g.Remove(lane); !errors.Is(err, ErrFenced) {
		t.Errorf("got %v", err)
	}
	// The slot's next owner, whom the late one must not harm.
	next := join(t, host, "next")
	if next.Owner().Slot() != g.Owner().Slot() {
		t.Fatal("another slot was taken")
	}
	kept, err := next.Lookup(lane)
	if err != nil {
		t.Fatal(err)
	}
	if err := area.Close(); err != nil {
		t.Fatal(err)
	}
	g.throb()
	if !host.uses(next.Owner(), kept.Index()) {
		t.Error("the late node cleared the use bit of its slot's next owner")
	}
	if err := g.Leave(); !errors.Is(err, ErrFenced) {
		t.Errorf("got %v", err)
	}
	if next.Err() != nil || h.Status(next.Owner()) != Alive {
		t.Errorf("the next owner is %v, %v", h.Status(next.Owner()), next.Err())
	}
	sound(t, h, 1)
}

func TestLivingNodeOfOurKernelIsNotEvicted(t *testing.T) {
	s := memory(t, nil)
	a, b := join(t, s, "a"), join(t, s, "b")
	if err := a.Evict(b.Owner().Slot()); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v", err)
	}
	if err := b.Err(); err != nil {
		t.Error(err)
	}
	if err := a.Evict(256); err == nil {
		t.Error("slot 256 was evicted")
	}
	if err := a.Evict(200); err != nil {
		t.Errorf("a free slot: %v", err)
	}
}

// A recoverer of an evicted node may die on the way. Its kernel's other nodes
// go on at once; those of other kernels only after the operator's word.
func TestBurialBelongsToOneKernel(t *testing.T) {
	host, guest := kernels(t)
	h, g := join(t, host, "host"), join(t, guest, "guest")
	third := join(t, guest, "third")
	slot := third.Owner().Slot()
	third.Abandon()
	w := host.load(slot)
	host.word(slot).Store(uint64(w.with(NodeBurying, host.tag))) // a host node did so and died
	if g.RecoverOwner(third.Owner()) {
		t.Error("two kernels bury one node")
	}
	if err := g.Evict(slot); err != nil {
		t.Error(err)
	}
	if !g.RecoverOwner(third.Owner()) || !h.RecoverOwner(third.Owner()) {
		t.Error("the evicted node is not gone")
	}
	sound(t, h, 0)
}

// Who looks at a node that its own kernel buries knows as well that it writes no
// more; if another kernel does, there was only an operator's word.
func TestDeathIsProvedByTheKernelOfTheNode(t *testing.T) {
	host, guest := kernels(t)
	h, g := join(t, host, "host"), join(t, guest, "guest")
	for _, of := range []*Segment{host, guest} {
		corpse := join(t, of, "corpse")
		slot := corpse.Owner().Slot()
		corpse.Abandon()
		w := of.load(slot)
		for _, by := range []*Segment{host, guest} {
			host.word(slot).Store(uint64(w.with(NodeBurying, by.tag)))
			for _, n := range []*Node{h, g} {
				if st := n.Status(corpse.Owner()); st != Dead || n.Proved(corpse.Owner()) != (by == of) {
					t.Errorf("of kernel %d, buried by %d, seen by %d: %v, proved %v", of.kernel, by.kernel, n.s.kernel, st, n.Proved(corpse.Owner()))
				}
			}
		}
		host.word(slot).Store(uint64(w.with(NodeFenced, w.tag())))
		if h.Proved(corpse.Owner()) || g.Proved(corpse.Owner()) {
			t.Error("an operator's word is no proof")
		}
		if err := h.Evict(slot); err != nil {
			t.Error(err)
		}
		if h.Proved(corpse.Owner()) {
			t.Error("who is gone is not proved dead any more")
		}
	}
}

func TestAllNodesOfAKernelAreEvictedAtOnce(t *testing.T) {
	host, guest := kernels(t)
	h := join(t, host, "host")
	a, b := join(t, guest, "a"), join(t, guest, "b")
	create(t, a, lane, 1000)
	if n, err := h.EvictKernel(3); n != 0 || err != nil {
		t.Error(n, err)
	}
	if _, err := h.EvictKernel(1); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
	if n, err := h.EvictKernel(2); n != 2 || err != nil {
		t.Error(n, err)
	}
	for _, n := range []*Node{a, b} {
		if h.Status(n.Owner()) != Dead || !errors.Is(n.Err(), ErrFenced) {
			t.Errorf("%q is %v", n.Name(), h.Status(n.Owner()))
		}
	}
	if err := h.Remove(lane); err != nil {
		t.Error(err)
	}
	sound(t, h, 0)
}
