package cells

import (
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// Recover ends everything that owner, who is dead by evidence, had in the ring.
// Each step is a CAS on a word that names the owner, so any number of
// recoverers may run it at once, and it may be cut short and run again: whoever
// marks the owner's node free must have run it whole. evicted says that the only
// evidence is an operator's word, and the owner may still write late: what it
// could write into with plain stores is never given to others then.
func (r *Ring) Recover(owner uint32, evicted bool, ring func(wake.Bell)) {
	r.dropRights(owner, evicted)
	r.dropMaker(owner, evicted)
	for i := range MaxSlots {
		c := claim(r.claims[i].Load())
		if c.state() != claimHeld || c.owner() != owner {
			continue
		}
		r.expel(i, c)
	}
	if evicted {
		// Again: what a zombie takes from here on it gives back, because it looks
		// at its slot after it has taken something.
		r.dropRights(owner, evicted)
	}
	r.ringSlots(ring) // V6, whatever the masks say: the dead may have taken them and not rung
	invariant.Point("cells.V6")
}

// dropRights is V2 and V3: the token and all claims.
func (r *Ring) dropRights(owner uint32, evicted bool) {
	r.dropToken(owner, evicted)
	for i := range r.groups {
		v := &r.groups[i]
		r.handBack(v, owner)
		r.dropMaking(v, owner, evicted)
		v.returned.Add(1) // V3b, whoever handed back: it may have died before it said so
		invariant.Point("cells.V3b")
	}
}

// dropToken is V2: the token is nobody's.
func (r *Ring) dropToken(owner uint32, evicted bool) {
	for range patience {
		w := r.pub.Load()
		if pubOwner(w) != owner {
			return
		}
		next := packPub(pubPos(w), 0)
		if evicted {
			next = packPub(pubPos(w), retired)
		}
		if r.pub.CompareAndSwap(w, next) { // V2
			invariant.Point("cells.V2")
			return
		}
	}
}

// expel is V5: slot i, of claim c, counts no more, and is free.
func (r *Ring) expel(i int, c claim) {
	switch c.mode() {
	case ModeWriter, modeLeaving:
		leaving := c.with(modeLeaving)
		r.claims[i].CompareAndSwap(uint64(c), uint64(leaving)) // V5a
		invariant.Point("cells.V5a")
		c = leaving
		r.markEnd(EndDead)
	case ModeHold:
		r.gone.Or(GoneDead)
	}
	if !r.putOut(i, c) {
		return // the next who recovers
	}
	r.claims[i].CompareAndSwap(uint64(c), uint64(packClaim(claimFree, 0, 0, 0, c.gen(), 0))) // V5
	invariant.Point("cells.V5")
}

// putOut is V5b: the cursor goes before the claim does, so that a zombie knows
// that it is not protected. It may be about to store its first one, which fails
// then, or be moving it just now; not for ever, unless it is out for that.
func (r *Ring) putOut(i int, c claim) bool {
	for range 1 << 16 {
		w := cursor(r.cursors[i].Load())
		if w.gen() == c.gen() && w.state() == curOut || (w.gen()-c.gen()-1)&genMask < genMask/2 {
			return true // another one did it, and the slot may have its next owner
		}
		if r.cursors[i].CompareAndSwap(uint64(w), uint64(packCursor(curOut, c.gen(), 0))) { // V5b
			invariant.Point("cells.V5b")
			return true
		}
	}
	return false
}

// handBack is V3: what owner has claimed is to be claimed again.
func (r *Ring) handBack(v *groupView, owner uint32) (n int) {
	for i := range v.claims {
		c := claimed(v.claims[i].Load())
		if c.owner() == owner && c.open() &&
			v.claims[i].CompareAndSwap(uint64(c), uint64(c&^ownerMask&^(3<<20)|stAgain<<20)) {
			invariant.Point("cells.V3")
			n++
		}
	}
	return n
}

// dropMaker frees the maker's word. First its counter grows, so that a zombie that
// has just claimed a group's entry finds out; one that has found nothing is seen
// to be making, or has made the group, before another node may make one of that
// name.
func (r *Ring) dropMaker(owner uint32, evicted bool) {
	for range patience {
		m := r.maker.Load()
		if uint32(m)&ownerMask != owner {
			return
		}
		next := m + 1<<20
		if !r.maker.CompareAndSwap(m, next) { // V4a
			continue
		}
		invariant.Point("cells.V4a")
		for i := range r.groups {
			r.dropMaking(&r.groups[i], owner, evicted)
		}
		if r.maker.CompareAndSwap(next, next&^ownerMask) { // V4
			invariant.Point("cells.V4")
			return
		}
	}
}

// dropMaking frees the group that owner was making, or retires it.
func (r *Ring) dropMaking(v *groupView, owner uint32, evicted bool) {
	g := groupWord(v.self.Load())
	if g.state() != groupMaking || g.maker() != owner {
		return
	}
	state := groupFree
	if evicted {
		state = groupRetired
	}
	v.self.CompareAndSwap(uint64(g), uint64(packGroup(state, g.gen(), 0, 0))) // V3a
	invariant.Point("cells.V3a")
}

// HandBack has what owner claimed in the group claimed again: owner is suspect,
// and may find out when it finishes.
func (x *Shared) HandBack(owner uint32) {
	if x.ring.handBack(x.view, owner) > 0 {
		x.view.returned.Add(1)
		x.ring.wake(x.ring.read, x.bell, "cells.P4")
	}
}
