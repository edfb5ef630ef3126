package segment

import (
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
)

func TestGoneIsProofForTheNodesOfThatPeerOnly(t *testing.T) {
	host, guest := kernels(t)
	h, g, other, mute := join(t, host, "host"), join(t, guest, "guest"), join(t, guest, "other"), join(t, guest, "mute")
	g.SetDoor(7, 1, true)
	other.SetDoor(8, 0, true)
	h.SetDoor(7, 0, true) // of our own kernel: a lock tells
	g.Abandon()
	for slot := range nodeCount {
		if !h.Gone(slot, 9) {
			t.Errorf("slot %d has a node of peer 9", slot)
		}
	}
	if st := h.Status(g.Owner()); st == Dead {
		t.Fatal("the guest died with another peer")
	}
	for slot := -1; slot <= nodeCount; slot++ {
		if !h.Gone(slot, 7) {
			t.Errorf("slot %d still has a node of peer 7", slot)
		}
	}
	if st := h.Status(g.Owner()); st != Dead || h.Proved(g.Owner()) {
		t.Errorf("the dead guest is %v", st)
	}
	if w := host.load(g.Owner().Slot()); w.state() != NodeFree {
		t.Errorf("its slot is %v", w.state())
	}
	for _, n := range []*Node{h, other, mute} {
		if err := n.Err(); err != nil {
			t.Errorf("%s: %v", n.Name(), err)
		}
	}
	sound(t, h, 0)
}

// What an evicted node was at work on is lost, because it may write into it; what
// one was at work on that is gone is given back.
func TestGoneGivesBackWhatEvictionLoses(t *testing.T) {
	for _, proof := range []bool{true, false} {
		host, guest := kernels(t)
		h, g := join(t, host, "host"), join(t, guest, "guest")
		g.SetDoor(7, 0, true)
		a := create(t, g, lane, 1000)
		i := a.Index()
		e := host.entry(i)
		if !host.turnEntry(i, e, e.with(EntryFreeing, g.Owner())) {
			t.Fatal("the entry moves")
		}
		g.Abandon()
		if proof && !h.Gone(g.Owner().Slot(), 7) {
			t.Fatal("it is not gone")
		}
		if !proof {
			if err := h.Evict(g.Owner().Slot()); err != nil {
				t.Fatal(err)
			}
		}
		want := EntryLost
		if proof {
			want = EntryFree
		}
		if st := host.entry(i).state(); st != want {
			t.Errorf("proof %v: the entry is %v, want %v", proof, st, want)
		}
	}
}

// The one who has proof may die over it; the others of its kernel go on.
func TestDeathOverOneWhoIsGone(t *testing.T) {
	for name, kernel := range map[string]uint64{"before it is proved": 2, "after": 1} {
		t.Run(name, func(t *testing.T) {
			host, guest := kernels(t)
			h, g := join(t, host, "host"), join(t, guest, "guest")
			create(t, g, lane, 1000)
			g.SetDoor(7, 0, true)
			g.Abandon()
			slot := g.Owner().Slot()
			host.word(slot).Store(uint64(host.load(slot).with(NodeBurying, host.tag)))
			mem.U64(host.b, slotOff(slot)+nodeKernel).Store(kernel)
			if h.Proved(g.Owner()) != (kernel == 1) {
				t.Errorf("proved is %v", !(kernel == 1))
			}
			if !h.RecoverOwner(g.Owner()) {
				t.Fatal("nobody goes on")
			}
			if err := h.Remove(lane); err != nil {
				t.Error(err)
			}
			sound(t, h, 0)
		})
	}
}

// A node of the machine was burying another one when the machine ended. A third
// kernel's burial is left to that kernel.
func TestGoneTakesABurialOverFromTheDeadOnly(t *testing.T) {
	host, guest := kernels(t)
	h, g := join(t, host, "host"), join(t, guest, "guest")
	g.SetDoor(7, 0, true)
	g.Abandon()
	slot := g.Owner().Slot()
	w := host.load(slot)
	host.word(slot).Store(uint64(w.with(NodeBurying, tagOf(3))))
	if !h.Gone(slot, 7) || host.load(slot).state() != NodeBurying {
		t.Error("the burial of a kernel that may live was taken over")
	}
	host.word(slot).Store(uint64(w.with(NodeBurying, guest.tag)))
	if !h.Gone(slot, 7) || host.load(slot).state() != NodeFree {
		t.Error("the burial of the dead was not taken over")
	}
}
