package mpsc

import "fmt"

// Verify checks the queue's invariants (see the package comment) and returns
// what is wrong, in words. While the queue is in use, what moved between two
// looks may be reported: look again.
func (q *Queue) Verify() []string {
	var out []string
	wrong := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if q.Broken() {
		wrong("an executor found it garbled; remove it")
	}
	t, head := q.loadTail(), q.head.Load()
	count := (t.seq() - head) & seqMask
	switch {
	case count > uint64(q.config.Depth):
		wrong("tail %#x is %d ops ahead of head %d; there are %d nodes", uint64(t), count, head, q.config.Depth)
		return out
	case t.node() != none && t.node() != temp && t.node() > uint64(q.config.Depth):
		wrong("tail %#x names a node of %d", uint64(t), q.config.Depth)
		return out
	case t.node() == none && (count != 0 || t.executor() != nobody):
		wrong("tail %#x names no node, but an executor or %d ops", uint64(t), count)
	case t.node() == temp && (count != 0 || t.executor() == nobody):
		wrong("tail %#x names the temporary node, but no executor or %d ops", uint64(t), count)
	case t.executor() == evicted:
		wrong("tail %#x names no owner", uint64(t))
	}
	at := t.node()
	for k := count; k > 0; k-- {
		if at == none || at > uint64(q.config.Depth) {
			wrong("op %d: there is no node %d", head+k, at)
			return out
		}
		l, w := link(q.nodes[at-1].link.Load()), q.nodes[at-1].load()
		if l.pos() != (head+k)&seqMask {
			wrong("op %d: node %d says that it is op %d (of 2^28)", head+k, at-1, l.pos())
			return out
		}
		if s := w.status(); s == Free || s == Done || s == Interrupted {
			wrong("op %d: node %d is queued in state %d", head+k, at-1, s)
		}
		at = l.prev()
	}
	for i := range q.nodes {
		w := q.nodes[i].load()
		switch s := w.status(); {
		case s == 1 || s > Lost:
			wrong("node %d: word %#x has an unknown state", i, uint64(w))
		case s == Free && (w.owner() != 0 || w.executor() != 0):
			wrong("node %d: it is free and has an owner: %#x", i, uint64(w))
		case s != Free && s != Lost && w.owner() == nobody:
			wrong("node %d: state %d without an owner", i, s)
		case s == Issued && w.executor() == nobody:
			wrong("node %d: issued by nobody", i)
		}
	}
	return out
}

// State describes a queue, for inspection.
type State struct {
	Config    Config
	Executor  uint32 // 0: nobody has control
	Left      bool   // a dead executor left it
	Taken     uint64 // ops that ever came to an executor
	Queued    int    // ops not yet taken
	Issued    int    // ops at the device
	Finished  int    // ops whose submitter has not asked yet
	Lost      int    // nodes that are not used again
	Oldest    int64  // when the oldest op that is queued was submitted, ns since 1970; 0: none is
	Longest   int64  // the longest that an op was ever queued, ns
	Takeovers uint64 // times that control was taken from a dead executor
	Members   []MemberState
}

// MemberState describes what one node of the bus has to do with a queue.
type MemberState struct {
	Slot      int
	Owner     uint32 // 0: it has no op there
	Submitted uint64 // ops ever, by this slot's nodes
	Executed  uint64 // ops ever taken as executor, by this slot's nodes
	Here      int    // its ops in the queue, at the device, or finished
}

// Inspect describes the queue as it is at one moment.
func (q *Queue) Inspect() State {
	t := q.loadTail()
	s := State{
		Config: q.config, Longest: int64(q.longest.Load()), Takeovers: q.taken.Load(),
		Left: t.executor() == orphan || t.executor() == again,
	}
	if !t.free() {
		s.Executor = t.executor()
	}
	var here [MaxMembers]MemberState
	for i := range q.nodes {
		n := &q.nodes[i]
		w := n.load()
		switch w.status() {
		case Submitted:
			s.Queued++
			if at := int64(n.time.Load()); at > 0 && (s.Oldest == 0 || at < s.Oldest) {
				s.Oldest = at
			}
		case Issued:
			s.Issued++
		case Done, Interrupted:
			s.Finished++
		case Lost:
			s.Lost++
			continue
		case Free, Cancelled:
			continue
		}
		if o := w.owner(); o > again {
			here[o%MaxMembers].Owner = o
			here[o%MaxMembers].Here++
		}
	}
	for i := range here {
		m := &here[i]
		m.Slot, m.Submitted, m.Executed = i, q.members[i].submitted.Load(), q.members[i].executed.Load()
		s.Taken += m.Executed
		if m.Submitted != 0 || m.Executed != 0 || m.Here != 0 {
			s.Members = append(s.Members, *m)
		}
	}
	return s
}
