package cells

import (
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// Poll claims a message for rec, if there is one: first what is new, then what
// was handed back. rec refers to the ring until Done or Return.
func (x *Shared) Poll(rec *Record) Status {
	r, v := x.ring, x.view
	if !x.slot.Held() {
		return Evicted
	}
	for range patience {
		p := v.rclaim.Load()            // C1
		to := nearest(r.Published(), p) // C2, edge: publish (Tx.publish | this load)
		if to == p {
			return x.again(rec)
		}
		if to-p > r.cells {
			if v.rclaim.Load() == p {
				return x.corrupt("group's claim position", p)
			}
			continue
		}
		st, done := x.claim(rec, p, to)
		if done {
			return st
		}
	}
	return Empty
}

// passed is the position word of a group k cells on, of the same generation: who
// is late by a whole group changes nothing.
func passed(p, k uint64) uint64 { return p&^posMask | (p+k)&posMask }

// claim is C3 and C4 at position p. It is not done if p was passed meanwhile, or
// is no message.
func (x *Shared) claim(rec *Record, p, to uint64) (Status, bool) {
	r, v := x.ring, x.view
	word := &v.claims[p&r.mask]
	c := claimed(word.Load())
	head, number := r.header(p)
	info, n := head.Load(), number.Load()
	length, k, pad, ok := r.extent(info, p, to-p)
	if !ok {
		if v.rclaim.Load() == p { // else it was overwritten meanwhile
			return x.corrupt("header", info), true
		}
		return 0, false
	}
	switch since := c.since(p); {
	case since < 0: // we are late
		return 0, false
	case since > 0:
		mine := packClaimed(p, stClaimed, x.owner)
		if pad {
			mine = packClaimed(p, stFin, 0)
		}
		if !word.CompareAndSwap(uint64(c), uint64(mine)) { // C3
			return 0, false
		}
		invariant.Point("cells.C3")
		v.rclaim.CompareAndSwap(p, passed(p, k)) // C4
		invariant.Point("cells.C4")
		if pad {
			r.sweep(v, x.bell)
			return 0, false
		}
		return x.got(rec, p, length, k, n, mine), true
	}
	// It is claimed, and rclaim is behind. If rclaim is still p, k is right.
	v.rclaim.CompareAndSwap(p, passed(p, k)) // C4
	invariant.Point("cells.C4")
	return 0, false
}

// got fills rec with a message that was claimed.
func (x *Shared) got(rec *Record, p, length, k, number uint64, word claimed) Status {
	rec.lend(x.ring.span(p, length))
	rec.Number, rec.Lost, rec.Redelivered = number&^numberPad, 0, word.status() == stAgain
	rec.pos, rec.next, rec.word = p, p+k, word
	if !x.slot.Held() { // we were evicted, and whoever did that may have looked before the claim
		x.Return(rec)
		return Evicted
	}
	return Got
}

// again is C5 and C6: it claims a message that was handed back.
func (x *Shared) again(rec *Record) Status {
	r, v := x.ring, x.view
	count := v.returned.Load()
	if x.looked && count == x.returned {
		r.sweep(v, x.bell) // on behalf of who finished and died
		return Empty
	}
	p := v.rdone.Load()
	to := nearest(v.rclaim.Load(), p)
	if to-p > r.cells {
		return Empty // they moved on meanwhile
	}
	for ; p != to; p++ { // C5
		word := &v.claims[p&r.mask]
		c := claimed(word.Load())
		if c.since(p) != 0 || c.status() != stAgain || c.owner() != 0 {
			continue
		}
		head, number := r.header(p)
		info := head.Load()
		length, k, pad, ok := r.extent(info, p, to-p)
		mine := packClaimed(p, stAgain, x.owner)
		if !ok || pad || !word.CompareAndSwap(uint64(c), uint64(mine)) { // C6
			continue
		}
		invariant.Point("cells.C6")
		return x.got(rec, p, length, k, number.Load(), mine)
	}
	x.looked, x.returned = true, count
	r.sweep(v, x.bell)
	return Empty
}

// Done finishes the message of rec, and passes what is finished in order. It
// returns false if the message was given to another one, because this node was
// taken for dead.
func (x *Shared) Done(rec *Record) bool {
	word := &x.view.claims[rec.pos&x.ring.mask]
	// F1, edge: free (reads, then this CAS), sweep (this CAS, then the claim word at rdone)
	if !word.CompareAndSwap(uint64(rec.word), uint64(packClaimed(rec.pos, stFin, 0))) {
		return false
	}
	invariant.Point("cells.F1")
	x.ring.sweep(x.view, x.bell)
	return true
}

// Return gives the message of rec back unfinished: another one claims it, or
// the same, and is told that it is delivered again.
func (x *Shared) Return(rec *Record) bool {
	word := &x.view.claims[rec.pos&x.ring.mask]
	if !word.CompareAndSwap(uint64(rec.word), uint64(packClaimed(rec.pos, stAgain, 0))) { // F2
		return false
	}
	invariant.Point("cells.F3")
	x.view.returned.Add(1)
	x.ring.wake(x.ring.read, x.bell, "cells.P4")
	return true
}

// sweep is C7 and C8: it moves rdone over what is finished, and wakes writers.
func (r *Ring) sweep(v *groupView, ring func(wake.Bell)) {
	moved := false
	for range r.cells {
		d := v.rdone.Load() // C7
		c := claimed(v.claims[d&r.mask].Load())
		if c.since(d) != 0 || c.status() != stFin {
			break
		}
		head, _ := r.header(d)
		_, k, _, ok := r.extent(head.Load(), d, (r.Published()-d)&posMask)
		if !ok {
			if v.rdone.Load() == d {
				break // garbled; else it was overwritten meanwhile
			}
			continue
		}
		if v.rclaim.Load() == d { // a pad is finished by whoever claims it, maybe before C4
			v.rclaim.CompareAndSwap(d, passed(d, k))
			invariant.Point("cells.C4")
		}
		if v.rdone.CompareAndSwap(d, passed(d, k)) { // C8: if rdone is still d, k is right
			invariant.Point("cells.C8")
			moved = true
		}
	}
	if !moved {
		return
	}
	r.wakeRoom(v.rdone.Load(), ring)
	if r.Ended(v.rdone.Load()) != endNone { // it has ended now, for the group
		r.wake(r.read, ring, "cells.P4")
	}
}

// Pending reports whether the next Poll may find something: a glance.
func (x *Shared) Pending() bool {
	return x.view.rclaim.Load()&posMask != x.ring.Published() || x.view.returned.Load() != x.returned
}

// Announce says that x will sleep. Look with Waiting after it, before the sleep.
func (x *Shared) Announce() { x.slot.announceRead() }

// Waiting reports whether there is nothing to do for x.
func (x *Shared) Waiting() bool {
	return !x.Pending() && x.slot.Held() && x.Ended() == endNone
}

// Ended says whether the stream has ended and all of the group's messages were
// finished: [EndClosed] or [EndDead].
func (x *Shared) Ended() int { return x.ring.Ended(x.view.rdone.Load()) }

// Unfinished lists the nodes, other than ours, that have claimed messages of
// the group and not finished them. A look by who is about to sleep: each of
// them may be dead and gone without anybody having noticed.
func (x *Shared) Unfinished() []uint32 {
	var out []uint32
	v, r := x.view, x.ring
	p := v.rdone.Load()
	to := nearest(v.rclaim.Load(), p)
	if to-p > r.cells {
		return nil
	}
	for ; p != to; p++ {
		c := claimed(v.claims[p&r.mask].Load())
		if o := c.owner(); c.since(p) == 0 && c.open() && o != 0 && o != x.owner && (len(out) == 0 || out[len(out)-1] != o) {
			out = append(out, o)
		}
	}
	return out
}

func (x *Shared) corrupt(what string, have uint64) Status {
	x.err = &CorruptError{"stream's " + what, have}
	return Corrupt
}
