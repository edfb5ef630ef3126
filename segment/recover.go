package segment

import (
	"os"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

var _ = invariant.Declare("segment.bury.locked", "segment.bury.burying", "segment.bury.rings",
	"segment.bury.entries", "segment.bury.uses", "segment.bury.freed")

// A Report says what a recovery did.
type Report struct {
	Dead    []Owner // nodes whose slots were freed
	Entries int     // directory entries finished or undone
	Blocks  int     // blocks given back
	Lost    int     // entries that evicted nodes were at work on
}

// Recover looks at every node and recovers each dead one completely: what it
// had in rings, the areas that it was creating or removing, its uses, its
// slot. It also finishes entries whose owner's slot has moved on, and takes
// back blocks that name no area. It may be called at any time, by any number of nodes, and die at any step.
func (n *Node) Recover() (Report, error) {
	var r Report
	if err := n.begin(); err != nil {
		return r, err
	}
	defer n.end()
	for slot := range nodeCount {
		if w := n.s.load(slot); w.state() != NodeFree && slot != n.slot {
			n.recoverSlot(slot, &r)
		}
	}
	for i := range entryCount {
		n.adopt(i, &r)
	}
	n.reap()
	table := n.s.blockTable()
	for b := range table {
		if table[b].Load() != 0 && n.s.free(&table[b]) {
			r.Blocks++
		}
	}
	return r, nil
}

// RecoverOwner recovers o if there is evidence that it is dead, and says
// whether it is gone.
//
// If somebody else is at it, or holds the lock of o's slot for another reason,
// RecoverOwner takes only what o had in the rings, which any number may do at
// once: nobody waits for a recoverer that is stopped.
func (n *Node) RecoverOwner(o Owner) bool {
	if n.begin() != nil {
		return false
	}
	defer n.end()
	if n.recoverOwner(o) {
		return true
	}
	if o != n.owner && n.Status(o) == Dead {
		n.s.sweepRings(o)
	}
	return false
}

func (n *Node) recoverOwner(o Owner) bool {
	w := n.s.load(o.Slot())
	if w.state() == NodeFree || w.owner(o.Slot()) != o {
		return true
	}
	if o == n.owner {
		return false
	}
	n.recoverSlot(o.Slot(), new(Report))
	w = n.s.load(o.Slot())
	return w.state() == NodeFree || w.owner(o.Slot()) != o
}

// recoverSlot recovers whoever was in the slot, if it is dead by evidence and
// nobody else does so, and then what nobody has open any more.
func (n *Node) recoverSlot(slot int, r *Report) {
	if n.burySlot(slot, r) {
		n.reap()
	}
}

func (n *Node) burySlot(slot int, r *Report) bool {
	w := n.s.load(slot)
	if slot == n.slot || !n.s.mayBury(w) {
		return false
	}
	n.burial.Lock() // our lock holder locks twice without noticing
	defer n.burial.Unlock()
	if got, err := n.locks.try(slot); !got || err != nil {
		return false
	}
	invariant.Point("segment.bury.locked")
	// Under the lock the word changes through a remote kernel only.
	done := n.s.bury(slot, n.s.load(slot), n.f, r)
	_ = n.locks.unlock(slot)
	return done
}

// mayBury says whether the node behind w is one of our kernel, whose death a
// lock proves, or one that was fenced.
func (s *Segment) mayBury(w word) bool {
	switch w.state() {
	case NodeLive, NodeBurying:
		return w.tag() == s.tag
	case NodeFenced:
		return true
	}
	return false
}

// bury cleans up behind the node in the slot and frees the slot. The caller
// holds the slot's lock byte; w is the slot's word. f serves to give pages
// back; it is nil over given memory. bury says whether the slot is free now.
//
// Every step may be repeated, and the caller may die between any two: the
// slot says BURYING until the last one is done.
func (s *Segment) bury(slot int, w word, f *os.File, r *Report) bool {
	if !s.mayBury(w) {
		return false
	}
	if b := w.with(NodeBurying, s.tag); b != w {
		if !s.swap(slot, w, b) {
			return false
		}
		w = b
	}
	o := w.owner(slot)
	invariant.Point("segment.bury.burying")
	s.sweepRings(o)
	invariant.Point("segment.bury.rings")
	evicted := s.evicted(o) // no lock proves its death
	for i := range entryCount {
		s.undo(i, o, f, evicted, r)
	}
	invariant.Point("segment.bury.entries")
	s.dropUses(slot, w.gen())
	invariant.Point("segment.bury.uses")
	if !s.swap(slot, w, w.with(NodeFree, 0)) {
		return false // an operator fenced our burial
	}
	invariant.Point("segment.bury.freed")
	r.Dead = append(r.Dead, o)
	s.ring(slot)
	return true
}

// ring wakes whoever may sleep on the slot's doorbell word and polls it; a
// sleeper on a futex was the dead node itself.
func (s *Segment) ring(slot int) { s.BellOf(slot).Add(1) }

// dropUses clears the uses that carry the generation, and the generation with
// them: a node that was evicted cannot add to them any more.
func (s *Segment) dropUses(slot int, gen uint32) {
	uses := mem.U64s(s.b, slotOff(slot)+nodeUses, useWords)
	for i := range uses {
		v := uses[i].Load()
		if g, _ := untag(v); g == gen&0xfff {
			uses[i].CompareAndSwap(v, 0)
		}
	}
}

// stubborn bounds loops that end after a few rounds unless a peer changes a
// word for ever only to keep us busy.
const stubborn = 1000

// undo finishes or undoes what owner o was doing to entry i. The caller holds
// o's slot. If o was evicted it may wake up and write into the entry and its
// blocks, or give their pages back: both are lost then, and never used again.
func (s *Segment) undo(i int, o Owner, f *os.File, evicted bool, r *Report) {
	for range stubborn {
		e := s.entry(i)
		if e.owner() != o || e.state() == EntryFree || e.state() > EntryFreeing { // LOST stays
			return
		}
		st := e.state()
		if evicted && (st == EntryPending || st == EntryClaimed || st == EntryFreeing) {
			if s.turnEntry(i, e, e.with(EntryLost, o)) {
				r.Lost++
				return
			}
			continue
		}
		switch st {
		case EntryPending: // a helper may claim it meanwhile: look again
			if s.turnEntry(i, e, e.with(EntryFree, Nobody)) {
				r.Entries++
				return
			}
		case EntryReady: // no owner belongs there
			s.turnEntry(i, e, e.with(EntryReady, Nobody))
			return
		case EntryRemoving:
			if s.turnEntry(i, e, e.with(EntryReady, Nobody)) {
				r.Entries++
			}
			return
		case EntryClaimed:
			s.turnEntry(i, e, e.with(EntryFreeing, o))
		case EntryFreeing:
			r.Blocks += s.freeEntry(i, e, f)
			r.Entries++
			return
		}
	}
}

// adopt ends entry i's state if its owner's slot is free or has moved on. Only
// a node that was evicted and acted late leaves such an entry, or a peer that
// wrote garbage; the late one may go on, so what it was at work on is lost.
func (n *Node) adopt(i int, r *Report) {
	s := n.s
	e := s.entry(i)
	o := e.owner()
	if w := s.load(o.Slot()); o != Nobody && w.state() != NodeFree && w.owner(o.Slot()) == o {
		return
	}
	switch e.state() {
	case EntryPending, EntryClaimed, EntryFreeing:
		if s.turnEntry(i, e, e.with(EntryLost, o)) {
			r.Lost++
		}
	case EntryRemoving:
		if s.turnEntry(i, e, e.with(EntryReady, Nobody)) {
			r.Entries++
		}
	}
}
