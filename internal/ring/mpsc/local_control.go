package mpsc

import (
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

// enter takes own.
func (l *Local) enter() bool {
	if l.own.Load() != 0 || !l.own.CompareAndSwap(0, 1) {
		return false
	}
	invariant.Point("mpsc.S6")
	return true
}

// Claim is [Member.Claim]. Of an empty queue control is taken by the swap of the
// temporary node for "empty".
func (l *Local) Claim(empty bool) Control {
	if l.TakeOffer() {
		return Gained
	}
	if empty && l.tail.Load() == none && l.enter() {
		// While nobody has control of the empty queue, nobody uses the temporary
		// node; only who gains by this swap may touch it. Its link is none.
		if l.tail.CompareAndSwap(none, temp) {
			l.first, l.more = temp, 0
			return Gained
		}
		if !l.DropIdle() {
			return Gained
		}
	}
	return NoControl
}

// ClaimIdle is [Exec.ClaimIdle]. Who finds something queued does not go before
// it, unless it came since the look.
func (l *Local) ClaimIdle() bool {
	if l.tail.Load() != none {
		return false
	}
	invariant.Point("mpsc.S4")
	return l.enter()
}

// DropIdle is [Exec.DropIdle]: a store. It returns false if it took control that
// was on offer.
//
// No barrier orders the store and the look at offer: the look may come too
// early. Who sleeps over an offer looks again after a nap.
func (l *Local) DropIdle() bool { return l.Drop() || !l.TakeOffer() }

// Drop is the first half of DropIdle: false means that TakeOffer must follow.
func (l *Local) Drop() bool {
	mem.StoreRelease(&l.own, 0)
	invariant.Point("mpsc.X8")
	return l.offer.Load() == 0
}

// TakeOffer takes control if it is on offer and nobody is at the device. Who
// fails to enter leaves it to the one that is there, who looks when it goes.
func (l *Local) TakeOffer() bool {
	for l.Offered() && l.enter() {
		if l.offer.CompareAndSwap(1, 0) {
			return true
		}
		l.own.Store(0)
		invariant.Point("mpsc.X8")
	}
	return false
}

// Release is [Exec.Release]: own first, so that after the CAS nothing of the
// queue is touched.
func (l *Local) Release() (left bool, err error) {
	if l.front() != none {
		return false, nil
	}
	if l.tail.Load() == temp {
		l.more = 0
		l.own.Store(0)
		invariant.Point("mpsc.X8")
		if l.tail.CompareAndSwap(temp, none) {
			invariant.Point("mpsc.X8")
			return true, nil
		}
		l.first = linked(&l.tempLink)
		return l.offerUp(), nil
	}
	l.first = linked(&l.tempLink)
	return false, nil
}

// offerUp is for who has control of what is queued, and has given up own: it
// takes both back, unless somebody is at the device, or takes control.
func (l *Local) offerUp() (left bool) {
	l.offer.Store(1)
	invariant.Point("mpsc.X9")
	if l.TakeOffer() {
		return false
	}
	l.passOn() // who is at the device may have looked too early
	return true
}

// waits reports whether t's submitter waits for control.
func (t *task) waits() bool {
	return t.wait.Load()&waitAble != 0 && t.word.Load() == uint64(Submitted)
}

// Leave is [Exec.Leave].
func (l *Local) Leave() error {
	for {
		if left, _ := l.Release(); left {
			return nil
		}
		if l.front() != none {
			l.own.Store(0)
			l.offer.Store(1)
			l.passOn()
			return nil
		}
	}
}

// Offer is [Exec.Offer].
func (l *Local) Offer() (left bool, err error) {
	at := l.front()
	if at == none {
		return false, nil
	}
	var t *task
	for ; at != none; at = l.link(at).Load() {
		if n := l.node(at); n.waits() {
			t = n
			break
		}
	}
	if t == nil && l.spare.waiting.Load() == 0 {
		return false, nil
	}
	l.more = 0
	l.own.Store(0)
	l.offer.Store(1)
	invariant.Point("mpsc.X9")
	// edge: hand over (offer, then the word | cancelled, then offer)
	if t != nil && t.waits() {
		if t.wait.Load()&waitParked != 0 {
			poke(t.wake)
		}
		return true, nil
	}
	if l.spare.waiting.Load() != 0 {
		l.spare.ring()
		return true, nil
	}
	return !l.TakeOffer(), nil // it waits no more: take it back
}
