package cells

// Announce says that x will sleep. Look with Waiting after it, before the sleep.
func (x *Rx) Announce() { x.slot.announceRead() }

// Waiting reports whether there is nothing to do for x: no message, no loss, no
// end, and the slot still its own.
func (x *Rx) Waiting() bool {
	return !x.Pending() && (x.lapped || x.sure()) && x.slot.Held() && x.Ended() == endNone
}

// Ended says whether the stream has ended where x is: [EndClosed] or [EndDead].
// A writer may come and go on with it nevertheless.
func (x *Rx) Ended() int { return x.ring.Ended(x.next) }

// Ended says whether the stream has ended at position at.
func (r *Ring) Ended(at uint64) int {
	w := r.pub.Load()
	if o := pubOwner(w); o != 0 && o != retired || pubPos(w) != at&posMask {
		return endNone
	}
	e := r.end.Load()
	if e>>2 != pubPos(w) || r.pub.Load() != w {
		return endNone
	}
	return int(e & 3)
}

// TakeLost returns how many messages were lost that no message will tell of,
// because the stream ended after them.
func (x *Rx) TakeLost() uint64 {
	w := x.ring.pub.Load()
	n, ok := x.following(w)
	if !ok || !x.known || pubPos(w) != x.next&posMask || n-x.want >= 1<<posBits {
		return 0
	}
	lost := n - x.want
	x.want = n
	return lost
}

// Next returns the position that will be read next, modulo 2^44.
func (x *Rx) Next() uint64 { return x.next & posMask }

// Slot returns the reader's slot.
func (x *Rx) Slot() *Slot { return x.slot }

// Leave gives the slot back.
func (x *Rx) Leave() { x.slot.leave() }

// LeaveAs is Leave that says how: [EndClosed], or as a death would be told.
func (x *Rx) LeaveAs(how int) {
	if how == EndDead {
		x.ring.gone.Or(GoneDead)
	}
	x.slot.leave()
}
