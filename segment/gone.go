package segment

import (
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

var _ = invariant.Declare("segment.gone.burying", "segment.gone.proved")

// Gone is the word of whoever has seen a machine end, at whose doorbell peer was
// rung: the node in the slot, if it is one of another kernel and its door names
// that peer, is recovered at once. This is proof, as a lock is between processes,
// and unlike [Node.Evict]: the dead write no more, so that what they had is given
// back to all. Gone says whether no such node is in the slot any more; if not, ask
// again.
//
// The door is the node's own word: who names another machine's peer dies with that
// machine.
func (n *Node) Gone(slot int, peer uint16) bool {
	if slot < 0 || slot >= nodeCount {
		return true
	}
	if n.begin() != nil {
		return false
	}
	defer n.end()
	if !n.s.behind(slot, n.s.load(slot), peer) {
		return true
	}
	done := n.buryProved(slot, peer)
	if done {
		n.reap()
	}
	return done
}

// behind reports whether the node behind w is one of another kernel, alive or
// being buried by that same kernel, whose door names the peer.
func (s *Segment) behind(slot int, w word, peer uint16) bool {
	switch w.state() {
	case NodeLive:
	case NodeBurying:
		if w.tag() != tagOf(mem.U64(s.b, slotOff(slot)+nodeKernel).Load()) {
			return false // by a kernel that may live
		}
	default:
		return false
	}
	gen, door := untag(mem.U64(s.b, slotOff(slot)+nodeDoor).Load())
	return w.tag() != s.tag && gen == w.gen()&0xfff && door != 0 && door <= 1<<32 && uint16((door-1)>>16) == peer
}

func (n *Node) buryProved(slot int, peer uint16) bool {
	s := n.s
	n.burial.Lock()
	defer n.burial.Unlock()
	if got, err := n.locks.try(slot); !got || err != nil {
		return false
	}
	defer func() { _ = n.locks.unlock(slot) }()
	kernel := mem.U64(s.b, slotOff(slot)+nodeKernel)
	was := kernel.Load()
	w := s.load(slot)
	if !s.behind(slot, w, peer) {
		return true
	}
	ours := w.with(NodeBurying, s.tag)
	if !s.swap(slot, w, ours) {
		return false
	}
	invariant.Point("segment.gone.burying")
	// From here on the node counts as one of our kernel, whose death is proved. Who
	// dies before leaves one that counts as evicted: less is given back. If an
	// operator fences this burial, and the slot has a new owner, nothing is changed.
	kernel.CompareAndSwap(was, s.kernel)
	invariant.Point("segment.gone.proved")
	return s.bury(slot, ours, n.f, new(Report))
}
