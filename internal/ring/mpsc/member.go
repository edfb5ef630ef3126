package mpsc

import (
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// Member is one party's end of a queue: it submits, waits, and may take
// control. Its methods may be called concurrently.
type Member struct {
	q    *Queue
	me   uint32
	ring func(wake.Bell)
	line *member
	word int
	bit  uint64
	hint atomic.Uint32 // where to look for a free node
}

// Member makes the end of owner, a node of the bus. ring rings a bell.
func (q *Queue) Member(owner uint32, ring func(wake.Bell)) *Member {
	slot := owner & (MaxMembers - 1)
	m := &Member{q: q, me: owner, ring: ring, line: &q.members[slot], word: int(slot / 64), bit: 1 << (slot % 64)}
	m.hint.Store(slot * 16 % uint32(q.config.Depth))
	if q.used[m.word].Load()&m.bit == 0 {
		q.used[m.word].Or(m.bit)
	}
	return m
}

// Queue returns the queue.
func (m *Member) Queue() *Queue { return m.q }

// Bell is what this member sleeps on for want of a free node, or of control.
func (m *Member) Bell() wake.Bell { return m.line.bell }

// Request is what a submitter asks a device for. Code and offset are the
// device's to understand.
type Request struct {
	Code   uint16
	Repeat bool // it may be carried out again if the executor dies over it
	Offset int64
	Out    []byte // bytes for the device
	In     int    // bytes wanted back
	Time   int64  // ns since 1970
}

// Ref names an op that was submitted: node 16 bits, turn 20.
type Ref uint64

func newRef(i, turn uint32) Ref { return Ref(i) | Ref(turn)<<16 }

// Index is the index of the op's node.
func (r Ref) Index() uint32 { return uint32(r) & 0xFFFF }

func (r Ref) turn() uint32 { return uint32(r>>16) & turnMask }

// Alloc takes a free node and fills it with r, whose bytes together are at most
// Size; S1, S2. able says that the submitter will wait and can take control. It
// fails if there is no free node.
func (m *Member) Alloc(r *Request, able bool) (Ref, bool) {
	depth := uint32(m.q.config.Depth)
	i := m.hint.Load()
	for range depth {
		if i >= depth {
			i = 0
		}
		n := &m.q.nodes[i]
		if w := n.load(); w.status() == Free {
			mine := packState(Submitted, m.me, 0, w.turn()+1)
			if k := i + ahead; k < depth {
				mem.PrefetchW(m.q.nodes[k].state)
			}
			if n.swap(w, mine) { // S1, edge: reuse
				m.hint.Store(i + 1)
				m.fill(n, i, r, able)
				invariant.Point("mpsc.S1")
				return newRef(i, mine.turn()), true
			}
		}
		i++
	}
	return 0, false
}

// fill is S2. All of it is visible to whoever loads tail after S5.
func (m *Member) fill(n *node, i uint32, r *Request, able bool) {
	if len(r.Out) > 0 {
		copy(m.q.buffer(i), r.Out)
	}
	wait := uint64(0)
	if able {
		wait = waitAble
	}
	mem.StoreRelease(n.wait, wait)
	mem.StoreRelease(n.offset, uint64(r.Offset))
	mem.StoreRelease(n.counts, uint64(len(r.Out))|uint64(r.In)<<32)
	mem.StoreRelease(n.time, uint64(r.Time))
	mem.StoreRelease(n.link, uint64(packLink(0, 0, r.Code, r.Repeat)))
}

// Control is what a submission or an attempt brought.
type Control int

// What the caller has gained.
const (
	NoControl Control = iota
	Gained            // control: be the executor
	Inherited         // control that a dead executor left: Takeover first
)

// Submit puts refs, which Alloc gave, at the end of the queue, in order, in one
// step: S3 to S5. Where able, and nobody has control, the same step names this
// member the executor.
func (m *Member) Submit(refs []Ref, able bool) Control {
	q := m.q
	for {
		t := q.loadTail() // S3
		prev := t.node()
		for k, r := range refs { // S4
			n := &q.nodes[r.Index()]
			l := link(n.link.Load())
			// Ours alone before S5; what others garble costs us our own op.
			mem.StoreRelease(n.link, uint64(packLink(t.seq()+1+uint64(k), prev, l.code(), l.repeat())))
			prev = uint64(r.Index()) + 1
		}
		invariant.Point("mpsc.S4")
		executor := t.executor()
		gains := able && t.free()
		if gains {
			executor = m.me
		}
		// S5, edge: submit (this CAS | Exec.walk's load of tail), park (this
		// CAS, then park and masks | park or mask, then tail)
		if q.swapTail(t, packTail(t.seq()+uint64(len(refs)), executor, prev)) {
			invariant.Point("mpsc.S5")
			m.line.submitted.Add(uint64(len(refs)))
			return m.submitted(t, gains)
		}
	}
}

// submitted rings who must know, or says what was gained.
func (m *Member) submitted(t tail, gains bool) Control {
	switch {
	case gains && t.executor() == nobody:
		return Gained
	case gains:
		return Inherited
	case t.free():
		// Who waits in the queue was rung when control was offered.
		m.q.ringMask(m.q.control, m.ring)
		m.q.ringMask(m.q.space, m.ring) // who waits for a node may be able
	default:
		m.q.ringExecutor(m.ring)
	}
	invariant.Point("mpsc.S5r")
	return NoControl
}

// Claim takes control if it is offered, S6; of an empty queue, too, if empty.
func (m *Member) Claim(empty bool) Control {
	for {
		t := m.q.loadTail()
		if !t.offered() && !(empty && t.free()) {
			return NoControl
		}
		to := t.owned(m.me)
		if t.node() == none {
			to = packTail(t.seq(), m.me, temp)
		}
		if m.q.swapTail(t, to) {
			invariant.Point("mpsc.S6")
			if t.executor() == nobody {
				return Gained
			}
			return Inherited
		}
	}
}

// Executor names who has control, 0 if nobody has. left says that a dead
// executor left it.
func (m *Member) Executor() (owner uint32, left bool) {
	t := m.q.loadTail()
	if t.free() {
		return 0, t.executor() == orphan
	}
	return t.executor(), false
}

// Offered reports whether control could be taken to some purpose.
func (m *Member) Offered() bool { return m.q.loadTail().offered() }

// Look returns the status of an op of ours: Submitted, Issued, Done or
// Interrupted; Free if it is ours no more.
func (m *Member) Look(r Ref) Status {
	w := m.q.nodes[r.Index()].load()
	if w.turn() != r.turn() || w.owner() != m.me {
		return Free
	}
	return w.status()
}

// Result returns the answer to an op that is Done, and the bytes that came
// back; they are the node's until Free.
func (m *Member) Result(r Ref) (result int32, back []byte) {
	n := &m.q.nodes[r.Index()]
	result = int32(uint32(n.result.Load()))
	_, in := m.q.split(r.Index())
	return result, in[:min(len(in), max(0, int(result)))]
}

// split returns the part of node i's memory that is for the device, and the
// part that comes back. Its counts are a peer's words.
func (q *Queue) split(i uint32) (out, in []byte) {
	b := q.buffer(i)
	c := q.nodes[i].counts.Load()
	k := min(uint64(len(b)), c&0xFFFFFFFF)
	e := min(uint64(len(b))-k, c>>32)
	return b[:k:k], b[k : k+e : k+e]
}

// Free gives back the node of an op that is Done or Interrupted, S7.
func (m *Member) Free(r Ref) {
	i := r.Index()
	n := &m.q.nodes[i]
	if k := i + ahead; k < uint32(len(m.q.nodes)) {
		mem.PrefetchW(m.q.nodes[k].state)
	}
	w := n.load()
	if w.turn() == r.turn() && w.owner() == m.me && (w.status() == Done || w.status() == Interrupted) && n.swap(w, w.end()) {
		invariant.Point("mpsc.S7")
		m.hint.Store(i)
		m.q.ringSpace(m.ring)
	}
}

// ringSpace rings those who wait for a free node. edge: space (the node's word,
// then the mask | mask, then the nodes)
func (q *Queue) ringSpace(ring func(wake.Bell)) { q.ringMask(q.space, ring) }

// Cancel takes back an op that was not started: it will not be carried out, and
// is ours no more. able says that it was submitted as one whose submitter can
// take control.
func (m *Member) Cancel(r Ref, able bool) bool {
	n := &m.q.nodes[r.Index()]
	w := n.load()
	if w.turn() != r.turn() || w.owner() != m.me || w.status() != Submitted {
		return false
	}
	// L1, edge: hand over (this CAS, then tail | tail, then the state)
	if !n.swap(w, w.with(Cancelled, 0)) {
		return false
	}
	invariant.Point("mpsc.L1")
	if able {
		m.passOn()
	}
	return true
}

// passOn is for one who could take control and waits no more, L3: if control
// was offered to it meanwhile, somebody else must know.
func (m *Member) passOn() {
	if m.q.loadTail().offered() {
		m.q.ringAble(m.ring)
		invariant.Point("mpsc.L3")
	}
}

// Forget gives an op up: it will be carried out, or may have been, and nobody
// asks for its result. N1.
func (m *Member) Forget(r Ref, able bool) {
	if able {
		defer m.passOn()
	}
	n := &m.q.nodes[r.Index()]
	for {
		w := n.load()
		if w.turn() != r.turn() || w.owner() != m.me {
			return
		}
		if w.status() == Done || w.status() == Interrupted {
			m.Free(r)
			return
		}
		if n.swap(w, w.left(orphan)) {
			invariant.Point("mpsc.N1")
			return
		}
	}
}
