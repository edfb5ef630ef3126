package mpsc

import (
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// Recover takes the name of owner, who is dead by evidence, from every word of
// the queue: what only it could need is free, what it submitted is carried out
// for nobody, and control that it had is left to whoever comes. Each step is a
// CAS on a word that names the owner, so any number of recoverers may run it at
// once, and it may be cut short and run again: whoever marks the owner's node
// free must have run it whole. evicted says that the only evidence is an
// operator's word, and the owner may still write late: nodes that it may write
// into are not used again. Recover returns how many ops it found.
func (q *Queue) Recover(owner uint32, isEvicted bool, ring func(wake.Bell)) (ops int) {
	if owner <= again {
		return 0 // no node's name
	}
	to := uint32(orphan)
	if isEvicted {
		to = evicted
	}
	for i := range q.nodes {
		if q.nodes[i].bury(owner, to) { // R1
			ops++
		}
	}
	for { // R2: after R1, so that who inherits control finds no dead executor's name
		t := q.loadTail()
		if t.executor() != owner || q.swapTail(t, t.owned(orphan)) {
			break
		}
	}
	invariant.Point("mpsc.R2")
	q.left.Add(1) // R3: somebody with control must look
	invariant.Point("mpsc.R3")
	q.ringAll(ring) // R4
	invariant.Point("mpsc.R4")
	return ops
}

// bury is R1: the node names owner no more.
func (n *node) bury(owner, to uint32) (found bool) {
	for {
		w := n.load()
		next := w
		if w.owner() == owner {
			next = next.left(to)
			if s := w.status(); s == Done || s == Interrupted {
				next = w.end()
			}
		}
		if w.executor() == owner && w.status() == Issued {
			next = next.with(Issued, to)
		}
		if next == w {
			return found
		}
		if n.swap(w, next) {
			invariant.Point("mpsc.R1")
			found = true
		}
	}
}

// ringAll rings everybody who may sleep: whoever should have rung them may be
// the one who died.
func (q *Queue) ringAll(ring func(wake.Bell)) {
	for i := range q.nodes {
		if n := &q.nodes[i]; n.parked() {
			ring(n.bell)
		}
	}
	ring(q.bell)
	for k := range q.used {
		for b := range 64 {
			if q.used[k].Load()>>b&1 != 0 {
				ring(q.members[k*64+b].bell)
			}
		}
	}
}
