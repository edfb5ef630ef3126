package segment

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// bells is what ringers know of the nodes.
type bells struct{ *Segment }

// Far is wake.Nodes.Far.
func (b bells) Far(slot int, ring bool) bool {
	if slot < 0 || slot >= nodeCount {
		return false
	}
	w := b.load(slot)
	if w.state() != NodeLive || w.tag() == b.tag {
		return false
	}
	if ring {
		if d := b.doorbell.Load(); d != nil {
			if peer, vector, ok := b.DoorOf(slot); ok {
				(*d).Ring(peer, vector)
			}
		}
	}
	return true
}

// Local is wake.Nodes.Local.
func (b bells) Local(int) (*atomic.Uint32, bool) { return nil, !b.noFutex }

// home is what the sleepers of a node know besides.
type home struct {
	bells
	n *Node
}

// Home returns what the sleepers of this node must know.
func (n *Node) Home() wake.Home { return home{bells{n.s}, n} }

// Away is wake.Home.Away.
func (h home) Away() bool { return h.n.away.Load() }

// Covered is wake.Home.Covered.
func (h home) Covered() bool {
	d := h.doorbell.Load()
	return h.n.covered.Load() && d != nil && (*d).Up()
}

// Live is wake.Home.Live.
func (h home) Live() bool { return !h.n.Fenced() }

// Notify is wake.Home.Notify.
func (h home) Notify(key any, f func(alarm bool)) {
	h.hearers.Lock()
	defer h.hearers.Unlock()
	if f == nil {
		delete(h.hearers.of, key)
		return
	}
	if h.hearers.of == nil {
		h.hearers.of = make(map[any]func(alarm bool))
	}
	h.hearers.of[key] = f
}

// SetDoorbell says how to ring nodes of other kernels, or, with nil, that there is
// no way any more: then both sides find out by looking. It may be called at any
// time.
func (s *Segment) SetDoorbell(d wake.Doorbell) {
	if d == nil {
		s.doorbell.Store(nil)
	} else {
		s.doorbell.Store(&d)
	}
	s.tell(true)
}

// Awaken has everybody in this process who sleeps look for news. Whoever hears the
// doorbell calls it.
func (s *Segment) Awaken() { s.tell(false) }

// tell calls all who listen. alarm: not only those whose bell was rung.
func (s *Segment) tell(alarm bool) {
	s.hearers.Lock()
	all := slices.Collect(maps.Values(s.hearers.of))
	s.hearers.Unlock()
	for _, f := range all {
		f(alarm)
	}
}

// SetDoor tells nodes of other kernels which peer and vector of the doorbell is
// ours; not ok: none any more.
func (n *Node) SetDoor(peer, vector uint16, ok bool) {
	v := uint64(0)
	if ok {
		v = 1 + (uint64(peer)<<16 | uint64(vector))
	}
	door := mem.U64(n.s.b, slotOff(n.slot)+nodeDoor)
	for !n.Fenced() {
		was := door.Load()
		if gen, _ := untag(was); gen != n.word.gen()&0xfff || door.CompareAndSwap(was, tagged(gen, v)) {
			break
		}
	}
	n.door.Store(ok)
	n.survey()
}

// DoorOf returns which peer and vector of the doorbell rings the node in the slot.
func (s *Segment) DoorOf(slot int) (peer, vector uint16, ok bool) {
	if slot < 0 || slot >= nodeCount {
		return 0, 0, false
	}
	gen, v := untag(mem.U64(s.b, slotOff(slot)+nodeDoor).Load())
	w := s.load(slot)
	if w.state() != NodeLive || gen != w.gen()&0xfff || v == 0 || v > 1<<32 {
		return 0, 0, false
	}
	return uint16((v - 1) >> 16), uint16(v - 1), true
}

// survey looks whether nodes of other kernels are about, who are not silent, and
// whether they all ring our doorbell.
func (n *Node) survey() {
	s := n.s
	away, covered := s.noFutex, n.door.Load()
	for slot := range nodeCount {
		w := s.load(slot)
		if w.state() != NodeLive || w.tag() == s.tag || s.look(slot, w) == Suspect {
			continue
		}
		away = true
		if _, _, ok := s.DoorOf(slot); !ok {
			covered = false
		}
	}
	was := n.covered.Swap(covered)
	if !n.away.Swap(away) && away || was && !covered {
		s.tell(true) // who sleeps does not look by itself, or not often
	}
}
