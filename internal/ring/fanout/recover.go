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
	for i := range MaxSlots {
		c := claim(t.claims[i].Load())
		if c.state() != claimFree && c.owner() == owner &&
			t.release(i, c.with(claimHeld), lane, ring, [4]string{"fanout.V1", "fanout.V2", "fanout.V4", "fanout.V5"}) {
			subscribers++
		}
	}
	for _, l := range known(lane) {
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
