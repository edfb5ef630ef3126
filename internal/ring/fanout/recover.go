package fanout

import (
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// Recover ends everything that owner, who is dead by evidence, held in the
// topic. Each step is a CAS on a word that names the owner or its generation,
// so any number of recoverers may run it at once, and it may be cut short and
// run again: whoever marks the owner's node free must have run it whole.
// lane returns lane k or nil. evicted says that the only evidence is an
// operator's word, and the owner may still write late: what it wrote with
// plain stores is not given to others then. Recover returns how many
// subscribers and publishers it ended.
func (t *Topic) Recover(owner uint32, evicted bool, lane func(k int) *Lane, ring func(wake.Bell)) (subscribers, publishers int) {
	lanes := known(lane)
	for i := range MaxSlots {
		w := t.claims[i].Load()
		c := claim(w)
		if c.state() != claimHeld || c.owner() != owner {
			continue
		}
		for _, l := range lanes {
			l.expel(i, c.gen())
			invariant.Point("fanout.V2")
		}
		free := packClaim(claimFree, 0, 0, c.gen(), 0)
		if t.claims[i].CompareAndSwap(w, uint64(free)) { // V5
			subscribers++
		}
		invariant.Point("fanout.V5")
	}
	// Look again: in a lane that appeared meanwhile a publisher may have given
	// the dead a cursor, and sleep on it.
	for _, l := range known(lane) {
		ring(l.bell) // V4, whatever park says: the dead may have taken it and not rung
		invariant.Point("fanout.V4")
		if l.Bury(owner, evicted) {
			publishers++
		}
		invariant.Point("fanout.D1")
		if _, o := l.State(); o == owner {
			t.ringSlots(ring) // D2, whoever did D1
			invariant.Point("fanout.D2")
		}
	}
	return subscribers, publishers
}

// known lists the lanes that the topic's table names.
func known(lane func(k int) *Lane) []*Lane {
	var lanes []*Lane
	for k := range MaxLanes {
		if l := lane(k); l != nil {
			lanes = append(lanes, l)
		}
	}
	return lanes
}

// expel is V2: slot i's cursor of generation gen protects nothing any more.
func (l *Lane) expel(i int, gen uint64) {
	for {
		w := l.cursors[i].Load()
		c := cursor(w)
		if c.gen() != gen || c.state() == curOut {
			return
		}
		if l.cursors[i].CompareAndSwap(w, uint64(packCursor(curOut, gen, 0))) {
			return
		}
	}
}

// Bury is D1: if owner, who is dead by evidence, has the lane, it is dead too,
// or retired if the owner was evicted.
func (l *Lane) Bury(owner uint32, evicted bool) bool {
	state := LaneDead
	if evicted {
		state = LaneRetired
	}
	for {
		w := owned(l.owner.Load())
		if w.owner() != owner || w.state() != LaneOpen && w.state() != LaneOpening {
			return false
		}
		if l.owner.CompareAndSwap(uint64(w), uint64(packOwned(state, w.gen(), owner))) {
			return true
		}
	}
}
