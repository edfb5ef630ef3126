package fanout

import (
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// reclaim frees the retired descriptors that nobody holds. It comes after the
// full barrier of the publication that unlinked them (edge: pin): either we
// see a subscriber's hold word here, or the subscriber saw our stamp.
func (x *Tx) reclaim() {
	clear(x.held)
	mark := func(w, gen uint64) {
		if w != 0 && w>>32 == gen {
			if d := uint32(w) - 1; d < x.lane.count {
				x.held[d/64] |= 1 << (d % 64)
			}
		}
	}
	bitsOf(x.topic.slots.Load(), func(i int) {
		c, held := x.entitled(i)
		if c.state() == curOut {
			return
		}
		// The fence word first: it is replaced by hold words on the way back.
		if c.state() == curFenced {
			mark(x.lane.fences[i].Load(), c.gen())
		}
		for k := range held.records() {
			mark(x.lane.holds[i][k].Load(), c.gen())
		}
	})
	keep := x.retired[:0]
	for _, d := range x.retired {
		if x.held[d/64]&(1<<(d%64)) != 0 {
			keep = append(keep, d)
		} else {
			x.free = append(x.free, d)
		}
	}
	x.retired = keep
	invariant.Point("fanout.P1")
}

// entitled returns slot i's cursor and claim. A cursor without a claim of its
// generation (set on behalf of a subscriber that died meanwhile) is healed.
func (x *Tx) entitled(i int) (cursor, claim) {
	w := x.lane.cursors[i].Load()
	c := cursor(w)
	if c.state() == curOut {
		return c, 0
	}
	held := claim(x.topic.claims[i].Load()) // after the cursor: generations only grow
	if held.state() == claimHeld && held.gen() == c.gen() {
		return c, held
	}
	x.lane.cursors[i].CompareAndSwap(w, uint64(packCursor(curOut, c.gen(), 0)))
	invariant.Point("fanout.H1")
	return packCursor(curOut, c.gen(), 0), 0
}

// refresh is P3: announce how far we may go, then look how far we can. It
// returns whether n more positions may be published.
func (x *Tx) refresh(n uint64) bool {
	l := x.lane
	if x.Evicted() {
		x.allowed = x.head
		return false
	}
	if to := x.head + l.chunk; to != x.limit {
		x.limit = to
		// R1, edge: join (this store, then slots and cursors | cursor, then limit)
		l.limit.Store(to)
		invariant.Point("fanout.R1")
		l.bytes.Store(x.bytes)
	}
	allowed := x.limit
	bitsOf(x.topic.slots.Load(), func(i int) { // R2
		c := cursor(l.cursors[i].Load())
		if c.state() != curActive {
			return
		}
		// A cursor outside of [head-depth, head] belongs to a joiner that will
		// look again, or to nobody we need to trust.
		lag := x.head - c.pos(x.head)
		if lag == l.depth { // we would wait for it: only if it is still there
			if c, _ = x.entitled(i); c.state() != curActive {
				return
			}
			lag = x.head - c.pos(x.head)
		}
		if lag <= l.depth {
			allowed = min(allowed, x.head-lag+l.depth)
		}
	})
	invariant.Point("fanout.R2")
	x.allowed = allowed
	return x.head+n <= allowed
}

// Room looks whether a message can be published now.
func (x *Tx) Room() bool {
	if x.head >= x.allowed && !x.refresh(1) {
		return false
	}
	if x.lane.count > 0 && len(x.free) == 0 {
		x.reclaim()
		return len(x.free) > 0
	}
	return true
}

// Evicted reports whether the lane was taken from us: an operator evicted our
// node. A publisher looks once per chunk.
func (x *Tx) Evicted() bool { return owned(x.lane.owner.Load()) != x.word }

// Blocker is a subscriber that holds the publisher back.
type Blocker struct {
	Slot  int
	Owner uint32
	Lag   uint64 // messages
	word  uint64
}

// Blockers lists the subscribers for which x cannot publish. Claims that are
// no more are healed on the way, so the list may be empty: try again then.
func (x *Tx) Blockers() []Blocker {
	var out []Blocker
	bitsOf(x.topic.slots.Load(), func(i int) {
		w := x.lane.cursors[i].Load()
		c, held := x.entitled(i)
		if c.state() != curActive || uint64(c) != w {
			return
		}
		if lag := x.head - c.pos(x.head); lag == x.lane.depth {
			out = append(out, Blocker{Slot: i, Owner: held.owner(), Lag: lag, word: w})
		}
	})
	return out
}

// Fence stops b from holding x back. b's node is suspect: it may be alive and
// read the message at its cursor, whose descriptor stays pinned.
func (x *Tx) Fence(b Blocker) {
	c := cursor(b.word)
	d := uint32(noDescriptor)
	if len(x.desc) > 0 {
		d = x.desc[c.pos(x.head)&(x.lane.depth-1)]
	}
	if d == noDescriptor {
		x.lane.fences[b.Slot].Store(0)
	} else {
		x.lane.fences[b.Slot].Store(holdWord(c.gen(), d)) // F1
	}
	invariant.Point("fanout.F1")
	x.lane.cursors[b.Slot].CompareAndSwap(b.word, uint64(packCursor(curFenced, c.gen(), c.pos(x.head)))) // F2
	invariant.Point("fanout.F2")
}

// Park says that the publisher will sleep until its bell changes from the
// returned value. Look again after Park and before the sleep.
func (x *Tx) Park() (bell uint32) {
	bell = x.lane.bell.Word.Load() // K1
	// K2, edge: wake publisher (this store, then cursors | cursor, then park)
	x.lane.park.Store(1)
	invariant.Point("fanout.K2")
	return bell
}

// Unpark takes Park back.
func (x *Tx) Unpark() {
	x.lane.park.Store(0)
}

// CountBlocked counts one wait for room, for inspection.
func (x *Tx) CountBlocked() { x.lane.blocked.Add(1) }

// Bell returns the publisher's bell.
func (x *Tx) Bell() wake.Bell { return x.lane.bell }

// Ready counts the subscribers that have a place in this lane and whose owner
// is alive: until the dead are recovered they have one too.
func (x *Tx) Ready(alive func(owner uint32) bool) int {
	n := 0
	bitsOf(x.topic.slots.Load(), func(i int) {
		if c, held := x.entitled(i); c.state() != curOut && alive(held.owner()) {
			n++
		}
	})
	return n
}
