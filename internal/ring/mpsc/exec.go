package mpsc

import (
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

// Exec is what a member does with control. Take, Offer, Release and Takeover
// are for the one that has it; Complete may be called by any goroutine.
//
// What decides what is taken (head, the walk) is private while we have control,
// and read from shared memory only when it was gained.
type Exec struct {
	m     *Member
	head  uint64   // position of the last op that was taken
	list  []uint32 // the walk: ops head-at+1 ... in order
	at    int      // how many of list are taken
	void  []uint32 // passed, and nothing to carry out
	words []uint64 // scratch of Takeover, by node
	there []bool   // scratch: it is queued
	more  int      // ops since control was gained or not offered

	passed atomic.Uint64 // see Sync
}

// Exec makes the executor's end of m.
func (m *Member) Exec() *Exec {
	depth := m.q.config.Depth
	return &Exec{m: m, list: make([]uint32, 0, depth), void: make([]uint32, 0, depth)}
}

// Start must be the first call after control was gained. It appends to ops what
// must be carried out again before anything is taken.
func (x *Exec) Start(c Control, ops []Op) ([]Op, error) {
	if c == Inherited {
		return x.Takeover(ops)
	}
	x.begin()
	return ops, nil
}

// Sync is called by a goroutine that gained control before it uses what others
// of its process used with control. The tail orders all that; but that is in
// memory that the race detector does not see, so this says it once more.
func (x *Exec) Sync() *Exec {
	x.passed.Load()
	return x
}

// handOver is the other side of Sync.
func (x *Exec) handOver() { mem.StoreRelease(&x.passed, 1) }

func (x *Exec) begin() {
	x.Sync()
	x.head = x.m.q.head.Load()
	x.list, x.at = x.list[:0], 0
}

// Token names an op that was taken, until it is completed.
type Token struct{ Index, turn uint32 }

// Op is one op that was taken.
type Op struct {
	Token
	Code   uint16
	Again  bool // an executor that died may have carried it out
	Offset int64
	Out    []byte // from the submitter
	In     []byte // room for what goes back
	Time   int64  // when it was submitted, ns since 1970
}

// ahead is how many nodes ahead a line is fetched: it is with another CPU, and
// the one before it in the queue often is its neighbour.
const ahead = 6

// walk is X2: it lists what is queued, from the op after head to t's node. Only
// who has control may; all words are peers', and each is checked.
func (x *Exec) walk(t tail) error {
	q := x.m.q
	count := (t.seq() - x.head) & seqMask
	if count > uint64(q.config.Depth) {
		return &CorruptError{"tail's sequence", uint64(t)}
	}
	x.list, x.at = x.list[:count], 0
	at := t.node()
	for k := int(count) - 1; k >= 0; k-- {
		if at == none || at > uint64(q.config.Depth) {
			return &CorruptError{"node in the queue", at}
		}
		x.list[k] = uint32(at - 1)
		if at > ahead { // a batch's nodes are neighbours, mostly
			mem.PrefetchW(q.nodes[at-1-ahead].state)
		}
		l := link(q.nodes[at-1].link.Load())
		if l.pos() != (x.head+1+uint64(k))&seqMask {
			return &CorruptError{"node's link", uint64(l)}
		}
		at = l.prev()
	}
	invariant.Point("mpsc.X2")
	return nil
}

// Take appends to ops what is taken next, at most up to ops' capacity: X1 to
// X5. It returns ErrFenced if control is ours no more.
func (x *Exec) Take(ops []Op, now int64) ([]Op, error) {
	q := x.m.q
	for len(ops) < cap(ops) {
		t := q.loadTail() // X1, edge: submit (Member.Submit's CAS | this load)
		if t.executor() != x.m.me {
			return ops, ErrFenced
		}
		if x.at == len(x.list) {
			if t.seq() == x.head&seqMask {
				invariant.Point("mpsc.X1")
				return ops, nil
			}
			if err := x.walk(t); err != nil {
				return ops, err
			}
		}
		var err error
		if ops, err = x.issue(ops, t, now); err != nil || len(ops) > 0 {
			return ops, err
		}
	}
	return ops, nil
}

// issue is X3 to X5 for what fits.
func (x *Exec) issue(ops []Op, t tail, now int64) ([]Op, error) {
	q := x.m.q
	from, first := x.at, len(ops)
	for x.at < len(x.list) && len(ops) < cap(ops) {
		i := x.list[x.at]
		x.at++
		n := &q.nodes[i]
		for {
			w := n.load()
			if w.status() != Submitted {
				x.void = append(x.void, i)
				break
			}
			if n.swap(w, w.with(Issued, x.m.me)) { // X3
				invariant.Point("mpsc.X3")
				ops = append(ops, x.op(i, w.turn(), now))
				break
			}
		}
	}
	passed := uint64(x.at - from)
	if !q.head.CompareAndSwap(x.head, x.head+passed) { // X4
		return ops[:first], ErrFenced
	}
	x.head += passed
	invariant.Point("mpsc.X4")
	if x.at == len(x.list) && t.seq() == x.head&seqMask {
		// X5: the temporary node in the place of the last one. If it fails,
		// more came, and the next walk stops before the one that was last.
		q.swapTail(t, packTail(t.seq(), x.m.me, temp))
		invariant.Point("mpsc.X5")
	}
	for _, i := range x.void {
		x.settleVoid(i)
	}
	x.void = x.void[:0]
	x.more += len(ops) - first
	x.count(len(ops) - first)
	invariant.Point("mpsc.X6")
	return ops, nil
}

// count notes that n more ops came to us. Only who has control writes the word.
func (x *Exec) count(n int) {
	mem.StoreRelease(x.m.line.executed, x.m.line.executed.Load()+uint64(n))
}

// op describes node i, which we have issued. Its counts and its bytes are its
// submitter's, who may change them.
func (x *Exec) op(i, turn uint32, now int64) Op {
	n := &x.m.q.nodes[i]
	out, in := x.m.q.split(i)
	o := Op{
		Token: Token{i, turn}, Code: link(n.link.Load()).code(), Offset: int64(n.offset.Load()),
		Out: out, In: in, Time: int64(n.time.Load()),
	}
	if wait := now - o.Time; now != 0 && wait > int64(x.m.q.longest.Load()) {
		x.m.q.longest.Store(uint64(wait)) // for inspection only
	}
	return o
}

// settleVoid ends node i, which was passed and not issued: it is free once it
// was cancelled. What an evicted executor issued late is interrupted.
func (x *Exec) settleVoid(i uint32) {
	n := &x.m.q.nodes[i]
	for {
		w := n.load()
		switch {
		case w.status() == Cancelled:
			if n.swap(w, w.end()) {
				invariant.Point("mpsc.G3")
				x.m.q.ringSpace(x.m.ring)
				return
			}
		case w.status() == Issued && w.executor() != x.m.me:
			if x.interrupt(n, w, evicted) {
				return
			}
		default:
			return
		}
	}
}

// interrupt reports an op that a former executor issued: T2. It fails if the
// node's word has changed.
func (x *Exec) interrupt(n *node, w state, executor uint32) bool {
	to := w.with(Interrupted, executor)
	if w.owner() == orphan || w.owner() == evicted {
		to = to.end()
	}
	if !n.swap(w, to) {
		return false
	}
	invariant.Point("mpsc.T2")
	if n.parked() {
		x.m.ring(n.bell)
	}
	x.m.q.ringSpace(x.m.ring)
	return true
}

// Complete is X7: the op was carried out; result is its submitter's to
// understand, but if it is positive, so many of the In bytes go back. Complete
// does nothing if the op is ours no more.
func (x *Exec) Complete(o Token, result int32) {
	n := &x.m.q.nodes[o.Index]
	if x.ours(n.load(), o) {
		mem.StoreRelease(n.result, uint64(uint32(result)))
	}
	x.finish(o, Done)
}

// ours reports whether w, a node's word, is that of op o while we carry it out.
func (x *Exec) ours(w state, o Token) bool {
	return w.status() == Issued && w.executor() == x.m.me && w.turn() == o.turn
}

// Abort says that it is not known whether the op was carried out.
func (x *Exec) Abort(o Token) { x.finish(o, Interrupted) }

func (x *Exec) finish(o Token, s Status) {
	n := &x.m.q.nodes[o.Index]
	for {
		w := n.load()
		if !x.ours(w, o) {
			return // somebody took us for dead
		}
		to := w.with(s, 0)
		left := w.owner() == orphan || w.owner() == evicted
		if left {
			to = to.end()
		}
		// X7, edge: complete (result, then this CAS | Member.Look, then the result)
		if n.swap(w, to) {
			invariant.Point("mpsc.X7")
			if n.parked() { // edge: park (this CAS, then wait | wait, then state)
				x.m.ring(n.bell)
			}
			if left {
				x.m.q.ringSpace(x.m.ring)
			}
			invariant.Point("mpsc.X7r")
			return
		}
	}
}
