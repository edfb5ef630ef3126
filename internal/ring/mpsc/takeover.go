package mpsc

import (
	"cmp"
	"slices"

	"github.com/ringbus/ringbus/internal/invariant"
)

// Takeover is Start where control was inherited from the dead. What the
// former executor had issued is interrupted, T2, but for what may be repeated:
// those ops are appended to ops, T1, to be carried out before anything is
// taken. It may die at any step, and whoever comes next does all of it again.
func (x *Exec) Takeover(ops []Op) ([]Op, error) {
	x.begin()
	x.m.q.taken.Add(1)
	if err := x.pass(); err != nil {
		return ops, err
	}
	again, err := x.settle(true)
	if err != nil {
		return ops, err
	}
	for _, i := range again {
		o := x.op(i, x.m.q.nodes[i].load().turn(), 0)
		o.Again = true
		ops = append(ops, o)
	}
	x.count(len(again))
	return ops, nil
}

// pass is T0: what was issued, but not passed by head, is passed. If it were
// interrupted before, its owner could use the node again while the walk still
// reaches it.
func (x *Exec) pass() error {
	q := x.m.q
	t := q.loadTail()
	if t.executor() != x.m.me {
		return ErrFenced
	}
	if err := x.walk(t); err != nil {
		return err
	}
	passed := 0
	for k, i := range x.list {
		if q.nodes[i].load().status() == Issued {
			passed = k + 1
		}
	}
	if passed > 0 {
		if !q.head.CompareAndSwap(x.head, x.head+uint64(passed)) {
			return ErrFenced
		}
		x.head += uint64(passed)
		invariant.Point("mpsc.T0")
	}
	if passed == len(x.list) {
		q.swapTail(t, packTail(t.seq(), x.m.me, temp))
	}
	x.list, x.at = x.list[:0], 0
	return nil
}

// settle ends, or returns in their order, what a former executor issued, and
// gives back the nodes that are not queued and that nobody will queue: G.
// Without a device what may be repeated is left as it is.
func (x *Exec) settle(device bool) (again []uint32, err error) {
	q := x.m.q
	if x.words == nil {
		x.words, x.there = make([]uint64, q.config.Depth), make([]bool, q.config.Depth)
	}
	left := q.left.Load()
	for i := range q.nodes { // G0: before the walk
		x.words[i] = q.nodes[i].state.Load()
	}
	invariant.Point("mpsc.G1")
	t := q.loadTail()
	if t.executor() != x.m.me {
		return nil, ErrFenced
	}
	if err := x.walk(t); err != nil { // G1, G2
		return nil, err
	}
	clear(x.there)
	for _, i := range x.list {
		x.there[i] = true
	}
	for i := range q.nodes {
		n, w := &q.nodes[i], state(x.words[i])
		switch w.status() {
		case Issued:
			if x.inherit(uint32(i), device) {
				again = append(again, uint32(i))
			}
		case Cancelled:
			if !x.there[i] && n.swap(w, w.end()) {
				invariant.Point("mpsc.G3")
			}
		case Submitted:
			if o := w.owner(); !x.there[i] && (o == orphan || o == evicted) && n.swap(w, w.end()) {
				invariant.Point("mpsc.G3")
			}
		}
	}
	q.swept.Store(left) // G4: all that was left before the look
	invariant.Point("mpsc.G4")
	q.ringSpace(x.m.ring)
	slices.SortFunc(again, func(a, b uint32) int {
		return cmp.Compare(x.age(b), x.age(a))
	})
	return again, nil
}

// age is how long before head node i's op was submitted, in ops.
func (x *Exec) age(i uint32) uint64 {
	return (x.head - link(x.m.q.nodes[i].link.Load()).pos()) & seqMask
}

// inherit does what is due to node i, which was issued: T1 if it may be
// repeated, and is by us, T2 if not. It reports whether the op is left to do.
func (x *Exec) inherit(i uint32, device bool) bool {
	n := &x.m.q.nodes[i]
	for {
		w := n.load()
		if w.status() != Issued || w.executor() == x.m.me {
			return false
		}
		if w.executor() == orphan && link(n.link.Load()).repeat() {
			if !device {
				return true
			}
			if n.swap(w, w.with(Issued, x.m.me)) {
				invariant.Point("mpsc.T1")
				return true
			}
			continue
		}
		executor := uint32(nobody)
		if w.executor() != orphan {
			executor = evicted
		}
		if x.interrupt(n, w, executor) {
			return false
		}
	}
}

// Settle does what a member without a device can where an executor died, or
// where dead submitters left nodes: it takes control, reports what was
// interrupted, gives back what is left, and lets control go again. It returns
// false if somebody else has control.
func (x *Exec) Settle() (done bool, err error) {
	for {
		once, err := x.settleOnce()
		done = done || once
		if !once || err != nil || !x.m.Unswept() {
			return done, err
		}
	}
}

func (x *Exec) settleOnce() (bool, error) {
	q := x.m.q
	t := q.loadTail()
	if !t.free() || t.executor() == again {
		return false, nil
	}
	to := t.owned(x.m.me)
	if t.node() == none {
		to = packTail(t.seq(), x.m.me, temp)
	}
	if !q.swapTail(t, to) {
		return false, nil
	}
	invariant.Point("mpsc.S6")
	x.begin()
	if err := x.pass(); err != nil {
		return false, err
	}
	rest, err := x.settle(false)
	if err != nil {
		return false, err
	}
	for {
		t = q.loadTail()
		if t.executor() != x.m.me {
			return false, ErrFenced
		}
		executor, node := uint32(nobody), t.node()
		if len(rest) > 0 {
			executor = again
		}
		if t.seq() == x.head&seqMask {
			if node = none; len(rest) > 0 {
				node = temp
			}
		}
		if q.swapTail(t, packTail(t.seq(), executor, node)) { // X8
			invariant.Point("mpsc.X8")
			q.ringAble(x.m.ring)
			return true, nil
		}
	}
}
