package segment

import (
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/mem"
)

// useWord returns the word and the bit that say whether the node in the slot
// has entry i open.
func (s *Segment) useWord(slot, i int) (*atomic.Uint64, uint64) {
	return mem.U64(s.b, slotOff(slot)+nodeUses+8*(i/useBits)), 1 << (i % useBits)
}

// uses says whether node o has entry i open.
func (s *Segment) uses(o Owner, i int) bool {
	w, bit := s.useWord(o.Slot(), i)
	gen, bits := untag(w.Load())
	return gen == o.Generation() && bits&bit != 0
}

// used says whether any node has entry i open, a dead one included.
func (s *Segment) used(i int) bool {
	for slot := range nodeCount {
		if w := s.load(slot); w.state() != NodeFree && s.uses(w.owner(slot), i) {
			return true
		}
	}
	return false
}

// hold notes one more opening of entry i by this node.
func (n *Node) hold(i int) error {
	n.uses.Lock()
	defer n.uses.Unlock()
	if n.uses.count[i] == 0 && !n.setUse(i, true) {
		return ErrFenced
	}
	n.uses.count[i]++
	return nil
}

// drop notes one opening of entry i less.
func (n *Node) drop(i int) {
	n.uses.Lock()
	defer n.uses.Unlock()
	if n.uses.count[i]--; n.uses.count[i] == 0 {
		n.setUse(i, false)
	}
}

// setUse sets or clears our use bit of entry i. It says no if the word is not
// ours any more.
func (n *Node) setUse(i int, on bool) bool {
	w, bit := n.s.useWord(n.slot, i)
	for {
		v := w.Load()
		if gen, _ := untag(v); gen != n.word.gen()&0xfff {
			return false
		}
		to := v &^ bit
		if on {
			to = v | bit
		}
		if w.CompareAndSwap(v, to) { // edge: use (a full barrier)
			return true
		}
	}
}
