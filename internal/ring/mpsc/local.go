package mpsc

import (
	"runtime"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

// Local is a queue within one process, by the published algorithm: a submitter
// swaps the tail for its node and stores the link in the node before; the one
// that swapped out "empty" has control. Who has control takes from the front,
// puts the temporary node in the place of the last op by CAS on the tail, so
// that the queue stays owned while that op is at the device, and gives control
// back by CAS of the temporary node to "empty".
//
// Whoever is at the device has own besides. While the queue is empty and nobody
// has control, one alone takes own, carries out an op of its own that is in no
// node, and gives own back by a store: one atomic exchange in all. What is queued
// meanwhile is on offer, and it looks for that before it goes.
//
// Its nodes are on the heap, and everybody dies together: nothing names an
// owner. Its methods may be called concurrently, those of its executor
// (Take, Offer, Release) by the one that has control.
type Local struct {
	tail atomic.Uint64 // the last node's index plus one; none; or temp
	_    [mem.Line - 8]byte

	own   atomic.Uint64 // 1: somebody is at the device: who has control, or one alone
	offer atomic.Uint64 // 1: nobody has control, and the queue is not empty
	_     [mem.Line - 16]byte

	first    uint64        // the first node, as in tail; of whoever has control
	tempLink atomic.Uint64 // the link of the temporary node
	more     int
	_        [mem.Line - 24]byte

	park atomic.Uint32 // 1: who has control sleeps over the empty queue
	_    [mem.Line - 4]byte

	free  atomic.Uint64 // stack of free nodes: index plus one 32 bits, count 32
	_     [mem.Line - 8]byte
	tasks []task
	space signal
	spare signal // who would take control
	idle  signal
}

// task is a node of a Local queue. The words that only one party may write at a
// time are stored without a barrier.
type task struct {
	next   atomic.Uint64 // as Local.tail
	word   atomic.Uint64 // Status, and whether its submitter has forgotten it
	wait   atomic.Uint64
	below  atomic.Uint64 // on the stack of free nodes
	turn   atomic.Uint64
	result int32
	index  uint32
	op     Op
	wake   chan struct{}
	_      [16]byte
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
		mem.StoreRelease(&t.below, top&0xFFFFFFFF)
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
		if l.free.CompareAndSwap(top, t.below.Load()|(top>>32+1)<<32) {
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
	turn := uint32(t.turn.Load()+1) & turnMask
	mem.StoreRelease(&t.turn, uint64(turn))
	t.op = Op{Token: Token{t.index, turn}, Code: r.Code, Offset: r.Offset, Out: r.Out, In: back, Time: r.Time}
	mem.StoreRelease(&t.word, uint64(Submitted))
	w := uint64(0)
	if able {
		w = waitAble
	}
	mem.StoreRelease(&t.wait, w)
	return newRef(t.index, turn), true
}

func (l *Local) at(r Ref) *task { return &l.tasks[r.Index()] }

// node is the node that a link names, which is neither none nor temp.
func (l *Local) node(link uint64) *task { return &l.tasks[link-1] }

// link is where the link of the node stands that a link names.
func (l *Local) link(link uint64) *atomic.Uint64 {
	if link == temp {
		return &l.tempLink
	}
	return &l.node(link).next
}

// Submit is [Member.Submit]: the swap, then the link.
func (l *Local) Submit(refs []Ref, able bool) Control {
	first := uint64(refs[0].Index()) + 1
	last := first
	for _, r := range refs[1:] {
		next := uint64(r.Index()) + 1
		mem.StoreRelease(l.link(last), next)
		last = next
	}
	mem.StoreRelease(l.link(last), none)
	invariant.Point("mpsc.S4")
	prev := l.tail.Swap(last)
	invariant.Point("mpsc.S5")
	if prev == none { // control, by the very swap
		l.first = first
		l.more = 0
		if able && l.enter() {
			return Gained
		}
		l.offer.Store(1)
		if able { // one alone is at the device, and may look for the offer, or not any more
			return l.Claim(false)
		}
		l.passOn() // to one that found the queue taken, and not yet on offer
		return NoControl
	}
	// Until now the executor cannot get past prev. edge: park, hand over (this
	// swap, then offer and park | offer or park, then the link)
	l.link(prev).Store(first)
	invariant.Point("mpsc.S5r")
	if l.offer.Load() != 0 {
		if able {
			return l.Claim(false)
		}
		l.spare.ring()
		l.space.ring()
		return NoControl
	}
	if l.park.Load() != 0 && l.park.Swap(0) != 0 {
		poke(l.idle.ch)
	}
	return NoControl
}

// front makes first the first op, past the temporary node. It returns none if
// the queue is empty.
func (l *Local) front() uint64 {
	if l.first == temp {
		t := l.tempLink.Load()
		if t == none {
			return none
		}
		l.first = t
	}
	return l.first
}

// Take is [Exec.Take]: it appends what is taken in one walk.
func (l *Local) Take(ops []Op, _ int64) ([]Op, error) {
	at := l.front()
	for at != none && len(ops) < cap(ops) {
		t := l.node(at)
		next := t.next.Load()
		if next == none {
			mem.StoreRelease(&l.tempLink, none)
			if l.tail.CompareAndSwap(at, temp) { // the temporary node in its place
				invariant.Point("mpsc.X5")
				l.first = temp
				ops = l.issue(t, ops)
				break
			}
			next = linked(&t.next)
		}
		l.first = next
		ops = l.issue(t, ops)
		at = next
	}
	return ops, nil
}

// linked waits until the submitter that has swapped a node out has stored its
// link: two instructions, unless it was preempted between them.
func linked(link *atomic.Uint64) uint64 {
	for n := 0; ; n++ {
		if next := link.Load(); next != none {
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
		if t.word.CompareAndSwap(w, uint64(Issued)|w&forgotten) {
			invariant.Point("mpsc.X3")
			l.more++
			return append(ops, t.op)
		}
	}
}

// recycle frees t, which is nobody's.
func (l *Local) recycle(t *task) {
	mem.StoreRelease(&t.word, uint64(Free))
	t.op.Out, t.op.In = nil, nil
	l.push(t)
	l.space.ring()
}

// Complete is [Exec.Complete].
func (l *Local) Complete(o Token, result int32) { l.finish(o, result, Done) }

// Abort is [Exec.Abort].
func (l *Local) Abort(o Token) { l.finish(o, 0, Interrupted) }

func (l *Local) finish(o Token, result int32, s Status) {
	t := &l.tasks[o.Index]
	w := t.word.Load()
	if uint32(t.turn.Load()) != o.turn || Status(w&0xff) != Issued {
		return // it was completed before
	}
	t.result = result
	for !t.word.CompareAndSwap(w, uint64(s)|w&forgotten) {
		w = t.word.Load() // forgotten just now
	}
	invariant.Point("mpsc.X7")
	if w&forgotten != 0 {
		l.recycle(t)
	} else if t.wait.Load()&waitParked != 0 {
		poke(t.wake)
	}
}

// Start is [Exec.Start].
func (l *Local) Start(_ Control, ops []Op) ([]Op, error) { return ops, nil }

// Tidy is [Exec.Tidy]: there is nothing to do.
func (l *Local) Tidy() error { return nil }
