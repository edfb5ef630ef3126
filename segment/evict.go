package segment

import (
	"errors"
	"fmt"

	"github.com/ringbus/ringbus/internal/mem"
)

// Evict is an operator's word that the node in the slot is gone for good, which
// for a node of another kernel is the only evidence there is: it is fenced and
// recovered. A node of this kernel whose lock is held is alive, and the refusal
// wraps [ErrInUse]: end its process instead.
func (n *Node) Evict(slot int) error {
	if slot < 0 || slot >= nodeCount {
		return fmt.Errorf("evict node %d: slots are 0 to %d", slot, nodeCount-1)
	}
	if err := n.begin(); err != nil {
		return fmt.Errorf("evict node %d: %w", slot, err)
	}
	defer n.end()
	for range stubborn {
		w := n.s.load(slot)
		switch {
		case w.state() == NodeFree:
			return nil
		case w.state() > NodeBurying:
			return fmt.Errorf("evict node %d: %w", slot, &FormatError{n.s.path, "state of node slot", fmt.Sprint(uint8(w.state())), "0 to 3"})
		case w.tag() == n.s.tag && w.state() != NodeFenced:
			if !n.recoverOwner(w.owner(slot)) {
				return fmt.Errorf("evict node %d (%q): %w: its process lives; end it instead", slot, n.s.nodeName(slot), ErrInUse)
			}
			return nil
		case w.state() == NodeFenced, n.s.swap(slot, w, w.with(NodeFenced, w.tag())):
			n.recoverOwner(w.owner(slot))
			return nil
		}
	}
	return fmt.Errorf("evict node %d: its word does not stand still", slot)
}

// EvictKernel is Evict of all nodes of a kernel other than ours: the virtual
// machine is gone for good. It returns how many there were.
func (n *Node) EvictKernel(kernel uint64) (int, error) {
	if kernel == n.s.kernel {
		return 0, fmt.Errorf("evict kernel %#x: %w: it is our own", kernel, ErrInUse)
	}
	count := 0
	var errs []error
	for slot := range nodeCount {
		w := n.s.load(slot)
		// The tag counts: a node that died right after its claim has no more of the id.
		if w.state() == NodeFree || w.tag() != tagOf(kernel) || w.tag() == n.s.tag {
			continue
		}
		if gen, _ := untag(n.s.beat(slot).Load()); gen == w.gen()&0xfff && mem.U64(n.s.b, slotOff(slot)+nodeKernel).Load() != kernel {
			continue // another kernel by the same tag
		}
		if err := n.Evict(slot); err != nil {
			errs = append(errs, err)
			continue
		}
		count++
	}
	return count, errors.Join(errs...)
}
