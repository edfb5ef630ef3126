package cells

import (
	"bytes"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// Shared is a shared reader's end of a ring: one of those who divide a group's
// messages among them. Poll and the wait methods are for one goroutine at a
// time; Done and Return may be called by any.
type Shared struct {
	ring  *Ring
	view  *groupView
	slot  *Slot
	bell  func(wake.Bell)
	index int
	gen   uint64 // of the group
	owner uint32

	returned uint64 // what the group's count was when nothing was found
	looked   bool   // a look found nothing to be claimed again
	err      error
}

// JoinGroup makes owner a reader of the group of the given name. If there is no
// such group it is made: its messages begin with what is published next or, if
// oldest, with the oldest message that is there. It lasts until its last reader
// leaves; if that dies instead, it stays for the next. [ErrBusy] says that
// another node is just making a group: try again.
func (r *Ring) JoinGroup(owner uint32, name string, oldest bool, bell func(wake.Bell)) (*Shared, error) {
	for range patience {
		i, g, ok := r.findGroup(name)
		if !ok {
			if err := r.makeGroup(owner, name, oldest, bell); err != nil {
				return nil, err
			}
			continue
		}
		s, err := r.join(owner, ModeShared, i, g.gen(), bell)
		if err != nil {
			return nil, err
		}
		// M5: whoever is about to dissolve the group sees that it was joined.
		joined := packGroup(groupOpen, g.gen(), g.joins()+1, 0)
		if !r.groups[i].self.CompareAndSwap(uint64(g), uint64(joined)) {
			s.leave() // another one joined, or dissolved it
			continue
		}
		invariant.Point("cells.M5")
		r.wake(r.room, bell, "cells.J4") // the writer may want readers
		x := &Shared{ring: r, view: &r.groups[i], slot: s, bell: bell, index: i, gen: g.gen(), owner: owner}
		x.returned = x.view.returned.Load()
		return x, nil
	}
	return nil, ErrBusy
}

// findGroup finds the open group of a name.
func (r *Ring) findGroup(name string) (int, groupWord, bool) {
	for i := range r.groups {
		v := &r.groups[i]
		for range patience {
			g := groupWord(v.self.Load())
			if g.state() != groupOpen {
				break
			}
			same := v.called() == name
			if groupWord(v.self.Load()) == g {
				if same {
					return i, g, true
				}
				break
			}
		}
	}
	return 0, 0, false
}

// called copies the group's name.
func (v *groupView) called() string {
	var b [MaxName]byte
	mem.CopyOut(b[:], v.name)
	n := bytes.IndexByte(b[:], 0)
	if n < 0 {
		n = len(b)
	}
	return string(b[:n])
}

// makeGroup is M1 to M4. The maker's word keeps two nodes from making groups of
// one name.
func (r *Ring) makeGroup(owner uint32, name string, oldest bool, bell func(wake.Bell)) error {
	m := r.maker.Load()
	if m&ownerMask != 0 {
		return ErrBusy
	}
	mine := (m>>20+1)<<20 | uint64(owner)
	if !r.maker.CompareAndSwap(m, mine) { // M1
		return ErrBusy
	}
	invariant.Point("cells.M1")
	defer func() {
		r.maker.CompareAndSwap(mine, mine&^ownerMask) // M4
		invariant.Point("cells.M4")
	}()
	if _, _, ok := r.findGroup(name); ok {
		return nil
	}
	for i := range r.groups {
		v := &r.groups[i]
		g := groupWord(v.self.Load())
		if g.state() != groupFree {
			continue
		}
		making := packGroup(groupMaking, g.gen()+1, 0, owner)
		if !v.self.CompareAndSwap(uint64(g), uint64(making)) { // M2
			continue
		}
		invariant.Point("cells.M2")
		if r.maker.Load() != mine { // we were evicted, and another one may be making it
			v.self.CompareAndSwap(uint64(making), uint64(packGroup(groupFree, making.gen(), 0, 0)))
			return ErrFenced
		}
		var b [MaxName]byte
		copy(b[:], name)
		mem.CopyIn(v.name, b[:])
		r.place(v, making.gen()<<posBits, oldest)
		older := packClaimed(v.rdone.Load()-r.cells, stFin, 0)
		for k := range v.claims { // it may begin before what a former group has finished
			v.claims[k].Store(uint64(older))
		}
		invariant.Point("cells.M3")
		v.self.CompareAndSwap(uint64(making), uint64(packGroup(groupOpen, making.gen(), 0, 0))) // M3
		r.wake(r.room, bell, "cells.J4")
		return nil
	}
	return ErrNoGroup
}

// place finds where a new group begins, as Rx.join does. tag is its generation,
// above the position.
func (r *Ring) place(v *groupView, tag uint64, oldest bool) {
	for range patience { // twice, unless low is garbage: the writer sees the first rdone
		at := r.Published()
		if low := nearest(r.low.Load(), at); oldest && at-low <= r.cells {
			at = low
		}
		v.rclaim.Store(tag | at&posMask)
		// edge: join (this store, then low | low, then rdone)
		v.rdone.Store(tag | at&posMask)
		invariant.Point("cells.M2a")
		if int64(nearest(r.low.Load(), at)-at) <= 0 {
			return
		}
	}
}

// Leave gives the slot back. What the reader has claimed must have been
// finished or returned. The last one to leave dissolves the group.
func (x *Shared) Leave() {
	x.slot.leave()
	r := x.ring
	for range MaxSlots {
		g := groupWord(x.view.self.Load())
		if g.state() != groupOpen || g.gen() != x.gen || r.members(x.index, x.gen) > 0 {
			return
		}
		// Nobody has joined since it was loaded, and all had left then.
		if x.view.self.CompareAndSwap(uint64(g), uint64(packGroup(groupFree, g.gen(), 0, 0))) { // M6
			invariant.Point("cells.M6")
			r.wake(r.room, x.bell, "cells.J4")
			return
		}
	}
}

// members counts the slots of a group's readers, the dead ones among them that
// nobody has recovered yet.
func (r *Ring) members(index int, gen uint64) int {
	n := 0
	for i := range MaxSlots {
		c := claim(r.claims[i].Load())
		if c.state() == claimHeld && c.mode() == ModeShared && c.group() == index && c.groupGen() == gen&groupMask {
			n++
		}
	}
	return n
}

// Slot returns the reader's slot.
func (x *Shared) Slot() *Slot { return x.slot }

// Err says what Poll found corrupt.
func (x *Shared) Err() error { return x.err }
