package cells

import (
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// refresh is R1 to R4: it raises low as far as k more cells need, but never
// above what somebody holds, then looks what is allowed. It returns whether
// there is room for k cells.
func (x *Tx) refresh(k uint64) bool {
	r := x.ring
	if x.Lost() {
		x.word = 0
		return false
	}
	if x.word == 0 {
		return false
	}
	least := x.least() // R1
	to := x.low
	if target := x.head + max(k, r.chunk) - r.cells; int64(target-to) > 0 {
		for int64(target-to) > 0 && int64(least-to) > 0 { // R2
			info, _ := r.header(to)
			_, n, _, ok := r.extent(info.Load(), to, x.head-to)
			if !ok {
				to = least // a peer has garbled what was published long ago
				break
			}
			if int64(to+n-least) > 0 {
				break
			}
			to += n
		}
	}
	if to != x.low {
		x.low = to
		invariant.Point("cells.R2")
		// R3, edge: join (low, then cursors | cursor, then low), lap (low, then
		// payload | payload, then low). The loads below come after it, the
		// payload after them.
		r.low.Store(to & posMask)
		invariant.Point("cells.R3")
		least = x.least() // R4
	}
	x.allowed = least + r.cells
	if int64(least-x.low) > 0 {
		x.allowed = x.low + r.cells
	}
	return x.head+k <= x.allowed
}

// Room looks whether a message of size bytes can be sent now.
func (x *Tx) Room(size int) bool {
	k := cellsFor(uint64(size))
	return x.head+k <= x.allowed || x.refresh(k)
}

// least is the least position that somebody who counts has not passed, head if
// nobody is behind.
func (x *Tx) least() uint64 {
	r := x.ring
	behind := uint64(0)
	look := func(p uint64) {
		// One that is further behind belongs to a joiner that looks again, or to
		// nobody whom we need to trust.
		if lag := (x.head - p) & posMask; lag <= r.cells {
			behind = max(behind, lag)
		}
	}
	bitsOf(r.slots.Load(), func(i int) {
		c := cursor(r.cursors[i].Load())
		if c.state() != curHold {
			return
		}
		w := claim(r.claims[i].Load()) // after the cursor: generations only grow
		if w.state() == claimHeld && w.gen() == c.gen() && w.mode() == ModeHold {
			look(c.pos())
		}
	})
	for g := range r.groups {
		if s := groupWord(r.groups[g].self.Load()).state(); s == groupOpen || s == groupMaking {
			look(r.groups[g].rdone.Load())
		}
	}
	return x.head - behind
}

// Announce says that x, which has the token, will sleep until there is room for
// size bytes; if much, until a quarter of the ring is free, so that a writer that
// is faster than its readers is not woken for each message. In a quarter of the
// ring there may never be room while somebody stands still: sleep for a while
// only. Look again after it, before the sleep.
func (x *Tx) Announce(size int, much bool) {
	k := cellsFor(uint64(size))
	if much {
		k = max(k, x.ring.cells/4)
	}
	x.ring.roomAt.Store((x.head + k - x.ring.cells) & posMask) // K1
	invariant.Point("cells.K1")
	x.announceRoom()
}

func (x *Tx) announceRoom() {
	// edge: wake writer (this OR, then cursors | cursor, then roomWait)
	x.ring.room.Or(1 << x.slot.index) // K2
	invariant.Point("cells.K2")
}

// AnnounceReaders is Announce of a writer that waits until there are readers.
func (x *Tx) AnnounceReaders() { x.announceRoom() }

// AnnounceToken is Announce of a writer that wants the token.
func (x *Tx) AnnounceToken() {
	// edge: wake next (this OR, then pub | pub, then tokenWait)
	x.ring.token.Or(1 << x.slot.index) // K3
	invariant.Point("cells.K3")
}

// CountBlocked counts one wait for room, for inspection.
func (x *Tx) CountBlocked() { x.ring.blocked.Add(1) }

// Blocker is what holds a writer back: a broadcast reader, or, with Slot -1,
// the group's oldest unfinished claim, of nobody if nobody has claimed it.
type Blocker struct {
	Slot  int
	Group int
	Owner uint32
	word  uint64
}

// Blockers lists who must go on before size bytes can be sent.
func (x *Tx) Blockers(size int) []Blocker {
	r := x.ring
	free := x.head + cellsFor(uint64(size)) - r.cells // all below must be passed
	holds := func(p uint64) bool {
		lag := (x.head - p) & posMask
		return lag <= r.cells && int64(free-(x.head-lag)) > 0
	}
	var out []Blocker
	bitsOf(r.slots.Load(), func(i int) {
		c := cursor(r.cursors[i].Load())
		w := claim(r.claims[i].Load())
		if c.state() == curHold && w.state() == claimHeld && w.gen() == c.gen() && holds(c.pos()) {
			out = append(out, Blocker{Slot: i, Group: -1, Owner: w.owner(), word: uint64(c)})
		}
	})
	for g := range r.groups {
		v := &r.groups[g]
		if s := groupWord(v.self.Load()).state(); s != groupOpen && s != groupMaking {
			continue
		}
		p := v.rdone.Load()
		if !holds(p) {
			continue
		}
		b := Blocker{Slot: -1, Group: g}
		if c := claimed(v.claims[p&r.mask].Load()); c.since(p) == 0 && c.open() {
			b.Owner = c.owner()
		}
		out = append(out, b)
	}
	return out
}

// Fence stops b, a broadcast reader whose node is suspect, from holding x back.
// It is told what it lost, if it comes back.
func (x *Tx) Fence(b Blocker) {
	if b.Slot < 0 {
		return
	}
	c := cursor(b.word)
	x.ring.cursors[b.Slot].CompareAndSwap(b.word, uint64(packCursor(curFenced, c.gen(), c.pos()))) // F2
	invariant.Point("cells.F2")
}

// Sweep passes what the groups have finished, on behalf of those who finished
// it and died.
func (x *Tx) Sweep() {
	for g := range x.ring.groups {
		if groupWord(x.ring.groups[g].self.Load()).state() == groupOpen {
			x.ring.sweep(&x.ring.groups[g], x.bell)
		}
	}
}

// HandBack has b's claim claimed again: its reader is suspect, and may find out
// when it finishes.
func (x *Tx) HandBack(b Blocker) {
	if b.Slot >= 0 || b.Owner == 0 {
		return
	}
	v := &x.ring.groups[b.Group]
	if x.ring.handBack(v, b.Owner) > 0 {
		v.returned.Add(1)
		x.ring.wake(x.ring.read, x.bell, "cells.P4")
	}
}

// Bell is what is rung to wake x.
func (x *Tx) Bell() wake.Bell { return x.slot.Bell() }

// Held reports whether the writer's slot is still ours.
func (x *Tx) Held() bool { return x.slot.Held() }
