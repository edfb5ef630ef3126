package mpsc

import (
	"runtime"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
)

// Local is a queue within one process, by the published algorithm: a submitter
// swaps the tail for its node and stores the link in the node before; the one
// that swapped out "empty" has control. Who has control takes from the front,
// puts the temporary node in the place of the last op by CAS on the tail, so
// that the queue stays owned while that op is at the device, and gives control
// back by CAS of the temporary node to "empty".
//
// Its nodes are on the heap, and everybody dies together: nothing names an
// owner. Its methods may be called concurrently, those of its executor
// (Take, Offer, Release) by the one that has control.
type Local struct {
	tail atomic.Pointer[task]
	_    [56]byte

	first *task // whoever has control
	temp  task  // the temporary node
	more  int
	taken uint64
	_     [24]byte

	offer atomic.Uint32 // 1: nobody has control, and the queue is not empty
	park  atomic.Uint32 // 1: who has control sleeps over the empty queue
	_     [56]byte

	free  atomic.Uint64 // stack of free nodes: index plus one 32 bits, count 32
	_     [56]byte
	tasks []task
	out   atomic.Int64
	space signal
	spare signal // who would take control
	idle  signal
}

// task is a node of a Local queue.
type task struct {
	next   atomic.Pointer[task]
	word   atomic.Uint32 // Status, and whether its submitter has forgotten it
	wait   atomic.Uint32
	below  atomic.Uint32
	index  uint32
	turn   atomic.Uint32
	result int32
	op     Op
	wake   chan struct{}
}

const forgotten = 1 << 8

// signal lets goroutines sleep until another one rings.
type signal struct {
	waiting atomic.Int32
	ch      chan struct{}
}

func (s *signal) ring() {
	if s.waiting.Load() != 0 {
		poke(s.ch)
	}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// NewLocal makes a queue of depth nodes.
func NewLocal(depth int) *Local {
	l := &Local{tasks: make([]task, depth)}
	for _, s := range []*signal{&l.space, &l.spare, &l.idle} {
		s.ch = make(chan struct{}, 1)
	}
	for i := depth - 1; i >= 0; i-- {
		t := &l.tasks[i]
		t.index, t.wake = uint32(i), make(chan struct{}, 1)
		l.push(t)
	}
	return l
}

func (l *Local) push(t *task) {
	for {
		top := l.free.Load()
		t.below.Store(uint32(top))
		if l.free.CompareAndSwap(top, uint64(t.index+1)|(top>>32+1)<<32) {
			return
		}
	}
}

func (l *Local) pop() *task {
	for {
		top := l.free.Load()
		if uint32(top) == 0 {
			return nil
		}
		t := &l.tasks[uint32(top)-1]
		if l.free.CompareAndSwap(top, uint64(t.below.Load())|(top>>32+1)<<32) {
			return t
		}
	}
}

// Alloc is [Member.Alloc]. The bytes of r stay the submitter's until it has the
// result: nothing is copied. back is where In bytes go.
func (l *Local) Alloc(r *Request, back []byte, able bool) (Ref, bool) {
	t := l.pop()
	if t == nil {
		return 0, false
	}
	turn := t.turn.Add(1)
	t.op = Op{Index: t.index, Code: r.Code, Offset: r.Offset, Out: r.Out, In: back, Time: r.Time, turn: turn}
	t.word.Store(uint32(Submitted))
	w := uint32(0)
	if able {
		w = waitAble
	}
	t.wait.Store(w)
	return newRef(t.index, turn), true
}

func (l *Local) at(r Ref) *task { return &l.tasks[r.Index()] }

// Submit is [Member.Submit]: the swap, then the link.
func (l *Local) Submit(refs []Ref, able bool) Control {
	first := l.at(refs[0])
	last := first
	for _, r := range refs[1:] {
		t := l.at(r)
		last.next.Store(t)
		last = t
	}
	last.next.Store(nil)
	invariant.Point("mpsc.S4")
	prev := l.tail.Swap(last)
	invariant.Point("mpsc.S5")
	if prev == nil { // control, by the very swap
		l.first = first
		l.more = 0
		if able {
			return Gained
		}
		l.offer.Store(1)
		l.passOn() // to one that found the queue taken, and not yet on offer
		return NoControl
	}
	prev.next.Store(first) // until now the executor cannot get past prev
	invariant.Point("mpsc.S5r")
	if l.offer.Load() != 0 {
		if able {
			return l.Claim(false)
		}
		l.spare.ring()
		return NoControl
	}
	if l.park.Load() != 0 && l.park.Swap(0) != 0 {
		poke(l.idle.ch)
	}
	return NoControl
}

// Claim is [Member.Claim]. Of an empty queue control is taken by the swap of the
// temporary node for "empty".
func (l *Local) Claim(empty bool) Control {
	if l.offer.Load() == 1 && l.offer.CompareAndSwap(1, 0) {
		invariant.Point("mpsc.S6")
		return Gained
	}
	// While nobody has control of the empty queue, nobody uses the temporary
	// node; only who gains by this swap may touch it.
	if empty && l.tail.CompareAndSwap(nil, &l.temp) {
		l.first = &l.temp
		l.more = 0
		return Gained
	}
	return NoControl
}

// front makes first the first op, past the temporary node. It returns nil if
// the queue is empty.
func (l *Local) front() *task {
	if l.first == &l.temp {
		t := l.temp.next.Load()
		if t == nil {
			return nil
		}
		l.first = t
	}
	return l.first
}

// Take is [Exec.Take]: it appends what is taken in one walk.
func (l *Local) Take(ops []Op, _ int64) ([]Op, error) {
	t := l.front()
	for t != nil && len(ops) < cap(ops) {
		next := t.next.Load()
		if next == nil {
			l.temp.next.Store(nil)
			if l.tail.CompareAndSwap(t, &l.temp) { // the temporary node in its place
				invariant.Point("mpsc.X5")
				l.first = &l.temp
				ops = l.issue(t, ops)
				break
			}
			next = t.linked()
		}
		l.first = next
		ops = l.issue(t, ops)
		t = next
	}
	return ops, nil
}

// linked waits until the submitter that has swapped t out has stored the link:
// two instructions, unless it was preempted between them.
func (t *task) linked() *task {
	for n := 0; ; n++ {
		if next := t.next.Load(); next != nil {
			return next
		}
		invariant.Point("mpsc.X2")
		if n > 16 {
			runtime.Gosched()
		}
	}
}

// issue takes t, which is out of the queue now, unless it was cancelled.
func (l *Local) issue(t *task, ops []Op) []Op {
	for {
		w := t.word.Load()
		if Status(w&0xff) != Submitted {
			l.recycle(t)
			return ops
		}
		if t.word.CompareAndSwap(w, uint32(Issued)|w&forgotten) {
			invariant.Point("mpsc.X3")
			l.out.Add(1)
			l.more++
			l.taken++
			return append(ops, t.op)
		}
	}
}

func (l *Local) recycle(t *task) {
	t.word.Store(uint32(Free))
	t.op.Out, t.op.In = nil, nil
	l.push(t)
	l.space.ring()
}

// Complete is [Exec.Complete].
func (l *Local) Complete(o *Op, result int32) { l.finish(o, result, Done) }

// Abort is [Exec.Abort].
func (l *Local) Abort(o *Op) { l.finish(o, 0, Interrupted) }

func (l *Local) finish(o *Op, result int32, s Status) {
	t := &l.tasks[o.Index]
	w := t.word.Load()
	if t.turn.Load() != o.turn || Status(w&0xff) != Issued {
		return // it was completed before
	}
	t.result = result
	for !t.word.CompareAndSwap(w, uint32(s)|w&forgotten) {
		w = t.word.Load() // forgotten just now
	}
	invariant.Point("mpsc.X7")
	if w&forgotten != 0 {
		l.recycle(t)
	} else if t.wait.Load()&waitParked != 0 {
		poke(t.wake)
	}
	l.out.Add(-1)
}

// Start is [Exec.Start].
func (l *Local) Start(_ Control, ops []Op) ([]Op, error) { return ops, nil }

// Tidy is [Exec.Tidy]: there is nothing to do.
func (l *Local) Tidy() error { return nil }

// Release is [Exec.Release]: after it nothing of the queue is touched.
func (l *Local) Release() (bool, error) {
	if l.front() != nil {
		return false, nil
	}
	l.more = 0
	if l.tail.CompareAndSwap(&l.temp, nil) {
		invariant.Point("mpsc.X8")
		return true, nil
	}
	l.first = l.temp.linked()
	return false, nil
}

// Leave is [Exec.Leave].
func (l *Local) Leave() error {
	for {
		if left, _ := l.Release(); left {
			return nil
		}
		if l.front() != nil {
			l.offer.Store(1)
			l.passOn()
			return nil
		}
	}
}

// Offer is [Exec.Offer].
func (l *Local) Offer() (left bool, err error) {
	t := l.front()
	if t == nil {
		return false, nil
	}
	for t != nil && (t.wait.Load()&waitAble == 0 || Status(t.word.Load()&0xff) != Submitted) {
		t = t.next.Load()
	}
	if t == nil && l.spare.waiting.Load() == 0 {
		return false, nil
	}
	l.more = 0
	l.offer.Store(1)
	invariant.Point("mpsc.X9")
	// edge: hand over (offer, then wait | wait, then offer)
	if t != nil && t.wait.Load()&waitAble != 0 {
		if t.wait.Load()&waitParked != 0 {
			poke(t.wake)
		}
		return true, nil
	}
	if l.spare.waiting.Load() != 0 {
		l.spare.ring()
		return true, nil
	}
	return !l.offer.CompareAndSwap(1, 0), nil // it waits no more: take it back
}
