package cells

import (
	"fmt"
)

// Verify checks the ring's invariants (see the package comment) and returns
// what is wrong, in words. On a ring in use, what it sees may be under way.
func (r *Ring) Verify() []string {
	var out []string
	wrong := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	head := r.Published()
	low := nearest(r.low.Load(), head)
	if head-low > r.cells {
		wrong("low %d is not within %d cells below what is published, %d", low, r.cells, head)
		return out
	}
	starts := make(map[uint64]bool)
	last, known := uint64(0), false
	for p := low; p != head; {
		info, number := r.header(p)
		_, k, pad, ok := r.extent(info.Load(), p, head-p)
		if !ok {
			wrong("header of position %d is %#x", p, info.Load())
			break
		}
		n := number.Load()
		if known && n&^numberPad != last || pad != (n&numberPad != 0) {
			wrong("number of position %d is %d, want %d", p, n&^numberPad, last)
		}
		starts[p&posMask] = true
		if last, known = n&^numberPad+1, true; pad {
			last--
		}
		p += k
	}
	starts[head&posMask] = true
	if end := r.end.Load(); int(end&3) > EndDead {
		wrong("end %#x has an unknown state", end)
	}
	for i := range MaxSlots {
		r.verifySlot(i, head, low, starts, wrong)
	}
	for g := range r.groups {
		r.verifyGroup(g, head, wrong)
	}
	if len(out) > 0 && r.Published() != head {
		return nil // it moved while we looked
	}
	return out
}

func (r *Ring) verifySlot(i int, head, low uint64, starts map[uint64]bool, wrong func(string, ...any)) {
	c := claim(r.claims[i].Load())
	if c.state() > claimHeld || c.mode() > modeLeaving || c.state() == claimHeld && c.owner() == 0 {
		wrong("slot %d: claim %#x is not a claim", i, uint64(c))
		return
	}
	w := cursor(r.cursors[i].Load())
	if c.state() != claimHeld || w.gen() != c.gen() || w.state() != curHold || c.mode() != ModeHold {
		return
	}
	if at := nearest(w.pos(), head); int64(low-at) <= 0 && !starts[w.pos()] && claim(r.claims[i].Load()) == c && cursor(r.cursors[i].Load()) == w {
		wrong("slot %d: cursor at %d, which is no message's beginning between %d and %d", i, at, low, head)
	}
}

func (r *Ring) verifyGroup(g int, head uint64, wrong func(string, ...any)) {
	v := &r.groups[g]
	w := groupWord(v.self.Load())
	if w.state() != groupOpen {
		return
	}
	done := nearest(v.rdone.Load(), head)
	claims := nearest(v.rclaim.Load(), head)
	if head-claims > r.cells || claims-done > r.cells || head-done > r.cells {
		wrong("group %d: finished up to %d, claimed up to %d, published up to %d", g, done, claims, head)
	}
}

// State describes a ring, for inspection.
type State struct {
	Config   Config
	Messages uint64 // published so far
	Position uint64 // in cells, modulo 2^44
	Kept     uint64 // cells that are published and not overwritten
	Writer   uint32 // who has the token
	Retired  bool
	Ended    int    // EndClosed, EndDead, or 0
	Blocked  uint64 // times a writer had to wait for room
	Slots    []SlotState
	Groups   []GroupState
}

// SlotState describes a participant.
type SlotState struct {
	Slot   int
	Owner  uint32
	Mode   Mode
	Group  string
	Lag    uint64 // cells that a broadcast reader has not passed
	Lost   uint64 // messages
	Fenced bool
}

// GroupState describes a group.
type GroupState struct {
	Name       string
	Readers    int
	Unclaimed  uint64 // cells published and not claimed
	Unfinished uint64 // cells published and not finished
}

// Inspect describes the ring.
func (r *Ring) Inspect() State {
	w := r.pub.Load()
	head := pubPos(w)
	s := State{Config: r.config, Position: head, Blocked: r.blocked.Load(), Ended: r.Ended(head)}
	s.Writer, s.Retired = r.Writer()
	s.Kept = min(head-nearest(r.low.Load(), head), r.cells)
	_, number := r.header(head - 1)
	if n := number.Load(); n&numberPad != 0 {
		s.Messages = n &^ numberPad
	} else {
		s.Messages = n + 1
	}
	for i := range MaxSlots {
		c := claim(r.claims[i].Load())
		if c.state() != claimHeld {
			continue
		}
		st := SlotState{Slot: i, Owner: c.owner(), Mode: c.mode(), Lost: r.lost[i].Load()}
		if w := cursor(r.cursors[i].Load()); w.gen() == c.gen() && (c.mode() == ModeHold || c.mode() == ModeLapped) {
			st.Fenced = w.state() == curFenced
			st.Lag = (head - w.pos()) & posMask
		}
		if g := c.group(); c.mode() == ModeShared && g < len(r.groups) {
			st.Group = r.groups[g].called()
		}
		s.Slots = append(s.Slots, st)
	}
	for i := range r.groups {
		v := &r.groups[i]
		g := groupWord(v.self.Load())
		if g.state() != groupOpen {
			continue
		}
		s.Groups = append(s.Groups, GroupState{
			Name: v.called(), Readers: r.members(i, g.gen()),
			Unclaimed: (head - v.rclaim.Load()) & posMask, Unfinished: (head - v.rdone.Load()) & posMask,
		})
	}
	return s
}
