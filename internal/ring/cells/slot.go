package cells

import (
	"errors"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// Errors that callers branch on.
var (
	ErrNoSlot  = errors.New("the stream has no free slot")
	ErrNoGroup = errors.New("the stream has no free group")
	ErrBusy    = errors.New("another node is making a group")
	ErrFenced  = errors.New("fenced: this node was taken for dead or evicted")
)

// Slot is a participant's place in a ring: its name, its bell.
type Slot struct {
	ring  *Ring
	index int
	word  claim
	bell  func(wake.Bell)
}

// Join claims a slot for owner. bell rings a bell.
func (r *Ring) Join(owner uint32, m Mode, bell func(wake.Bell)) (*Slot, error) {
	return r.join(owner, m, 0, 0, bell)
}

func (r *Ring) join(owner uint32, m Mode, group int, groupGen uint64, bell func(wake.Bell)) (*Slot, error) {
	for i := range MaxSlots {
		w := claim(r.claims[i].Load())
		if w.state() != claimFree {
			continue
		}
		held := packClaim(claimHeld, m, group, groupGen, w.gen()+1, owner)
		if !r.claims[i].CompareAndSwap(uint64(w), uint64(held)) { // J0
			continue
		}
		invariant.Point("cells.J0")
		r.slots.Or(1 << i)
		invariant.Point("cells.J0a")
		r.lost[i].Store(0)
		return &Slot{ring: r, index: i, word: held, bell: bell}, nil
	}
	return nil, ErrNoSlot
}

// Bell is what is rung to wake the slot's owner.
func (s *Slot) Bell() wake.Bell { return s.ring.bells[s.index] }

// Held reports whether the slot is still its owner's.
func (s *Slot) Held() bool { return claim(s.ring.claims[s.index].Load()) == s.word }

// leave is L1 and L2: the slot counts no more, and is free.
func (s *Slot) leave() {
	r := s.ring
	w := cursor(r.cursors[s.index].Load())
	if w.gen() == s.word.gen() && w.state() != curOut {
		r.cursors[s.index].CompareAndSwap(uint64(w), uint64(packCursor(curOut, w.gen(), 0))) // L1
		invariant.Point("cells.L1")
	}
	if s.word.mode() == ModeHold {
		r.gone.Or(GoneLeft)
		invariant.Point("cells.L1a")
	}
	free := packClaim(claimFree, 0, 0, 0, s.word.gen(), 0)
	r.claims[s.index].CompareAndSwap(uint64(s.word), uint64(free)) // L2
	invariant.Point("cells.L2")
	r.wake(r.room, s.bell, "cells.L3")
}

// AddLost counts messages that the slot's reader lost, for inspection.
func (s *Slot) AddLost(n uint64) { s.ring.lost[s.index].Add(n) }

// announceRead says that the slot sleeps until something is published. Look again after
// it, before the sleep. edge: the wake edges (this OR, then the look)
func (s *Slot) announceRead() {
	s.ring.read.Or(1 << s.index) // W2
	invariant.Point("cells.W2")
}

// Bits of what Gone returns.
const (
	GoneLeft = 1 // a reader that held the writer back has left
	GoneDead = 2 // one has died
)

// Gone says whether readers that held the writer back are gone. Where there is
// only one ever, as in a connection, it says what became of that one.
func (r *Ring) Gone() uint64 { return r.gone.Load() }

// Readers counts the readers that are there: those who see everything and hold
// the writer back or not, and those who share.
func (r *Ring) Readers(alive func(owner uint32) bool) int {
	n := 0
	bitsOf(r.slots.Load(), func(i int) {
		if c := claim(r.claims[i].Load()); c.state() == claimHeld && c.mode() >= ModeHold && c.mode() <= ModeShared && alive(c.owner()) {
			n++
		}
	})
	return n
}
