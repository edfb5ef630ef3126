package mpsc

import (
	"slices"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
)

// ClaimIdle takes control if nobody has it and the queue is empty. The caller
// may carry out one op of its own, which is in no node: if it dies over it, there
// is nobody to tell. Then DropIdle, or, if that fails, [Run].
func (x *Exec) ClaimIdle() bool {
	q := x.m.q
	t := q.loadTail()
	if t.executor() != nobody || t.node() != none || !q.swapTail(t, packTail(t.seq(), x.m.me, temp)) {
		return false
	}
	invariant.Point("mpsc.S6")
	x.Sync()
	return true
}

// DropIdle counts the op that ClaimIdle was for, and gives control back unless
// there is something to do.
func (x *Exec) DropIdle() bool {
	x.m.line.submitted.Add(1)
	x.count(1)
	q := x.m.q
	t := q.loadTail()
	if t.executor() != x.m.me || t.node() != temp || x.m.Unswept() {
		return false
	}
	x.handOver()
	if !q.swapTail(t, packTail(t.seq(), nobody, none)) {
		return false
	}
	invariant.Point("mpsc.X8")
	if x.m.Unswept() { // somebody was buried just now, see Release
		_, _ = x.Settle() // what is wrong with the queue, the next one finds as well
	}
	return true
}

// Since is how many ops were taken since control was gained, or Rest.
func (x *Exec) Since() int { return x.more }

// Rest begins to count anew.
func (x *Exec) Rest() { x.more = 0 }

// Release gives control back if the queue is empty, X8; after that nothing of
// it is touched. No op may be outstanding, and Tidy should come before.
func (x *Exec) Release() (left bool, err error) {
	q := x.m.q
	t := q.loadTail()
	if t.executor() != x.m.me {
		return false, ErrFenced
	}
	if t.seq() != x.head&seqMask {
		return false, nil
	}
	x.more = 0
	x.handOver()
	if !q.swapTail(t, packTail(t.seq(), nobody, none)) {
		return false, nil
	}
	invariant.Point("mpsc.X8")
	// edge: reclaim (this CAS, then left | left, then tail): who was buried in
	// between left nodes, and whoever waits for them found control taken.
	if x.m.Unswept() {
		_, err = x.Settle()
	}
	return true, err
}

// Leave gives control up, whatever is queued: who can execute is rung. No op may
// be outstanding.
func (x *Exec) Leave() error {
	if err := x.Tidy(); err != nil {
		return err
	}
	q := x.m.q
	x.more = 0
	x.handOver()
	for {
		t := q.loadTail()
		if t.executor() != x.m.me {
			return ErrFenced
		}
		to := t.owned(nobody)
		if t.seq() == x.head&seqMask {
			to = packTail(t.seq(), nobody, none)
		}
		if q.swapTail(t, to) {
			break
		}
	}
	invariant.Point("mpsc.X8")
	q.ringAble(x.m.ring)
	if x.m.Unswept() {
		_, err := x.Settle()
		return err
	}
	return nil
}

// Tidy gives back the nodes that dead submitters left, if there are any.
func (x *Exec) Tidy() error {
	if !x.m.Unswept() {
		return nil
	}
	_, err := x.settle(false)
	return err
}

// Offer hands control on if somebody else can take it and the queue is not
// empty: X9, X10. No op may be outstanding.
func (x *Exec) Offer() (left bool, err error) {
	q := x.m.q
	t := q.loadTail()
	if t.executor() != x.m.me {
		return false, ErrFenced
	}
	if t.seq() == x.head&seqMask {
		return false, nil
	}
	if x.at == len(x.list) {
		if err := x.walk(t); err != nil {
			return false, err
		}
	}
	n := x.heir()
	if n == nil && !masked(q.control) {
		return false, nil
	}
	x.more = 0
	x.handOver()
	for !q.swapTail(t, t.owned(nobody)) { // X9
		if t = q.loadTail(); t.executor() != x.m.me {
			return false, ErrFenced
		}
	}
	invariant.Point("mpsc.X9")
	// edge: hand over (tail, then the state | cancelled, then tail), bury (tail,
	// then the state | an orphan's state, then a ring for all)
	if n != nil && n.waits() {
		if n.parked() {
			x.m.ring(n.bell)
		}
		return true, nil
	}
	if q.ringMask(q.control, x.m.ring) {
		return true, nil
	}
	// X10: it waits no more. Others may be asleep who can; else it is ours again.
	for {
		t = q.loadTail()
		if t.executor() != nobody || t.node() == none {
			return true, nil
		}
		if q.swapTail(t, t.owned(x.m.me)) {
			invariant.Point("mpsc.X10")
			x.begin()
			return false, nil
		}
	}
}

// heir is the first queued op's node whose submitter waits and can take control.
func (x *Exec) heir() *node {
	for _, i := range x.list[x.at:] {
		if n := &x.m.q.nodes[i]; n.waits() {
			return n
		}
	}
	return nil
}

// waits reports whether the owner of n, a node that is queued, waits for control.
// The wait word of one who is dead stands for ever: its node is an orphan.
func (n *node) waits() bool {
	if n.wait.Load()&waitAble == 0 {
		return false
	}
	w := n.load()
	return w.status() == Submitted && w.owner() > again
}

func masked(words []atomic.Uint64) bool {
	return slices.ContainsFunc([]int{0, 1, 2, 3}, func(k int) bool { return words[k].Load() != 0 })
}

// Park says that the executor sleeps over the empty queue, K2. Look with Idle
// after it.
func (x *Exec) Park() {
	// edge: park (this swap, then tail | tail, then park)
	x.m.q.park.Store(1)
	invariant.Point("mpsc.K2")
}

// Unpark takes Park back.
func (x *Exec) Unpark() { x.m.q.park.Store(0) }

// Idle reports whether the queue is empty, and ours.
func (x *Exec) Idle() bool {
	t := x.m.q.loadTail()
	return t.executor() == x.m.me && t.seq() == x.head&seqMask
}
